"""SimpleShot: nearest class means of pretrained features, all of one length."""

import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import check_labels
from metajax.learners.protonet import protonet
from metajax.ops.unit import unit_rows
from metajax.types import Learner, Model


def simpleshot(embed: Model, *, sharpness: float = 10.0) -> Learner:
    """Finds the nearest mean of a class among features of one length, which are to be `pretrained`.

    The length of a classifier's features tells how much of something an input shows, their direction what. The
    paper's other variant subtracts the mean feature of the training classes first, which is not done here.

    Args:
      embed: Maps inputs to features `(n, d)`.
      sharpness: Multiplies the negative squared distances, which are at most 4, to logits; above 0.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, as `protonet` of unit features.

    Raises:
      ValueError: If `sharpness` is not above 0; from `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.simpleshot(mj.pixels)
      >>> support = mj.Examples(x=jnp.array([[9.0, 1.0], [1.0, 2.0]]), y=jnp.array([0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[2.0, 5.0]])), axis=-1).tolist()
      [1]

    Reference:
      Wang, Chao, Weinberger and van der Maaten, 2019, section 3 (L2N). https://arxiv.org/abs/1911.04623
    """
    embed = checks.as_model("simpleshot", embed)
    checks.positive("simpleshot", "sharpness", sharpness)
    directions = embed._replace(
        apply=lambda params, x: jnp.sqrt(sharpness) * unit_rows(embed.apply(params, x)), train=None
    )
    nearest = protonet(directions)

    def adapt(meta_params, support, key):
        check_labels("simpleshot", support.y)
        return nearest.adapt(meta_params, support, key)

    return Learner(embed.init, adapt, nearest.predict)
