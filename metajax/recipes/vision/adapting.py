"""A detector adapted to a few annotated photographs of one class: how precise it is on the others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.boxes import Boxes, Detections
from metajax.metrics.detection import detections
from metajax.recipes.experiment import Experiment
from metajax.recipes.vision import photographs
from metajax.recipes.vision.blobs import blobs
from metajax.recipes.vision.canvas import MOST, Canvas
from metajax.recipes.vision.detection_scores import LEAST, padded, precision
from metajax.recipes.vision.detectors import learner_of
from metajax.types import Examples, Learner, Params

STEPS = (0, 5, 10, 20, 40, 80)
"""Inner steps among which those of each row are chosen, on validation pictures."""
TIMES = (1, 3)
"""Multiples of the settings' inner rate among which the step size of each row is chosen likewise."""
SCRATCH = "from scratch"
_AT_ONCE = 24
"""Pictures that one program reads; so many validation pictures are judged."""


class Row(NamedTuple):
    """A learner by the multiple of its inner rate, and the meta-parameters that it adapts from in each draw."""

    learners: dict[int, Learner]
    start: Callable[[int], Params]


class Chosen(NamedTuple):
    """How far a row adapts: its inner rate, as a multiple of the settings', and its number of steps."""

    times: int
    steps: int

    def __str__(self) -> str:
        rate = f" of {self.times} times the inner rate" if self.times > 1 and self.steps else ""
        return f"{self.steps} steps{rate}"


class Setting(NamedTuple):
    """Which class, how many pictures, and which draw of them."""

    label: int
    shot: int
    seed: int


def scores(
    row: Row,
    times: int,
    c: Canvas,
    at: Setting,
    places: np.ndarray,
    steps: Sequence[int] | None = None,
) -> np.ndarray:
    """Returns AP50 and AP75 on pictures after `STEPS`, or some of them, `(steps, 2)` in percent.

    Pictures without the class count, as there is nothing to be found in them.
    """
    most = max(len(own) for own in c.boxes)
    given = photographs.drawn(c, at.label, at.shot, at.seed)
    direction = photographs.ink(given)
    support = photographs.examples(given, direction, most)
    asked = photographs.examples(photographs.part(c, at.label, places), direction, most)
    learner = row.learners[times]
    states = _adapted(learner, tuple(STEPS), row.start(at.seed), support)
    found = []
    for number in STEPS if steps is None else steps:
        place = STEPS.index(number)
        state = jax.tree.map(lambda leaf, i=place: leaf[i], states)
        here = found_in(learner, state, asked.x)
        found.append([float(precision(here, asked.y, least)) for least in LEAST])
    return 100 * np.array(found)


@partial(jax.jit, static_argnums=(0, 1))
def _adapted(learner: Learner, steps, meta_params: Params, support: Examples) -> Any:
    """The learner after each number of steps, with one more axis in front."""
    return learner.adapt(meta_params, support, jax.random.key(0), num_steps=steps)


def found_in(learner: Learner, state: Any, pictures: np.ndarray) -> Detections:
    """Returns detections in any number of pictures, read by one program."""
    found = []
    for begin in range(0, len(pictures), _AT_ONCE):
        own = pictures[begin : begin + _AT_ONCE]
        number = len(own)
        whole = np.concatenate([own, np.zeros((_AT_ONCE - number, *own.shape[1:]), own.dtype)])
        found.append(jax.tree.map(lambda leaf, n=number: leaf[:n], _found(learner, state, whole)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)


@partial(jax.jit, static_argnums=0)
def _found(learner: Learner, state: Any, pictures: jax.Array) -> Detections:
    def find(picture):
        return detections(learner.predict(state, picture), MOST)

    found = jax.lax.map(find, pictures[:, None])
    return jax.tree.map(lambda leaf: leaf[:, 0], found)


def of_blobs(c: Canvas, at: Setting) -> np.ndarray:
    """Returns AP50 and AP75 of blobs of colour on test pictures, in percent."""
    given = photographs.drawn(c, at.label, at.shot, at.seed)
    judged = photographs.part(c, at.label, c.subsets["test"])
    found = padded(blobs(list(given.colours), given.boxes, list(judged.colours)))
    boxes = Boxes(*judged.targets(max(len(own) for own in c.boxes)))
    return 100 * np.array([float(precision(found, boxes, least)) for least in LEAST])


def chosen(row: Row, c: Canvas, shot: int) -> Chosen:
    """Returns the rate and the number of steps of the greatest mean AP50 on validation pictures, over classes.

    One draw of the support for each class, which no test has, is judged on the first pictures that hold it.
    """
    judged = [
        (Setting(label, shot, 1_000), photographs.holding(c, label, "val")[:_AT_ONCE])
        for label in range(len(c.names))
    ]
    means = {
        times: np.mean([scores(row, times, c, *own)[:, 0] for own in judged], axis=0)
        for times in row.learners
    }
    best = max(means, key=lambda times: means[times].max())
    return Chosen(best, STEPS[int(np.argmax(means[best]))])


def row_of(row: Row, c: Canvas, shot: int, draws: int, first: int = 0) -> tuple[Chosen, np.ndarray]:
    """Returns what was chosen, and AP50 and AP75 after it and after no step.

    Args:
      row: What adapts.
      c: The pictures.
      shot: The number of annotated pictures.
      draws: Draws of them.
      first: The seed of the first draw.

    Returns:
      The rate and the number of steps, and an array `(classes, draws, 2, 2)`: with its steps or without any,
      AP50 or AP75.
    """
    best = chosen(row, c, shot)
    both = (best.steps, 0) if best.steps else (0,)
    test = c.subsets["test"]
    found = [
        [
            scores(row, best.times, c, Setting(label, shot, seed), test, both)[[0, -1]]
            for seed in range(first, first + draws)
        ]
        for label in range(len(c.names))
    ]
    return best, np.array(found)


def rows_for(e: Experiment, meta_params: Params) -> dict[str, Row]:
    """Returns the learner of a run, and the same network from scratch at the same steps."""
    shape = jax.eval_shape(e.train, jax.random.key(0)).support.x
    s = e.settings
    learners = {times: learner_of(replace(s, inner_rate=times * s.inner_rate)) for times in TIMES}

    def new(seed: int) -> Params:
        return e.learner.init(jax.random.key(seed), jnp.zeros(shape.shape, shape.dtype))

    return {s.learner: Row(learners, lambda seed: meta_params), SCRATCH: Row(learners, new)}
