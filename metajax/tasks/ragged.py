"""Tasks of groups of unequal size, such as users with few or many ratings, by masks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.tasks.episodes import draw
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task

TaskTransform: TypeAlias = Callable[[jax.Array, Examples, Examples], tuple[Examples, Examples]]
"""`(key, support, query) -> (support, query)`, of one whole task, its targets and masks included."""


def ragged(
    examples: Examples,
    counts: Any,
    *,
    support: tuple[int, int] = (1, 10),
    query: int = 20,
    transform: TaskTransform | None = None,
) -> Sample:
    """Draws a group and splits its examples into a support set of varying size and queries.

    A group gives as many examples as it has, up to the greatest support set and `query` together.
    At least one of them is a query, so a group of two examples gives a support set of one.

    Args:
      examples: All examples, those of a group after one another, without a mask.
      counts: The number of examples of each group, `(groups,)`; at least one more than the smallest
        support set.
      support: The fewest and the most support examples. The number is uniform between them, where the
        group is large enough.
      query: The most queries.
      transform: `(key, support, query) -> (support, query)`, applied to each task inside `jit`. It
        sees targets and masks, so that an input can depend on the rest of the task: statistics that
        leave a target out, or inputs that are dropped at random. Masked rows hold real examples.

    Returns:
      `sample(key) -> Task`, always of the same shapes: `support[1]` and `query` examples with masks.
      Examples that exist come first, in random order.

    Raises:
      ValueError: For counts that do not add up to the examples, a group that is too small, or a
        fewest that is above the most.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> ratings = mj.Examples(x=jnp.arange(5), y=jnp.array([[3.0], [4.0], [5.0], [1.0], [2.0]]))
      >>> sample = mj.tasks.ragged(ratings, counts=[3, 2], support=(1, 2), query=4)
      >>> task = sample(jax.random.key(0))
      >>> task.support.mask.shape, task.query.mask.shape
      ((2,), (4,))
      >>> users = {(int(x) >= 3) for part in task for x in part.x[part.mask]}
      >>> len(users)  # all ratings of a task are of one user
      1
    """
    fewest, most = (checks.count("ragged", "support", number) for number in support)
    if fewest > most:
        raise ValueError(
            f"ragged: support=({fewest}, {most}) must be (fewest, most) with 1 <= fewest <= most."
        )
    query = checks.count("ragged", "query", query)
    counts = _counts(examples, counts, fewest)
    rows = jax.tree.map(jnp.asarray, (examples.x, examples.y))
    first = jnp.asarray(np.cumsum(counts) - counts)
    change = None if transform is None else as_pytree(transform)
    settings = Ragged(fewest, most, query)
    return jax.tree_util.Partial(settings, rows, jnp.asarray(counts), first, change)


@dataclass(frozen=True)
class Ragged:
    """The settings of `ragged`, called with its data and a key."""

    fewest: int
    most: int
    query: int

    def __call__(self, rows, counts, first, transform, key: jax.Array) -> Task:
        """Draws a task."""
        group_key, order_key, size_key, transform_key = jax.random.split(key, 4)
        group = jax.random.randint(group_key, (), 0, len(counts))
        count, slots = counts[group], self.most + self.query
        # Of more places than there are examples, those without one are moved to the end.
        order = draw(order_key, jnp.maximum(count, slots), slots)
        order = order[jnp.argsort(order >= count, stable=True)]
        number = jnp.minimum(count, slots)
        order = jnp.where(jnp.arange(slots) < number, order, order[0])
        size = jax.random.randint(size_key, (), self.fewest, self.most + 1)
        size = jnp.minimum(size, number - 1)
        x, y = jax.tree.map(lambda leaf: leaf[first[group] + order], rows)

        def part(begin: jax.Array | int, end: jax.Array, length: int) -> Examples:
            place = begin + jnp.arange(length)
            row = jnp.minimum(place, slots - 1)
            own_x, own_y = jax.tree.map(lambda leaf: leaf[row], (x, y))
            return Examples(own_x, own_y, place < end)

        support = part(0, size, self.most)
        query = part(size, number, self.query)
        if transform is None:
            return Task(support, query)
        return Task(*transform(transform_key, support, query))


def _counts(examples: Examples, counts: Any, fewest: int) -> np.ndarray:
    """The number of examples of each group.

    Raises:
      ValueError: For counts that do not fit the examples, and groups without a query.
    """
    if not isinstance(examples, Examples) or examples.mask is not None:
        raise ValueError(
            "ragged: examples must be mj.Examples(x, y) without a mask, those of a group after one "
            "another. Leave masked examples out."
        )
    sizes = {len(leaf) for leaf in jax.tree.leaves((examples.x, examples.y))}
    found = np.asarray(counts)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise ValueError(
            f"ragged: counts has shape {found.shape} and dtype {found.dtype}; give the number of "
            "examples of each group, (groups,) integers."
        )
    if sizes != {int(found.sum())}:
        raise ValueError(
            f"ragged: counts add up to {int(found.sum())}, but the arrays have {sorted(sizes)} "
            "examples. Give every example, group by group."
        )
    if int(found.min()) < fewest + 1:
        raise ValueError(
            f"ragged: group {int(found.argmin())} has {int(found.min())} examples, but a support set of "
            f"{fewest} and one query need {fewest + 1}. Leave that group out."
        )
    return found
