"""Fine-tuning: a linear head and the features below it, trained in every task."""

from metajax import checks
from metajax.learners.maml import maml
from metajax.learners.parts import joined, with_fresh_head
from metajax.nn.models import linear
from metajax.types import Learner, Loss, Model, Optimizer


def finetune(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Trains a linear head from 0 on every task, and the features with it: transfer learning.

    Args:
      embed: Maps inputs `(n, ...)` to features `(n, d)`, which are to be `pretrained`.
      loss: Logits `(n, columns)` and labels `(n,)` to one value per example, `(n,)`.
      inner: Any optax transformation of head and features.
      num_steps: Number of steps on each task. Choose it on validation tasks.
      columns: Number of outputs of the head.

    Returns:
      A learner whose meta-parameters are those of `embed`, and which adapts to `Parts(body, head)`.

    Raises:
      ValueError: If `num_steps` is negative, or `columns` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.finetune(mj.pixels, mj.cross_entropy, optax.sgd(0.1), 20, columns=2)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference:
      Chen, Liu, Kira, Wang and Huang, ICLR 2019, section 3.2 (Baseline).
      https://arxiv.org/abs/1904.04232
    """
    embed = checks.as_model("finetune", embed)
    num_steps = checks.count("finetune", "num_steps", num_steps, least=0)
    checks.inner_loop("finetune", loss=loss, inner=inner)
    head = linear(checks.count("finetune", "columns", columns))
    return with_fresh_head(maml(joined(embed, head), loss, inner, num_steps), embed, head)
