"""Predict the label of the nearest support example."""

from metajax.learners.matching import matching
from metajax.types import Learner, Model


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
