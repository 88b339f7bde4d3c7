"""Train a linear head and the features below it in every task: transfer learning."""

from metajax.learners.maml import maml
from metajax.learners.parts import predict_parts, with_fresh_head
from metajax.nn.models import linear
from metajax.types import Learner, Loss, Model, Optimizer


def finetune(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Train a linear head from 0 on every task, and the features with it: transfer learning.

    Args:
      embed: features `(n, d)` of inputs, to be `pretrained`.
      loss: logits and labels to a scalar, the mean over `n`.
      inner: steps head and features.
      num_steps: steps on each task; choose them on validation tasks.
      columns: outputs of the head.

    Returns:
      A learner whose meta-parameters are the embedding's.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> body = mj.conv4(None, filters=4)
      >>> learner = mj.finetune(body, mj.cross_entropy, optax.sgd(0.1), 5, columns=2)
      >>> support = mj.Examples(x=jnp.ones((2, 28, 28, 1)), y=jnp.arange(2))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> learner.predict(adapted, support.x).shape
      (2, 2)

    Reference: Chen, Liu, Kira, Wang and Huang, ICLR 2019, section 3.2 (Baseline).
    https://arxiv.org/abs/1904.04232
    """
    head = linear(columns)
    joined = Model(embed.init, predict_parts(embed, head))
    return with_fresh_head(maml(joined, loss, inner, num_steps), embed, head)
