"""A learner of scenes beside its baselines, as a report."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from metajax.evaluation import compare, score
from metajax.recipes.experiment import Report, ScoreTable, pairs_of
from metajax.recipes.vision.detection_scores import COLUMNS, correlated, measured, of_blobs
from metajax.types import Params

JUDGED = 200
"""Tasks of the report after training; docs/results have more."""
UNTRAINED, CORRELATION, BLOBS = "untrained", "correlation, 5 scales", "blobs"


def judged(e: Any, meta_params: Params, seed: int = 1) -> Report:
    """Returns the report of a learner beside its baselines.

    Args:
      e: The experiment.
      meta_params: Of its learner.
      seed: Of the test tasks.
    """
    fresh = e.learner.init(jax.random.key(0), jax.eval_shape(e.test, jax.random.key(0)).support.x)
    name = e.settings.learner
    rows = {
        name: measured(e.learner, meta_params, e.test, seed=seed, num_tasks=JUDGED),
        UNTRAINED: measured(e.learner, fresh, e.test, seed=seed, num_tasks=JUDGED),
        CORRELATION: correlated(e.test, seed=seed, num_tasks=JUDGED),
        BLOBS: of_blobs(e.test, seed=seed, num_tasks=JUDGED),
    }
    return Report(
        f"{name} on {JUDGED} frozen tasks of {e.test_name}",
        (
            ScoreTable("average precision, %", COLUMNS, cells(rows), 1),
            ScoreTable(f"{name} above the others, task by task", COLUMNS, above(rows, name), 1),
            ScoreTable("five exemplars above one, task by task", COLUMNS[2:], more(rows), 1),
        ),
        (
            "AP is COCO's, with 101 recall points, over the query scenes of a task; characters are new",
            f"{CORRELATION}, and {BLOBS} of ink, know no scene but those of the support",
        ),
    )


def cells(rows: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Means and half their intervals, for each column."""
    return {name: pairs_of(score(values)) for name, values in rows.items()}


def above(rows: Mapping[str, np.ndarray], name: str) -> dict[str, tuple[tuple[float, float], ...]]:
    """How far one row is above the others, paired by task."""
    return {
        other: pairs_of(compare(score(rows[name]), score(values)))
        for other, values in rows.items()
        if other != name
    }


def more(rows: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[float, float], ...]]:
    """How far five exemplars are above one, paired by task."""
    return {
        name: pairs_of(compare(score(values[:, 2:]), score(values[:, :2])))
        for name, values in rows.items()
    }
