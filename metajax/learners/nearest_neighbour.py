"""The nearest neighbour: the baseline that predicts the label of the nearest support example."""

from metajax.learners.matching import matching
from metajax.types import Learner, Model


def nearest_neighbour(embed: Model) -> Learner:
    """Gives a query the label of the support example with the greatest cosine similarity.

    Args:
      embed: Maps inputs to features `(n, d)`; `pixels` for the inputs themselves.

    Returns:
      A learner as `matching` with a sharpness of 1000.

    Raises:
      ValueError: From `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.nearest_neighbour(mj.pixels)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[3.0, 1.0]])), axis=-1).tolist()
      [1]
    """
    return matching(embed, sharpness=1e3)
