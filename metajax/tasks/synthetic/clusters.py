"""Invented vectors of several classes: each class is a few Gaussian clusters."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax import checks
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
    """Classification of vectors, without any download: training sets for learned optimisers.

    A class is several clusters with standard normal centres. With more than one part and few
    dimensions no linear model separates the classes.

    Args:
      way: The number of classes.
      shot: The number of support examples per class.
      query_shot: The number of query examples per class.
      dimension: The dimension of the vectors, whose coordinates have mean 0 and variance 1 over all
        tasks.
      parts: The number of clusters of a class, all equally likely.
      spread: The standard deviation within a cluster relative to that of the centres. At 1 in 16
        dimensions clusters hardly touch; at 3 a few hundred examples do not suffice.

    Returns:
      `sample(key) -> Task` with `x` of shape `(way * shot, dimension)` and labels.

    Raises:
      ValueError: For a count below one, or a negative spread.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.clusters(way=3, shot=1)(jax.random.key(0))
      >>> task.support.x.shape, task.support.y.tolist()
      ((3, 16), [0, 1, 2])
    """
    checks.positive("clusters", "spread", spread, least=0)
    return jax.tree_util.Partial(
        Clusters(
            checks.count("clusters", "way", way),
            checks.count("clusters", "shot", shot),
            checks.count("clusters", "query_shot", query_shot),
            checks.count("clusters", "dimension", dimension),
            checks.count("clusters", "parts", parts),
            float(spread),
        )
    )


@dataclass(frozen=True)
class Clusters:
    """The settings of `clusters`, called with a key."""

    way: int
    shot: int
    query_shot: int
    dimension: int
    parts: int
    spread: float

    def __call__(self, key: jax.Array) -> Task:
        """Draws a task."""
        each = self.shot + self.query_shot
        centre_key, part_key, noise_key = jax.random.split(key, 3)
        centres = jax.random.normal(centre_key, (self.way, self.parts, self.dimension))
        chosen = jax.random.randint(part_key, (self.way, each, 1), 0, self.parts)
        noise = self.spread * jax.random.normal(noise_key, (self.way, each, self.dimension))
        x = jnp.take_along_axis(centres, chosen, axis=1) + noise
        x = x / (1 + self.spread**2) ** 0.5

        def part(x):
            labels = jnp.repeat(jnp.arange(self.way), x.shape[1])
            return Examples(x.reshape(-1, self.dimension), labels)

        return Task(part(x[:, : self.shot]), part(x[:, self.shot :]))
