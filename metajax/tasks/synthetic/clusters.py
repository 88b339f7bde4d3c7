"""Invented vectors to be told apart: classes of several Gaussian clusters, from a key alone."""

import jax
import jax.numpy as jnp

from metajax.types import Examples, Sample, Task


def clusters(
    way: int = 5,
    shot: int = 10,
    query_shot: int = 10,
    *,
    dimension: int = 16,
    parts: int = 2,
    spread: float = 1.0,
) -> Sample:
    """Classification of vectors, without any download: a data set for optimisers to be trained on.

    A class is several clusters with standard normal centres, so that no linear model tells classes
    apart where there are more parts than one and few dimensions.

    Args:
      way: classes.
      shot: support examples of each.
      query_shot: query examples of each.
      dimension: of the vectors, whose coordinates have mean 0 and variance 1 over all tasks.
      parts: clusters of a class; every example is of any, equally likely.
      spread: deviation within a cluster over that of the centres. At 1 in 16 dimensions clusters
        hardly touch; at 3 a few hundred examples do not suffice.

    Returns:
      `sample(key) -> Task` with `x` of shape `(way * shot, dimension)` and labels.

    Raises:
      ValueError: for fewer than one of anything, or a negative spread.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.clusters(way=3, shot=1)(jax.random.key(0))
      >>> task.support.x.shape, task.support.y.tolist()
      ((3, 16), [0, 1, 2])
    """
    if min(way, shot, query_shot, dimension, parts) < 1 or spread < 0:
        raise ValueError(
            f"clusters: way={way}, shot={shot}, query_shot={query_shot}, dimension={dimension}, "
            f"parts={parts} and spread={spread}; the first five are 1 or more, and the spread is not "
            "negative."
        )
    each = shot + query_shot

    def sample(key: jax.Array) -> Task:
        centre_key, part_key, noise_key = jax.random.split(key, 3)
        centres = jax.random.normal(centre_key, (way, parts, dimension))
        chosen = jax.random.randint(part_key, (way, each, 1), 0, parts)
        noise = spread * jax.random.normal(noise_key, (way, each, dimension))
        x = (jnp.take_along_axis(centres, chosen, axis=1) + noise) / (1 + spread**2) ** 0.5

        def part(x):
            return Examples(x.reshape(-1, dimension), jnp.repeat(jnp.arange(way), x.shape[1]))

        return Task(part(x[:, :shot]), part(x[:, shot:]))

    return sample
