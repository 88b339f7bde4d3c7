"""Episodes of different ways and shots in arrays of one shape, by masks."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import exists
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task


def varied(sample: Sample, *, way: tuple[int, int], shot: tuple[int, int]) -> Sample:
    """Masks classes and support examples at random, so that the way and shot differ between tasks.

    Learners, losses and metrics ignore masked examples. A learner trained on such tasks meets every
    way and shot within one compiled program.

    Args:
      sample: A source of balanced episodes of the largest way and shot, labelled `0 .. way - 1`.
        Its own masks are kept. A source of regression tasks is a single class if its targets are
        floats: give `way=(1, 1)`, and only the shot varies.
      way: The fewest and the most classes; the most is the way of `sample`.
      shot: The fewest and the most support examples per class; the most is the shot of `sample`.

    Returns:
      `sample(key) -> Task` of the same shapes with a mask in the support set and in the queries. The
      queries of masked classes are masked; all others exist.

    Raises:
      ValueError: For a fewest below 1 or above the most, float targets with several classes, or a
        support set whose size is not the product of the largest way and shot.

    Example:
      >>> import jax, metajax as mj
      >>> episodes = mj.tasks.glyphs(way=5, shot=3)
      >>> task = mj.tasks.varied(episodes, way=(2, 5), shot=(1, 3))(jax.random.key(1))
      >>> task.support.mask.shape, bool(task.support.mask.all())
      ((15,), False)

    Reference:
      Triantafillou et al., ICLR 2020, section 3 (Meta-Dataset). https://arxiv.org/abs/1903.03096
    """
    way, shot = _range("way", way), _range("shot", shot)
    support = checks.source("varied", sample).support
    labelled = isinstance(support.y, jax.ShapeDtypeStruct) and support.y.ndim == 1
    labelled = labelled and jnp.issubdtype(support.y.dtype, jnp.integer)
    if not labelled and way[1] > 1:
        raise ValueError(
            f"varied: way={way} needs integer labels (n,), but the targets of `sample` are others. "
            "Give way=(1, 1) to vary the number of examples alone."
        )
    found = jax.tree.leaves(support.x)[0].shape[0]
    if found != way[1] * shot[1]:
        raise ValueError(
            f"varied: way={way} and shot={shot} need {way[1] * shot[1]} support examples, but "
            f"`sample` has {found}. Give the source's own way and shot as the most."
        )
    return jax.tree_util.Partial(Varied(way, shot, labelled), as_pytree(sample))


@dataclass(frozen=True)
class Varied:
    """The settings of `varied`, called with the source and a key."""

    way: tuple[int, int]
    shot: tuple[int, int]
    labelled: bool = True

    def __call__(self, sample: Sample, key: jax.Array) -> Task:
        """Draws a task."""
        task_key, way_key, shot_key = jax.random.split(key, 3)
        task = sample(task_key)
        classes = jax.random.randint(way_key, (), self.way[0], self.way[1] + 1)
        examples = jax.random.randint(shot_key, (), self.shot[0], self.shot[1] + 1)

        def masked(part: Examples, most: jax.Array | int) -> Examples:
            there = exists(part)
            y = part.y if self.labelled else jnp.zeros(len(there), int)
            member = jax.nn.one_hot(y, self.way[1], dtype=jnp.int32)
            rank = jnp.sum(member * jnp.cumsum(member, axis=0), axis=1) - 1  # within its class
            return part._replace(mask=there & (y < classes) & (rank < most))

        queries = len(exists(task.query))
        return Task(masked(task.support, examples), masked(task.query, queries))


def _range(name: str, between: tuple[int, int]) -> tuple[int, int]:
    fewest, most = (checks.count("varied", name, number) for number in between)
    if fewest > most:
        raise ValueError(
            f"varied: {name}=({fewest}, {most}) must be (fewest, most) with 1 <= fewest <= most."
        )
    return fewest, most
