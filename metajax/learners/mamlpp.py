"""Learn an initialisation and a step size for every layer in every step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Params, Steps


class StepRates(NamedTuple):
    """Where adaptation starts, and rates `(num_steps,)` for each of its arrays."""

    start: Params
    rates: Params


def mamlpp(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint = unrolled
) -> Learner:
    """The learner of MAML++: per-layer, per-step learned rates.

    The paper's other parts are functions of their own, each of use alone: the multi-step loss is
    `query_loss(learner, loss, num_steps=(1, ..., num_steps))`, its annealing and that of the
    derivative's order are `annealed`, and the outer rate is `optax.cosine_decay_schedule`.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      num_steps: inner steps that have rates; later ones, at evaluation, take the rates of the last.
      rate: that every array begins with in every step.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters are `StepRates(start, rates)` and whose adapted parameters are
      the model's.

    Raises:
      ValueError: for no steps, which would have no rates.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.mamlpp(line, mj.mse, num_steps=2, rate=0.25)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 4.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))  # 0, 2, 3
      3.0

    Reference: Antoniou, Edwards and Storkey, ICLR 2019, section 4.
    https://arxiv.org/abs/1810.09502
    """
    if num_steps < 1:
        raise ValueError(f"mamlpp: num_steps={num_steps}; it takes 1 step or more, each has rates.")
    own_steps = num_steps
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def init(key, x):
        start = model.init(key, x)
        return StepRates(
            start, jax.tree.map(lambda leaf: jnp.full(own_steps, rate, leaf.dtype), start)
        )

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key

        def update(updates, state, params=None):
            del params
            step = jnp.minimum(state, own_steps - 1)
            taken = jax.tree.map(lambda r, g: -r[step] * g, meta_params.rates, updates)
            return taken, state + 1

        inner = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
        return adjoint(descend(inner, num_steps), gradient, meta_params.start, support)

    return Learner(init, adapt, model.apply)
