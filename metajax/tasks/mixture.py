"""Tasks of several sources, each task from one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.trees import as_pytree
from metajax.types import Sample, Task


def mixture(sources: Sequence[Sample], weights: Sequence[float] | None = None) -> Sample:
    """Draws each task from one of several sources, chosen at random.

    Sources of equal settings whose data have equal shapes share one program: their data are stacked
    and indexed. Other sources are branches of a `jax.lax.switch`; under `vmap` every branch is
    computed.

    Args:
      sources: Task sources whose tasks have the same structure, shapes and dtypes.
      weights: The probability of each source, up to a common factor; None for equal ones.

    Returns:
      `sample(key) -> Task`.

    Raises:
      ValueError: For no source, a weight that is not above 0, or tasks of different shapes; the
        message names the array.

    Example:
      >>> import jax, metajax as mj
      >>> waves, lines = mj.tasks.sinusoid(), mj.tasks.functions(mj.tasks.families.lines())
      >>> sample = mj.tasks.mixture([waves, lines], weights=[3, 1])
      >>> sample(jax.random.key(0)).support.x.shape
      (10, 1)

    Reference:
      Triantafillou et al., ICLR 2020, section 3 (Meta-Dataset). https://arxiv.org/abs/1903.03096
    """
    listed = list(sources) if not callable(sources) else []
    if not listed:
        raise ValueError(
            "mixture: give a list of at least one source, such as [mj.tasks.sinusoid()]."
        )
    tasks = [checks.source("mixture", source) for source in listed]
    for i, task in enumerate(tasks):
        _check_like(i, task, tasks[0])
    given = [1.0] * len(listed) if weights is None else list(weights)
    if len(given) != len(listed):
        raise ValueError(f"mixture: there are {len(given)} weights for {len(listed)} sources.")
    for weight in given:
        checks.positive("mixture", "weights", weight)
    if not np.isfinite(given).all():
        raise ValueError(f"mixture: weights={given} must be finite.")
    alike: dict[Any, list[int]] = {}
    trees = [as_pytree(source) for source in listed]
    for i, tree in enumerate(trees):
        leaves, settings = jax.tree.flatten(tree)
        shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
        alike.setdefault((settings, shapes), []).append(i)
    programs = tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trees[i] for i in own))
        for own in alike.values()
    )
    order = [i for own in alike.values() for i in own]
    sizes = tuple(len(own) for own in alike.values())
    shares = np.array(given, np.float64)[order] / np.sum(given)
    return jax.tree_util.Partial(Mixture(sizes), jnp.asarray(shares, jnp.float32), programs)


@dataclass(frozen=True)
class Mixture:
    """The settings of `mixture`: the number of sources that share each program."""

    sizes: tuple[int, ...]

    def __call__(self, shares: jax.Array, programs: tuple[Sample, ...], key: jax.Array) -> Task:
        """Draws a task."""
        choice_key, task_key = jax.random.split(key)
        choice = jax.random.choice(choice_key, len(shares), p=shares)
        first = np.cumsum(self.sizes) - np.array(self.sizes)
        group = jnp.sum(choice >= jnp.asarray(first)) - 1
        place = choice - jnp.asarray(first)[group]

        def branch(program, size):
            def task(place, key):
                # Clipped, because a branch that is not taken sees the place of another program.
                i = jnp.minimum(place, size - 1)
                return jax.tree.map(lambda leaf: leaf[i], program)(key)

            return task

        branches = [branch(*pair) for pair in zip(programs, self.sizes, strict=True)]
        return jax.lax.switch(group, branches, place, task_key)


def _check_like(i: int, task: Task, first: Task) -> None:
    found, needed = (
        {
            jax.tree_util.keystr(
                path, simple=True, separator="/"
            ): f"{leaf.dtype} of shape {leaf.shape}"
            for path, leaf in jax.tree.leaves_with_path(one)
        }
        for one in (task, first)
    )
    for leaf in {**needed, **found}:
        if found.get(leaf) != needed.get(leaf):
            raise ValueError(
                f"mixture: {leaf} is {found.get(leaf, 'missing')} in source {i}, but "
                f"{needed.get(leaf, 'missing')} in source 0. Give sources whose tasks have the same shapes."
            )
    if jax.tree.structure(task) != jax.tree.structure(first):
        raise ValueError(
            f"mixture: the tasks of source {i} have another structure than source 0's."
        )
