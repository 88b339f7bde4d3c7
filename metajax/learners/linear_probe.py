"""Train a linear head on frozen features in every task."""

from metajax.learners.anil import anil
from metajax.learners.parts import with_fresh_head
from metajax.nn.models import linear
from metajax.types import Learner, Loss, Model, Optimizer


def linear_probe(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Train a linear head from 0 on every task, on features that stay as they are.

    Args:
      embed: features `(n, d)` of inputs, random, or to be `pretrained`.
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

    Reference: Tian, Wang, Krishnan, Tenenbaum and Isola, ECCV 2020, section 3.
    https://arxiv.org/abs/2003.11539
    """
    head = linear(columns)
    return with_fresh_head(anil(embed, head, loss, inner, num_steps), embed, head)
