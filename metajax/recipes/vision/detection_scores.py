"""The precision of learners and baselines on frozen scenes, with one exemplar and with five."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.boxes import Boxes, Detections
from metajax.boxes import average_precision as precision_of_boxes
from metajax.evaluation import evaluate
from metajax.mesh import task_mesh
from metajax.metrics.detection import average_precision
from metajax.recipes.vision.blobs import Found, blobs
from metajax.recipes.vision.canvas import MOST
from metajax.recipes.vision.correlation import correlation
from metajax.tasks.batch import batch
from metajax.trees import as_pytree
from metajax.types import Learner, Params, Sample, Task

TASKS = 600
"""Frozen test tasks."""
MOST_EXEMPLARS = 5
EXEMPLARS = (1, MOST_EXEMPLARS)
LEAST = (0.5, 0.75)
COLUMNS = tuple(
    f"AP{100 * least:.0f}, {number} exemplar{'s' * (number > 1)}"
    for number in EXEMPLARS
    for least in LEAST
)

precision = jax.jit(precision_of_boxes, static_argnums=2)
"""COCO's average precision, compiled."""


@dataclass(frozen=True)
class First:
    """The first support examples of each task of a source."""

    number: int

    def __call__(self, sample: Sample, key: jax.Array) -> Task:
        """Draws a task."""
        support, query = sample(key)
        return Task(jax.tree.map(lambda leaf: leaf[: self.number], support), query)


def first(sample: Sample, number: int) -> Sample:
    """Returns the tasks of a source with fewer support examples; queries stay as they are."""
    return jax.tree_util.Partial(First(number), as_pytree(sample))


def measured(
    learner: Learner,
    meta_params: Params,
    sample: Sample,
    *,
    seed: int = 1,
    num_tasks: int = TASKS,
    num_steps: int | None = None,
    find: Any = None,
) -> np.ndarray:
    """Returns AP50 and AP75 with one exemplar and with five, in percent, `(num_tasks, 4)`.

    Args:
      learner, meta_params: What is judged.
      sample: Test tasks of `MOST_EXEMPLARS` support scenes.
      seed: Of the tasks.
      num_tasks: Their number.
      num_steps: Inner steps other than the learner's own.
      find: Predictions to detections, where they are no maps.
    """
    metric = average_precision(LEAST) if find is None else average_precision(LEAST, find=find)
    found = [
        evaluate(
            learner,
            meta_params,
            first(sample, number),
            metric,
            key=jax.random.key(seed),
            num_tasks=num_tasks,
            num_steps=num_steps,
            inductive=False,
            mesh=task_mesh(),
        ).values
        for number in EXEMPLARS
    ]
    return 100 * np.concatenate([np.asarray(values) for values in found], axis=1)


def _as_found(found: Detections) -> Detections:
    return found


def correlated(sample: Sample, *, seed: int = 1, num_tasks: int = TASKS, **how: Any) -> np.ndarray:
    """Returns the scores of correlation, as `measured`."""
    return measured(correlation(**how), (), sample, seed=seed, num_tasks=num_tasks, find=_as_found)


def of_blobs(sample: Sample, *, seed: int = 1, num_tasks: int = TASKS) -> np.ndarray:
    """Returns the scores of blobs, as `measured`."""
    tasks = batch(sample, jax.random.key(seed), num_tasks)
    rows = []
    for i in range(num_tasks):
        support, query = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), tasks)
        row: list[float] = []
        for number in EXEMPLARS:
            own = [
                c[m]
                for c, m in zip(support.y.corners[:number], support.y.mask[:number], strict=True)
            ]
            found = padded(blobs(list(support.x[:number]), own, list(query.x)))
            row.extend(float(precision(found, Boxes(*query.y), least)) for least in LEAST)
        rows.append(row)
    return 100 * np.array(rows)


def padded(found: list[Found]) -> Detections:
    """Detections of pictures as arrays of one shape."""
    corners = np.zeros((len(found), MOST, 4), np.float32)
    scores = np.zeros((len(found), MOST), np.float32)
    for i, one in enumerate(found):
        corners[i, : len(one.scores)], scores[i, : len(one.scores)] = one
    return Detections(jnp.asarray(corners), jnp.asarray(scores))
