"""Train a fresh model on every task: no transfer at all."""

from typing import NamedTuple

import jax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Optimizer, Steps


class Nothing(NamedTuple):
    """The meta-parameters of a learner that learns nothing over tasks."""


def from_scratch(
    model: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """Train a fresh model on every task: what the support set alone is worth.

    Args:
      model: initialised anew from the task's key.
      loss: predictions and targets to a scalar, the mean over `n`.
      inner: choose it and `num_steps` on validation tasks; there is nothing else to learn, unless
        `inner` itself is: see `learned`.
      num_steps: steps on each task.
      adjoint: how the steps are differentiated where `inner` is learned.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.from_scratch(mj.mlp(), mj.mse, optax.adam(1e-2), num_steps=100)
      >>> learner.init(jax.random.key(0), jnp.ones((10, 1)))
      Nothing()
    """
    own_steps = num_steps
    descend(inner, own_steps)
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del meta_params
        return adjoint(descend(inner, num_steps), gradient, model.init(key, support.x), support)

    return Learner(lambda key, x: Nothing(), adapt, model.apply)
