"""The smallest learned optimisers: any of optax, with meta-learned hyperparameters."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax import checks
from metajax.optimizers.parts import in_precision_of
from metajax.types import LearnedOptimizer, Optimizer


class Hyperparameters(NamedTuple):
    """Positive numbers as logarithms and fractions as logits, so that no step leaves their range."""

    logs: dict[str, jax.Array]
    logits: dict[str, jax.Array]

    def values(self) -> dict[str, jax.Array]:
        """The hyperparameters by name.

        Example:
          >>> import math
          >>> learned = Hyperparameters({"rate": jnp.array(math.log(2.0))}, {"decay": jnp.array(0.0)})
          >>> {name: round(float(value), 3) for name, value in learned.values().items()}
          {'rate': 2.0, 'decay': 0.5}
        """
        positive = {name: jnp.exp(log) for name, log in self.logs.items()}
        return positive | {name: jax.nn.sigmoid(logit) for name, logit in self.logits.items()}


def hyperparameters(
    make: Callable[..., Optimizer] | str,
    *,
    positive: Mapping[str, Any] | None = None,
    fraction: Mapping[str, Any] | None = None,
    **fixed: Any,
) -> LearnedOptimizer:
    """An optimiser whose hyperparameters are meta-learned: rates as logarithms, decays as logits.

    Args:
      make: A function of the hyperparameters, or the name of one of optax's. Give Adam
        `eps_root > 0`, or a zero gradient differentiates to nan.
      positive: The starts of hyperparameters above 0 by name, such as `{"learning_rate": 0.01}`.
      fraction: The starts of hyperparameters between 0 and 1, such as `{"b1": 0.9}`.
      fixed: Arguments of `make` that are not learned.

    Returns:
      A `LearnedOptimizer` whose weights are `Hyperparameters`; `weights.values()` are the numbers.

    Raises:
      ValueError: For a start out of its range, for nothing to learn, or a name that optax lacks.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> optimizer = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.5})
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.zeros(1))
      >>> updates.tolist()
      [-0.5]

    Reference:
      Maclaurin, Duvenaud and Adams, ICML 2015. https://arxiv.org/abs/1502.03492
    """
    positive, fraction = dict(positive or {}), dict(fraction or {})
    if not positive and not fraction:
        raise ValueError(
            "hyperparameters: nothing is learned; give some by name, such as "
            'positive={"learning_rate": 0.01}.'
        )
    for name, value in positive.items():
        if not np.min(value) > 0:
            raise ValueError(f"hyperparameters: positive {name}={value} must be above 0.")
    for name, value in fraction.items():
        if not (np.min(value) > 0 and np.max(value) < 1):
            raise ValueError(f"hyperparameters: fraction {name}={value} must be between 0 and 1.")
    function, known = _of_optax("hyperparameters", make)

    def init(key):
        del key
        logits = {
            name: np.log(value) - np.log1p(-np.array(value)) for name, value in fraction.items()
        }
        return Hyperparameters(
            {name: jnp.asarray(np.log(value), float) for name, value in positive.items()},
            {name: jnp.asarray(value, float) for name, value in logits.items()},
        )

    def build(weights):
        return in_precision_of(weights, function(**weights.values(), **fixed))

    settings = {
        "positive": {name: np.asarray(value).tolist() for name, value in positive.items()},
        "fraction": {name: np.asarray(value).tolist() for name, value in fraction.items()},
        **fixed,
    }
    recipe = ("hyperparameters", {"make": known, **settings}) if known else None
    return LearnedOptimizer(init, build, recipe)


def schedule(
    make: Callable[..., Optimizer] | str, num_steps: int, rate: float, **fixed: Any
) -> LearnedOptimizer:
    """An optimiser with a meta-learned rate for every step; later steps take the rate of the last.

    Args:
      make: A function of `learning_rate`, or the name of one of optax's.
      num_steps: Number of rates to learn.
      rate: The rate that all steps start with.
      fixed: Other arguments of `make`.

    Returns:
      A `LearnedOptimizer` whose weights are logarithms of rates, `(num_steps,)`.

    Raises:
      ValueError: If `num_steps` is below 1, `rate` is not above 0, or optax lacks the name.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> optimizer = mj.optimizers.schedule(optax.sgd, num_steps=2, rate=1.0)
      >>> rule = optimizer.build(jnp.log(jnp.array([1.0, 0.5])))  # as if they had been learned
      >>> float(mj.descend(rule, 3)(lambda w: jnp.ones_like(w), jnp.zeros(())))
      -2.0

    Reference:
      Maclaurin, Duvenaud and Adams, ICML 2015, section 3.1. https://arxiv.org/abs/1502.03492
    """
    num_steps = checks.count("schedule", "num_steps", num_steps)
    checks.positive("schedule", "rate", rate)
    function, known = _of_optax("schedule", make)

    def init(key):
        del key
        return jnp.full(num_steps, np.log(rate), float)

    def build(weights):
        def rate_of(count):
            return jnp.exp(weights[jnp.minimum(count, num_steps - 1)])

        return in_precision_of(weights, function(learning_rate=rate_of, **fixed))

    settings = {"make": known, "num_steps": num_steps, "rate": rate, **fixed}
    return LearnedOptimizer(init, build, ("schedule", settings) if known else None)


def _of_optax(
    where: str, make: Callable[..., Optimizer] | str
) -> tuple[Callable[..., Optimizer], str | None]:
    """The function, and its name if it is one of optax's."""
    if isinstance(make, str):
        found = getattr(optax, make, None)
        if found is None:
            raise ValueError(
                f'{where}: make={make!r} is not in optax; give such as "adam", or a function.'
            )
        return found, make
    return make, next((name for name, thing in vars(optax).items() if thing is make), None)
