"""Scores of sentences on frozen tasks: accuracy in every domain, and whether outsiders are told apart."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.data.sentences import Sentences
from metajax.evaluation import predictions
from metajax.recipes.experiment import Shots
from metajax.tasks.batch import of_keys
from metajax.tasks.sentences import sentences, with_outside
from metajax.trees import as_pytree
from metajax.types import Learner, Params, Sample, Task

OUTSIDE = 50
"""The number of sentences without a label in a test task."""
MOST_BYTES = 2**28
"""Of tasks that are held at once."""


class Judged(NamedTuple):
    """What a learner scores on each task of every domain.

    accuracy: Domain to `(tasks,)`, in percent.
    auroc: Domain to `(tasks,)`, in percent, of the greatest logit; empty without sentences outside.
    """

    accuracy: dict[str, np.ndarray]
    auroc: dict[str, np.ndarray]


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The probability that a score inside is greater than one outside, where ties count half.

    Example:
      >>> auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))  # 3 of the 4 pairs, and a tie
      0.875

    Reference:
      Hanley and McNeil, Radiology 143(1), 1982.
    """
    both = np.concatenate([inside, outside])
    _, place, number = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(number) - (number - 1) / 2)[place]  # those that tie share their mean
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def sources(
    where: str, test: Sentences, inputs: Any, outside: Any | None, shots: Shots
) -> dict[str, Sample]:
    """A source of test tasks for every domain, each with `OUTSIDE` further queries that have no class.

    Args:
      where: The name of the recipe.
      test: The test sentences.
      inputs: What is read of each of them, a pytree of arrays `(n, ...)`.
      outside: What is read of those outside; None without any.
      shots: The size of a task.
    """
    domains = np.array(test.domains)
    found = {}
    for domain in dict.fromkeys(test.domains):
        sample = sentences(
            test.of([domain]),
            jax.tree.map(lambda leaf, rows=domains == domain: leaf[rows], inputs),
            way=shots.way or 1,
            shot=shots.shot,
            query_shot=shots.query_shot,
            name=where,
        )
        number = 0 if outside is None else min(OUTSIDE, len(jax.tree.leaves(outside)[0]))
        found[domain] = with_outside(sample, outside, number) if outside is not None else sample
    return found


def _drawn(sample: Sample, key: jax.Array, number: int) -> Iterator[Task]:
    """The tasks of `mj.tasks.batch` in parts of one size, which begin again in the last one.

    They are drawn by a program of their own, which all learners share; to compile it takes longer than most
    of those.
    """
    shapes = jax.tree.leaves(jax.eval_shape(sample, key))
    most = MOST_BYTES // sum(leaf.size * leaf.dtype.itemsize for leaf in shapes)
    parts = math.ceil(number / max(2, most))
    keys, size = jax.random.split(key, number), math.ceil(number / parts)
    for begin in range(0, number, size):
        yield of_keys(as_pytree(sample), keys[np.arange(begin, begin + size) % number])


def judge(
    learner: Learner,
    meta_params: Params,
    samples: dict[str, Sample],
    shots: Shots,
    *,
    num_tasks: int,
    seed: int = 1,
) -> Judged:
    """Scores a learner on tasks of every domain; one seed gives every learner the same tasks.

    Args:
      learner, meta_params: What is judged.
      samples: Of `sources`.
      shots: The size of a task.
      num_tasks: The number of tasks of all domains together.
      seed: Of the tasks.
    """
    each = max(2, num_tasks // len(samples))
    inside = (shots.way or 1) * shots.query_shot
    labels = np.repeat(np.arange(shots.way or 1), shots.query_shot)
    accuracy, ranking = {}, {}
    for place, (domain, sample) in enumerate(samples.items()):
        key = jax.random.fold_in(jax.random.key(seed), place)
        parts = [predictions(learner, meta_params, tasks) for tasks in _drawn(sample, key, each)]
        found = np.concatenate(parts)[:each]
        right = found[:, :inside].argmax(axis=-1) == labels
        accuracy[domain] = 100 * right.mean(axis=1)
        if found.shape[1] > inside:
            greatest = found.max(axis=-1)
            ranking[domain] = np.array(
                [100 * auroc(task[:inside], task[inside:]) for task in greatest]
            )
    return Judged(accuracy, ranking)
