"""Way-shot episodes from any arrays grouped by class, drawn by index from data on the device."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metajax.names import choose
from metajax.types import Examples, Sample, Task

Labels: TypeAlias = Literal["episode", "class"]


def draw(key: jax.Array, population: int | jax.Array, k: int) -> jax.Array:
    """Draw `k` different indices below `population`, in random order.

    Floyd's algorithm: the work depends on `k` alone, where a permutation sorts the population.

    Args:
      key: a PRNG key.
      population: `k` or more; may be traced.
      k: how many to draw.

    Example:
      >>> sorted(draw(jax.random.key(0), 3, 3).tolist())
      [0, 1, 2]

    Reference: Bentley and Floyd, Programming pearls: a sample of brilliance, CACM 30(9), 1987.
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
    classes: jax.Array | np.ndarray | Sequence[np.ndarray],
    *,
    way: int,
    shot: int,
    query_shot: int,
    transform: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    query_labels: Labels = "episode",
    name: str = "episodes",
) -> Sample:
    """Tasks of telling `way` classes apart from `shot` examples of each.

    Everything happens inside `jit`: the data stay on the device in their own dtype (uint8 images,
    say), an episode draws indices and gathers, and no example is both support and query.

    Args:
      classes: `(classes, per_class, ...)`, or a sequence of `(examples, ...)`, one for each class.
      way: classes in an episode, labelled `0 .. way - 1` in random order.
      shot: support examples of each class.
      query_shot: query examples of each class.
      transform: `(key, x) -> x` for the examples `(shot + query_shot, ...)` that an episode drew of
        one class: scaling, or an augmentation that all examples of the class share.
      query_labels: "episode" for the labels of the support set, "class" for the position of each
        class among all there are: what a classifier is pretrained on.
      name: stands at the beginning of error messages.

    Returns:
      `sample(key) -> Task` with `x` of shape `(way * shot, ...)` and `y` of shape `(way * shot,)`,
      and the same with `query_shot`. It is a pytree: pass it into `jit` as an argument, and the
      data are not compiled in as a constant.

    Raises:
      ValueError: for more classes or examples than there are.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> numbers = jnp.arange(12).reshape(4, 3)  # 4 classes of 3 examples
      >>> task = mj.tasks.episodes(numbers, way=2, shot=2, query_shot=1)(jax.random.key(0))
      >>> (task.support.x // 3 == jnp.repeat(task.query.x // 3, 2)).tolist()
      [True, True, True, True]
    """
    if min(way, shot, query_shot) < 1:
        raise ValueError(
            f"{name}: way={way}, shot={shot} and query_shot={query_shot}; each is 1 or more."
        )
    choose(name, "query_labels", query_labels, ("episode", "class"))
    counts = np.array([len(examples) for examples in classes])
    if way > len(counts):
        raise ValueError(
            f"{name}: way={way} needs {way} classes and there are {len(counts)}; "
            f"use way={len(counts)} or less."
        )
    fewest = int(counts.min())
    if shot + query_shot > fewest:
        advice = f"use query_shot={fewest - shot} or less" if shot < fewest else "use fewer of both"
        raise ValueError(
            f"{name}: shot={shot} and query_shot={query_shot} need {shot + query_shot} examples of "
            f"a class and there are {fewest}; {advice}."
        )
    if isinstance(classes, jax.Array | np.ndarray):
        rows = jnp.asarray(classes).reshape(-1, *classes.shape[2:])
    else:
        rows = jnp.concatenate([jnp.asarray(examples) for examples in classes])
    first = np.cumsum(counts) - counts

    def sample(rows, counts, first, key):
        class_key, example_key, transform_key = jax.random.split(key, 3)
        chosen = draw(class_key, len(counts), way)

        def of_class(c, key, transform_key):
            x = rows[first[c] + draw(key, counts[c], shot + query_shot)]
            return x if transform is None else transform(transform_key, x)

        keys = jax.random.split(example_key, way), jax.random.split(transform_key, way)
        x = jax.vmap(of_class)(chosen, *keys)
        label = jnp.arange(way)
        return Task(
            support=Examples(_flat(x[:, :shot]), jnp.repeat(label, shot)),
            query=Examples(
                _flat(x[:, shot:]),
                jnp.repeat(label if query_labels == "episode" else chosen, query_shot),
            ),
        )

    return jax.tree_util.Partial(sample, rows, jnp.asarray(counts), jnp.asarray(first))


def _flat(x):
    return x.reshape(-1, *x.shape[2:])
