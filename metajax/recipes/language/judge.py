"""Scores of sentences on frozen tasks: accuracy in every domain, and whether outsiders are told apart."""

from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.data.sentences import Sentences
from metajax.evaluation import predictions
from metajax.recipes.experiment import Shots
from metajax.tasks.sentences import sentences, with_outside
from metajax.types import Learner, Params, Sample

OUTSIDE = 50
"""The number of sentences without a label in a test task."""


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
        found = predictions(learner, meta_params, sample, key=key, num_tasks=each)
        right = found[:, :inside].argmax(axis=-1) == labels
        accuracy[domain] = 100 * right.mean(axis=1)
        if found.shape[1] > inside:
            greatest = found.max(axis=-1)
            ranking[domain] = np.array(
                [100 * auroc(task[:inside], task[inside:]) for task in greatest]
            )
    return Judged(accuracy, ranking)
