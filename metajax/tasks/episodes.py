"""Way-shot episodes from any arrays grouped by class, drawn by index from data on the device."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.names import choose
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task

Labels: TypeAlias = Literal["episode", "class"]

Transform: TypeAlias = Callable[[jax.Array, Any], Any]
"""`(key, x) -> x`, of the examples `(shot + query_shot, ...)` that an episode drew of one class."""


def draw(key: jax.Array, population: int | jax.Array, k: int) -> jax.Array:
    """Draws `k` different indices below `population`, in random order.

    Floyd's algorithm: the work depends on `k` alone, whereas a permutation sorts the population.

    Args:
      key: A PRNG key.
      population: At least `k`; may be traced.
      k: The number of indices.

    Returns:
      The indices, `(k,)`.

    Example:
      >>> sorted(draw(jax.random.key(0), 3, 3).tolist())
      [0, 1, 2]

    Reference:
      Bentley and Floyd, Programming pearls: a sample of brilliance, CACM 30(9), 1987.
    """
    index_key, order_key = jax.random.split(key)
    last = population - k + jnp.arange(k)
    candidates = jax.random.randint(index_key, (k,), 0, last + 1)

    def add(drawn, step):
        i, candidate, otherwise = step
        taken = jnp.any(drawn == candidate)
        return drawn.at[i].set(jnp.where(taken, otherwise, candidate)), None

    steps = (jnp.arange(k), candidates, last)
    drawn, _ = jax.lax.scan(add, jnp.full((k,), -1), steps)
    return jax.random.permutation(order_key, drawn)


def episodes(
    classes: Any,
    *,
    way: int,
    shot: int,
    query_shot: int,
    labels: Any = None,
    groups: Sequence[Hashable] | None = None,
    transform: Transform | None = None,
    query_labels: Labels = "episode",
    name: str = "episodes",
) -> Sample:
    """Classification tasks of `way` classes with `shot` labelled examples of each.

    Everything happens inside `jit`: the data stay on the device in their own dtype (uint8 images,
    say), an episode draws indices and gathers, and no example is both support and query.

    Args:
      classes: The inputs by class: a pytree whose leaves have shape `(classes, per_class, ...)`, such
        as an array or a dict of arrays; or a list with one pytree per class, whose leaves have shape
        `(examples, ...)`. With `labels`, a pytree of examples `(n, ...)` in any order.
      way: The number of classes in an episode, labelled `0 .. way - 1` in random order.
      shot: The number of support examples per class.
      query_shot: The number of query examples per class.
      labels: The class of each example, `(n,)`: integers, strings or other hashables.
      groups: The group of each class, such as its alphabet or domain; with `labels`, of each
        different label in sorted order. All classes of a task belong to one group, and every group
        is equally likely.
      transform: `(key, x) -> x` for the examples `(shot + query_shot, ...)` that an episode drew of
        one class: scaling, or an augmentation that all examples of the class share.
      query_labels: "episode" labels queries as the support set; "class" labels them with the index
        of their class among all classes, for pretraining a classifier.
      name: The first word of error messages.

    Returns:
      `sample(key) -> Task` with `x` of shape `(way * shot, ...)` and `y` of shape `(way * shot,)`,
      and likewise for queries. It is a pytree whose leaves are the data: `jit` takes it as an
      argument, and sources with the same settings share one program.

    Raises:
      ValueError: For more classes or examples than there are, a group with fewer than `way`
        classes, or inputs that are not grouped by class.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> numbers = jnp.arange(12).reshape(4, 3)  # 4 classes of 3 examples
      >>> task = mj.tasks.episodes(numbers, way=2, shot=2, query_shot=1)(jax.random.key(0))
      >>> (task.support.x // 3 == jnp.repeat(task.query.x // 3, 2)).tolist()
      [True, True, True, True]
      >>> words = {"token": jnp.arange(6), "length": jnp.ones(6)}
      >>> sample = mj.tasks.episodes(words, labels=list("abcabc"), way=2, shot=1, query_shot=1)
      >>> task = sample(jax.random.key(0))
      >>> (task.support.x["token"] % 3 == task.query.x["token"] % 3).tolist()
      [True, True]
    """
    way = checks.count(name, "way", way)
    shot = checks.count(name, "shot", shot)
    query_shot = checks.count(name, "query_shot", query_shot)
    choose(name, "query_labels", query_labels, ("episode", "class"))
    if labels is not None:
        rows, counts = _by_label(name, classes, labels)
    elif isinstance(classes, list):
        rows, counts = _by_list(name, classes)
    else:
        rows, counts = _by_axis(name, classes)
    _check_enough(name, counts, way, shot, query_shot, labels is None)
    grouped = None if groups is None else _grouped(name, groups, len(counts), way)
    settings = Episodes(way, shot, query_shot, query_labels)
    change = None if transform is None else as_pytree(transform)
    return jax.tree_util.Partial(settings, *_sorted(rows, counts), grouped, change)


@dataclass(frozen=True)
class Episodes:
    """The settings of `episodes`, called with its data and a key."""

    way: int
    shot: int
    query_shot: int
    query_labels: Labels = "episode"

    def __call__(self, rows, counts, first, grouped, transform, key):
        """Draws a task."""
        if grouped is None:
            class_key, example_key, transform_key = jax.random.split(key, 3)
            chosen = draw(class_key, len(counts), self.way)
        else:
            group_key, class_key, example_key, transform_key = jax.random.split(key, 4)
            group = jax.random.randint(group_key, (), 0, len(grouped.counts))
            member = draw(class_key, grouped.counts[group], self.way)
            chosen = grouped.rows[grouped.first[group] + member]

        def of_class(c, key, transform_key):
            index = first[c] + draw(key, counts[c], self.shot + self.query_shot)
            x = jax.tree.map(lambda leaf: leaf[index], rows)
            return x if transform is None else transform(transform_key, x)

        keys = jax.random.split(example_key, self.way), jax.random.split(transform_key, self.way)
        x = jax.vmap(of_class)(chosen, *keys)
        label = jnp.arange(self.way)
        of_query = label if self.query_labels == "episode" else chosen
        support, query = slice(0, self.shot), slice(self.shot, None)
        return Task(
            Examples(_flat(x, support), jnp.repeat(label, self.shot)),
            Examples(_flat(x, query), jnp.repeat(of_query, self.query_shot)),
        )


class Sorted(NamedTuple):
    """Rows sorted by class, or classes by group: the number of rows of each, and its first one."""

    rows: Any
    counts: jax.Array
    first: jax.Array


def _sorted(rows: Any, counts: np.ndarray) -> Sorted:
    return Sorted(rows, jnp.asarray(counts), jnp.asarray(np.cumsum(counts) - counts))


def _flat(x, part):
    def flat(leaf):
        leaf = leaf[:, part]
        return leaf.reshape(math.prod(leaf.shape[:2]), *leaf.shape[2:])

    return jax.tree.map(flat, x)


def _by_label(name: str, examples: Any, labels: Any) -> tuple[Any, np.ndarray]:
    """Rows sorted by label, and the number of rows of each."""
    array = np.asarray(labels) if isinstance(labels, jax.Array | np.ndarray) else None
    if array is not None and (array.ndim != 1 or array.dtype.kind not in "iubUSO"):
        raise ValueError(
            f"{name}: labels has shape {array.shape} and dtype {array.dtype}; give one integer or string "
            "per example, (n,)."
        )
    listed = list(labels) if array is None else array.tolist()
    for path, leaf in _leaves(name, examples):
        if leaf.ndim < 1 or len(leaf) != len(listed):
            raise ValueError(
                f"{name}: there are {len(listed)} labels, but {path} has shape {leaf.shape}; give one label "
                "per example, (n,)."
            )
    different = list(dict.fromkeys(listed))
    with contextlib.suppress(TypeError):  # Labels of different kinds stay in order of appearance.
        different.sort()
    place = {label: i for i, label in enumerate(different)}
    index = np.fromiter((place[label] for label in listed), int, len(listed))
    order = np.argsort(index, kind="stable")
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[order], examples)
    return rows, np.bincount(index)


def _by_list(name: str, classes: list) -> tuple[Any, np.ndarray]:
    """Rows of all classes after one another, and the number of rows of each."""
    if not classes:
        raise ValueError(f"{name}: the list of classes is empty; give one array per class.")
    counts = []
    for i, one in enumerate(classes):
        own = _leaves(f"{name}: class {i}", one)
        if jax.tree.structure(one) != jax.tree.structure(classes[0]):
            raise ValueError(f"{name}: class {i} has another structure of arrays than class 0.")
        for (path, leaf), (_, other) in zip(own, _leaves(name, classes[0]), strict=True):
            if leaf.ndim < 1 or leaf.shape[1:] != other.shape[1:] or leaf.dtype != other.dtype:
                raise ValueError(
                    f"{name}: {path} of class {i} is {leaf.dtype} of shape {leaf.shape}, but class 0 has "
                    f"{other.dtype} of shape {other.shape}; all axes after the first must agree."
                    + _HINT
                    * (leaf.ndim < 1)
                )
        sizes = sorted({len(leaf) for _, leaf in own})
        if len(sizes) > 1:
            raise ValueError(f"{name}: the arrays of class {i} have {sizes} examples.")
        counts.append(sizes[0])

    def join(*leaves):
        return jnp.concatenate([jnp.asarray(leaf) for leaf in leaves])

    return jax.tree.map(join, *classes), np.array(counts)


def _by_axis(name: str, classes: Any) -> tuple[Any, np.ndarray]:
    """Rows from arrays `(classes, per_class, ...)`, and the number of rows of each class."""
    leaves = _leaves(name, classes)
    for path, leaf in leaves:
        square = leaf.ndim == 3 or (leaf.ndim == 4 and leaf.shape[-1] in (1, 3))
        if leaf.ndim < 2:
            raise ValueError(f"{name}: {path} has shape {leaf.shape}, {_NEEDED}.{_HINT}")
        if square and len(leaves) == 1 and leaf.shape[1] == leaf.shape[2] >= 8:
            raise ValueError(
                f"{name}: {path} has shape {leaf.shape}, which looks like images that are not grouped "
                f"by class.{_HINT} If its first axis counts classes, pass list(classes)."
            )
    shapes = {leaf.shape[:2] for _, leaf in leaves}
    if len(shapes) > 1:
        found = ", ".join(f"{path} {leaf.shape}" for path, leaf in leaves)
        raise ValueError(
            f"{name}: the arrays must share their first two axes, (classes, per_class), but have shapes "
            f"{found}. For classes of different sizes pass a list with one entry per class."
        )
    number, each = shapes.pop()
    rows = jax.tree.map(lambda leaf: _joined(jnp.asarray(leaf)), classes)
    return rows, np.full(number, each)


def _joined(leaf):
    return leaf.reshape(math.prod(leaf.shape[:2]), *leaf.shape[2:])


_NEEDED = "but (classes, per_class, ...) is needed"
_HINT = " For examples in any order give labels=, one label per example."


def _leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
    """The arrays of a tree, each with its path for messages."""
    found = []
    for path, leaf in jax.tree.leaves_with_path(tree):
        where = jax.tree_util.keystr(path, simple=True, separator="/") or "the array"
        array = leaf if isinstance(leaf, jax.Array | np.ndarray) else np.asarray(leaf)
        if array.dtype.kind not in "biufcV":
            raise ValueError(
                f"{name}: {where} has dtype {array.dtype}; inputs must be numbers, such as token ids."
            )
        found.append((where, array))
    if not found:
        raise ValueError(f"{name}: there is no array; give inputs grouped by class.")
    return found


def _check_enough(
    name: str, counts: np.ndarray, way: int, shot: int, query_shot: int, unlabelled: bool
) -> None:
    if way > len(counts):
        raise ValueError(
            f"{name}: way={way} needs {way} classes, but there are {len(counts)}. "
            f"Use way={len(counts)} or less."
        )
    fewest = int(counts.min())
    if shot + query_shot > fewest:
        advice = f"Use query_shot={fewest - shot} or less" if shot < fewest else "Use fewer of both"
        hint = ", or give labels= if the first axis counts examples" if unlabelled else ""
        raise ValueError(
            f"{name}: shot={shot} and query_shot={query_shot} need {shot + query_shot} examples per "
            f"class, but there are {fewest}. {advice}{hint}."
        )


def _grouped(name: str, groups: Sequence[Hashable], number: int, way: int) -> Sorted:
    """The classes sorted by group."""
    listed = np.asarray(groups).tolist() if isinstance(groups, jax.Array) else list(groups)
    if len(listed) != number:
        raise ValueError(
            f"{name}: there are {len(listed)} groups for {number} classes; give the group of each class."
        )
    sizes = Counter(listed)
    for group, size in sizes.items():
        if size < way:
            raise ValueError(
                f"{name}: way={way} needs {way} classes per group, but group {group!r} has {size}. "
                f"Use way={size} or less, or leave that group out."
            )
    place = {group: i for i, group in enumerate(sizes)}
    index = np.array([place[group] for group in listed])
    return _sorted(jnp.asarray(np.argsort(index, kind="stable")), np.bincount(index))
