"""A detector adapted to a few annotated photographs of one class: how precise it is on the others."""

from collections.abc import Callable, Sequence
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
from metajax.types import Examples, Learner, Params

STEPS = (0, 5, 10, 20, 40, 80)
"""Inner steps among which those of each row are chosen, on validation pictures."""
SCRATCH = "from scratch"
_AT_ONCE = 24
"""Pictures that one program reads; so many validation pictures are judged."""


class Row(NamedTuple):
    """A learner, and the meta-parameters that it adapts from in each draw."""

    learner: Learner
    start: Callable[[int], Params]


class Setting(NamedTuple):
    """Which class, how many pictures, and which draw of them."""

    label: int
    shot: int
    seed: int


def scores(
    row: Row, c: Canvas, at: Setting, places: np.ndarray, steps: Sequence[int] | None = None
) -> np.ndarray:
    """Returns AP50 and AP75 on pictures after `STEPS`, or some of them, `(steps, 2)` in percent.

    Pictures without the class count, as there is nothing to be found in them.
    """
    most = max(len(own) for own in c.boxes)
    given = photographs.drawn(c, at.label, at.shot, at.seed)
    bright = photographs.bright_ink(given)
    support = photographs.examples(given, bright, most)
    asked = photographs.examples(photographs.part(c, at.label, places), bright, most)
    states = _adapted(row.learner, tuple(STEPS), row.start(at.seed), support)
    found = []
    for number in STEPS if steps is None else steps:
        place = STEPS.index(number)
        state = jax.tree.map(lambda leaf, i=place: leaf[i], states)
        here = found_in(row.learner, state, asked.x)
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


def chosen_steps(row: Row, c: Canvas, shot: int) -> int:
    """Returns the number of steps of the greatest mean AP50 on validation pictures, over all classes.

    One draw of the support for each class, which no test has, is judged on the first pictures that hold it.
    """
    found = [
        scores(
            row,
            c,
            Setting(label, shot, 1_000),
            photographs.holding(c, label, "val")[:_AT_ONCE],
        )[:, 0]
        for label in range(len(c.names))
    ]
    return STEPS[int(np.argmax(np.mean(found, axis=0)))]


def row_of(row: Row, c: Canvas, shot: int, draws: int, first: int = 0) -> tuple[int, np.ndarray]:
    """Returns the chosen number of steps, and AP50 and AP75 after it and after none.

    Args:
      row: What adapts.
      c: The pictures.
      shot: The number of annotated pictures.
      draws: Draws of them.
      first: The seed of the first draw.

    Returns:
      The number, and an array `(classes, draws, 2, 2)`: with its steps or without any, AP50 or AP75.
    """
    steps = chosen_steps(row, c, shot)
    both = (steps, 0) if steps else (0,)
    found = [
        [
            scores(row, c, Setting(label, shot, seed), c.subsets["test"], both)[[0, -1]]
            for seed in range(first, first + draws)
        ]
        for label in range(len(c.names))
    ]
    return steps, np.array(found)


def rows_for(e: Experiment, meta_params: Params) -> dict[str, Row]:
    """Returns the learner of a run, and the same network from scratch at the same steps."""
    shape = jax.eval_shape(e.train, jax.random.key(0)).support.x

    def new(seed: int) -> Params:
        return e.learner.init(jax.random.key(seed), jnp.zeros(shape.shape, shape.dtype))

    return {
        e.settings.learner: Row(e.learner, lambda seed: meta_params),
        SCRATCH: Row(e.learner, new),
    }
