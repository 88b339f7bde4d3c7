"""Training from scratch: a fresh model in every task, a baseline without transfer."""

from typing import NamedTuple

import jax

from metajax import checks
from metajax.adjoints import Adjoint
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Optimizer


class FromScratchParams(NamedTuple):
    """The meta-parameters of a learner that learns nothing over tasks: none."""


def from_scratch(
    model: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint | None = None
) -> Learner:
    """Trains a fresh model on every task: a baseline that measures what the support set alone gives.

    Args:
      model: A model that is initialised from the key of each task.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation. Choose it and `num_steps` on validation tasks; nothing is
        meta-learned unless `inner` itself is, as by `learned`.
      num_steps: Number of steps on each task.
      adjoint: How the steps are differentiated where `inner` is learned, by default `unrolled` for
        one step and `mixed_mode` for more.

    Returns:
      A learner without meta-parameters, whose adapted parameters are those of `model`.

    Raises:
      ValueError: If `num_steps` is negative, or `inner` is no optax transformation.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.from_scratch(mj.mlp(), mj.mse, optax.adam(1e-2), num_steps=100)
      >>> learner.init(jax.random.key(0), jnp.ones((10, 1)))
      FromScratchParams()
    """
    model = checks.as_model("from_scratch", model)
    num_steps = checks.count("from_scratch", "num_steps", num_steps, least=0)
    checks.inner_loop("from_scratch", loss=loss, inner=inner, adjoint=adjoint)
    train = in_training(model)

    def support_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    fit = descent(support_loss, inner, adjoint, model)

    def adapt(meta_params, support, key, num_steps=num_steps):
        del meta_params
        init_key, train_key = jax.random.split(key)
        start = model.init(init_key, support.x)
        return fit(start, filled(support), key=train_key, num_steps=num_steps)

    return Learner(lambda key, x: FromScratchParams(), adapt, model.apply, num_steps)
