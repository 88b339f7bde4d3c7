"""What meta-learning must beat: no transfer at all, and a fixed embedding with a simple rule on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.learners.anil import Parts, anil
from metajax.learners.matching import matching
from metajax.models import linear
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


def nearest_neighbour(embed: Model) -> Learner:
    """Give a query the label of the support example it is most alike, by cosine.

    Args:
      embed: features `(n, d)` of inputs; `pixels` for none at all.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.nearest_neighbour(mj.pixels)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[3.0, 1.0]])), axis=-1).tolist()
      [1]
    """
    return matching(embed, sharpness=1e3)


def linear_probe(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Train a linear head from 0 on every task, on features that stay as they are.

    Args:
      embed: features `(n, d)` of inputs, pretrained or random.
      loss: logits and labels to a scalar, the mean over `n`.
      inner: steps the head.
      num_steps: steps on each task.
      columns: outputs of the head.

    Returns:
      A learner whose meta-parameters are the embedding's; training them changes them only through
      the features, as in `anil`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.linear_probe(mj.pixels, mj.cross_entropy, optax.sgd(0.1), 20, columns=2)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]
    """
    own_steps, head = num_steps, linear(columns)
    probe = anil(embed, head, loss, inner, own_steps)

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        features = jax.eval_shape(embed.apply, meta_params, support.x)
        zeros = head.init(key, jnp.zeros(features.shape, features.dtype))
        return probe.adapt(Parts(meta_params, zeros), support, key, num_steps)

    return Learner(embed.init, adapt, probe.predict)
