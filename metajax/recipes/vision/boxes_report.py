"""A detector on annotated photographs beside its baselines, as a report."""

from collections.abc import Sequence

import numpy as np

from metajax.evaluation import compare, score
from metajax.recipes.experiment import Experiment, Report, ScoreTable, pairs_of
from metajax.recipes.vision.adapting import (
    SCRATCH,
    STEPS,
    TIMES,
    Setting,
    of_blobs,
    row_of,
    rows_for,
)
from metajax.recipes.vision.canvas import MOST, Canvas
from metajax.recipes.vision.detection_report import BLOBS
from metajax.types import Params

DRAWS = 5


def judged(
    e: Experiment,
    name: str,
    c: Canvas,
    numbers: Sequence[int],
    meta_params: Params,
    seed: int,
) -> Report:
    """Returns the report of a learner beside the network from scratch, and blobs.

    Args:
      e: The experiment of the run.
      name: Of the data.
      c: The pictures.
      numbers: Of annotated pictures.
      meta_params: Of the learner.
      seed: Of the first draw.
    """
    learner = e.settings.learner
    tables, notes = [], []
    for shot in numbers:
        rows: dict[str, np.ndarray] = {}
        for row, how in rows_for(e, meta_params).items():
            best, found = row_of(how, c, shot, DRAWS, seed)
            rows[row] = found[:, :, 0]
            if row == learner:
                rows[f"{row}, no step"] = found[:, :, 1]
            own = (f"{name} {choice}" for name, choice in zip(c.names, best, strict=True))
            notes.append(f"{row}, {shot}: {', '.join(own)}")
        settings = [[Setting(i, shot, seed + d) for d in range(DRAWS)] for i in range(len(c.names))]
        rows[BLOBS] = np.array([[of_blobs(c, at) for at in own] for own in settings])
        tables += tables_of(c, shot, rows, learner)
    title = f"{learner} on {len(c.subsets['test'])} test pictures of {name}, {DRAWS} draws of the support"
    return Report(
        title,
        tuple(tables),
        (
            "Means are over draws of annotated training pictures; AP is COCO's, of at most "
            f"{MOST} boxes in a picture, and all test pictures count",
            f"The number of steps, of {', '.join(map(str, STEPS))}, the inner rate, {TIMES[0]} or {TIMES[1]} "
            "times that of training, and whether pictures are mirrored are chosen for each class on "
            f"validation pictures: {'; '.join(notes)}",
            f"{SCRATCH} is the same network with new weights, tuned in the same way",
        ),
    )


def tables_of(
    c: Canvas, shot: int, rows: dict[str, np.ndarray], learner: str
) -> tuple[ScoreTable, ...]:
    """Returns the tables of one number of annotated pictures: precision, and how far apart, by draw.

    Args:
      c: The pictures.
      shot: The number.
      rows: AP50 and AP75, `(classes, draws, 2)`.
      learner: The row that is compared with the others.
    """
    plural = "s" * (shot > 1)
    columns = tuple(f"{name}, AP{least}" for name in c.names for least in (50, 75))
    cells = {name: pairs_of(score(_flat(values))) for name, values in rows.items()}
    ours = score(_flat(rows[learner]))
    apart = {
        name: pairs_of(compare(ours, score(_flat(values))))
        for name, values in rows.items()
        if name != learner
    }
    return (
        ScoreTable(
            f"average precision from {shot} annotated picture{plural}, %", columns, cells, 1
        ),
        ScoreTable(f"{learner} above the others from {shot}, draw by draw", columns, apart, 1),
    )


def _flat(values: np.ndarray) -> np.ndarray:
    """Rows of draws, columns of classes with AP50 and AP75."""
    return np.moveaxis(values, 0, 1).reshape(values.shape[1], -1)
