"""Learn an initialisation and a step size for every weight."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Params, Steps


class Rates(NamedTuple):
    """Where adaptation starts, and a rate of either sign for every weight."""

    start: Params
    rates: Params


def meta_sgd(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint = unrolled
) -> Learner:
    """Meta-SGD: MAML whose inner rates are meta-learned, one for each weight.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      num_steps: inner steps; the paper takes 1.
      rate: that every weight begins with.
      adjoint: how the steps are differentiated. `first_order` still learns the rates.

    Returns:
      A learner whose meta-parameters are `Rates(start, rates)` and whose adapted parameters are the
      model's.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.meta_sgd(line, mj.mse, num_steps=1, rate=0.5)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))
      3.0

    Reference: Li, Zhou, Chen and Li, 2017, section 3.2. https://arxiv.org/abs/1707.09835
    """
    own_steps = num_steps
    descend(optax.identity(), own_steps)
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def init(key, x):
        start = model.init(key, x)
        return Rates(start, jax.tree.map(lambda leaf: jnp.full_like(leaf, rate), start))

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        inner = optax.stateless(
            lambda gradients, _: jax.tree.map(lambda r, g: -r * g, meta_params.rates, gradients)
        )
        return adjoint(descend(inner, num_steps), gradient, meta_params.start, support)

    return Learner(init, adapt, model.apply)
