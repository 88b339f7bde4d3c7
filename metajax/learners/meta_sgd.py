"""Meta-SGD: an initialisation and a learning rate for every weight."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.adjoints import Adjoint
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Params


class MetaSgdParams(NamedTuple):
    """Where adaptation starts, and a rate of either sign for every weight."""

    start: Params
    rates: Params


def meta_sgd(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint | None = None
) -> Learner:
    """Learns an initialisation together with the inner learning rate of every weight.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      num_steps: Number of inner steps; the paper takes 1.
      rate: The rate that every weight starts with.
      adjoint: How the inner loop is differentiated, by default `unrolled` for one step and
        `mixed_mode` for more. `first_order` still learns the rates.

    Returns:
      A learner whose meta-parameters are `MetaSgdParams(start, rates)` and whose adapted parameters
      are those of `model`.

    Raises:
      ValueError: If `num_steps` is negative, or `rate` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.meta_sgd(line, mj.mse, num_steps=1, rate=0.5)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))
      3.0

    Reference:
      Li, Zhou, Chen and Li, 2017, section 3.2. https://arxiv.org/abs/1707.09835
    """
    model = checks.as_model("meta_sgd", model)
    num_steps = checks.count("meta_sgd", "num_steps", num_steps, least=0)
    checks.inner_loop("meta_sgd", loss=loss, adjoint=adjoint)
    checks.positive("meta_sgd", "rate", rate)
    train = in_training(model)

    def support_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    def init(key, x):
        start = model.init(key, x)
        return MetaSgdParams(start, jax.tree.map(lambda leaf: jnp.full_like(leaf, rate), start))

    def adapt(meta_params, support, key, num_steps=num_steps):
        inner = optax.stateless(
            lambda gradients, _: jax.tree.map(lambda r, g: -r * g, meta_params.rates, gradients)
        )
        fit = descent(support_loss, inner, adjoint, model)
        return fit(meta_params.start, filled(support), key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)
