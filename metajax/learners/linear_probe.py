"""A linear probe: a linear head on frozen features, trained in every task."""

from metajax import checks
from metajax.learners.anil import anil
from metajax.learners.parts import with_fresh_head
from metajax.nn.models import linear
from metajax.types import Learner, Loss, Model, Optimizer


def linear_probe(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, columns: int
) -> Learner:
    """Trains a linear head from 0 on every task, on frozen features without dropout.

    Args:
      embed: Maps inputs `(n, ...)` to features `(n, d)`; random ones, or `pretrained`.
      loss: Logits `(n, columns)` and labels `(n,)` to one value per example, `(n,)`.
      inner: Any optax transformation of the head.
      num_steps: Number of steps on each task.
      columns: Number of outputs of the head.

    Returns:
      A learner whose meta-parameters are those of `embed`. Meta-learning them changes the features
      alone, as in `anil`.

    Raises:
      ValueError: If `num_steps` is negative, or `columns` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.linear_probe(mj.pixels, mj.cross_entropy, optax.sgd(0.1), 20, columns=2)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.eye(2)), axis=-1).tolist()
      [1, 0]

    Reference:
      Tian, Wang, Krishnan, Tenenbaum and Isola, ECCV 2020, section 3.
      https://arxiv.org/abs/2003.11539
    """
    embed = checks.as_model("linear_probe", embed)._replace(train=None)
    num_steps = checks.count("linear_probe", "num_steps", num_steps, least=0)
    checks.inner_loop("linear_probe", loss=loss, inner=inner)
    head = linear(checks.count("linear_probe", "columns", columns))
    return with_fresh_head(anil(embed, head, loss, inner, num_steps), embed, head)
