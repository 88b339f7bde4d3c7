"""A detector adapted to a few annotated photographs of one class: how precise it is on the others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.boxes import Boxes, Detections
from metajax.learners.in_batches import in_batches
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
TIMES, MIRRORED = (1, 3), (False, True)
"""Multiples of the settings' inner rate, and whether pictures are mirrored, which are chosen likewise."""
_IMAGES = 4
"""A picture and its mirror images."""
SCRATCH = "from scratch"
VALIDATION_DRAWS = (1_000, 1_001)
"""Seeds of the supports that choices are made with."""
TIE = 1.0
"""Points of AP50 that validation pictures do not tell apart."""
_AT_ONCE = 24
"""Pictures that one program reads; so many validation pictures are judged."""


class How(NamedTuple):
    """How a row adapts: the multiple of the settings' inner rate, and whether it reads mirror images, too."""

    times: int
    mirrored: bool


class Row(NamedTuple):
    """A learner for each way of adapting, and the meta-parameters that it adapts from in each draw."""

    learners: dict[How, Learner]
    start: Callable[[int], Params]


class Chosen(NamedTuple):
    """How far a row adapts, and how."""

    steps: int
    how: How

    def __str__(self) -> str:
        if not self.steps:
            return "no step"
        rate = f" of {self.how.times} times the inner rate" if self.how.times > 1 else ""
        return f"{self.steps} steps{rate}{', mirrored' if self.how.mirrored else ''}"


class Setting(NamedTuple):
    """Which class, how many pictures, and which draw of them."""

    label: int
    shot: int
    seed: int


def scores(
    row: Row,
    how: How,
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
    read = photographs.reading(given)
    support = photographs.examples(given, read, most)
    asked = photographs.examples(photographs.part(c, at.label, places), read, most)
    learner = row.learners[how]
    support = photographs.mirrored(support) if how.mirrored else support
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


def chosen(row: Row, c: Canvas, label: int, shot: int) -> Chosen:
    """Returns how to adapt to a class, and how far, by AP50 on validation pictures, then by AP75.

    Draws of the support that no test has are judged on the first pictures that hold the class. So few
    pictures do not tell the best AP50 from those within `TIE` points of it; of these, AP75 is the greatest.
    """
    places = photographs.holding(c, label, "val")[:_AT_ONCE]
    settings = [Setting(label, shot, seed) for seed in VALIDATION_DRAWS]
    means = {
        Chosen(steps, how): values
        for how in row.learners
        for steps, values in zip(
            STEPS,
            np.mean([scores(row, how, c, at, places) for at in settings], axis=0).tolist(),
            strict=True,
        )
        if np.isfinite(values).all()  # not where steps have diverged
    }
    best = max(ap50 for ap50, _ in means.values())
    return max(
        (way for way, (ap50, _) in means.items() if ap50 >= best - TIE),
        key=lambda way: means[way][1],
    )


def row_of(
    row: Row, c: Canvas, shot: int, draws: int, first: int = 0
) -> tuple[list[Chosen], np.ndarray]:
    """Returns what was chosen for each class, and AP50 and AP75 after it and after no step.

    Args:
      row: What adapts.
      c: The pictures.
      shot: The number of annotated pictures.
      draws: Draws of them.
      first: The seed of the first draw.

    Returns:
      How each class is adapted to, and an array `(classes, draws, 2, 2)`: with its steps or without any, AP50
      or AP75.
    """
    best = [chosen(row, c, label, shot) for label in range(len(c.names))]
    test, found = c.subsets["test"], []
    for label, (steps, how) in enumerate(best):
        both = (steps, 0) if steps else (0,)
        seeds = range(first, first + draws)
        of_draws = [scores(row, how, c, Setting(label, shot, seed), test, both) for seed in seeds]
        found.append([values[[0, -1]] for values in of_draws])
    return best, np.array(found)


def rows_for(e: Experiment, meta_params: Params) -> dict[str, Row]:
    """Returns the learner of a run, and the same network from scratch, which adapts in the same ways."""
    shape = jax.eval_shape(e.train, jax.random.key(0)).support.x
    s, learners = e.settings, {}
    for times in TIMES:
        own = learner_of(replace(s, inner_rate=times * s.inner_rate))
        for mirrored in MIRRORED:
            learners[How(times, mirrored)] = in_batches(own, _IMAGES) if mirrored else own

    def new(seed: int) -> Params:
        return e.learner.init(jax.random.key(seed), jnp.zeros(shape.shape, shape.dtype))

    return {s.learner: Row(learners, lambda seed: meta_params), SCRATCH: Row(learners, new)}
