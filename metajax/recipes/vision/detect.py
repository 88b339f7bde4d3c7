"""Boxes in pictures, of what a few annotated pictures show."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax import checks
from metajax.data.annotated import Annotated
from metajax.metrics.detection import STRIDE, detections
from metajax.names import choose
from metajax.recipes.vision import photographs
from metajax.recipes.vision.canvas import MOST, SIDE, Canvas, canvas


class Detected(NamedTuple):
    """The boxes that were found in one picture.

    picture: uint8 `(h, w, 3)`, as it was given.
    corners: `(number, 4)`, in its pixels, the best first.
    scores: Probabilities `(number,)`.
    heat: The probability of a centre in each cell, `(rows, columns)`, and the pixels of a cell's side.
    cell: Its side in pixels of the picture.
    """

    picture: np.ndarray
    corners: np.ndarray
    scores: np.ndarray
    heat: np.ndarray
    cell: float


def detect(
    run: Any,
    support: Annotated,
    pictures: Sequence[np.ndarray],
    *,
    label: str | None = None,
    num_steps: int = 20,
    least: float = 0.3,
) -> tuple[Detected, ...]:
    """Finds in pictures what the boxes of annotated pictures show, 40 boxes in a picture at most.

    Args:
      run: As `mj.restore` returns it, of `metajax train detection`.
      support: Annotated pictures, as `metajax.data.box_files.read_boxes` returns them.
      pictures: uint8 `(h, w, 1)` or `(h, w, 3)`.
      label: The class to look for; it may be left out where there is one.
      num_steps: Steps of fine-tuning on the support; with 0 the run is used as it is.
      least: The least score of a box, from 0 to 1.

    Returns:
      A `Detected` for each picture.

    Raises:
      ValueError: For another run, an unknown class, no picture, and steps that diverge.

    Reference:
      Fan, Zhuo, Tang and Tai, CVPR 2020. https://arxiv.org/abs/1908.01998
    """
    if run.learner is None or type(run.settings).__name__ != "Detection":
        raise ValueError(
            "detect: the run was not made by `metajax train detection`. Give such a run."
        )
    num_steps = checks.count("detect", "num_steps", num_steps, least=0)
    if not 0 <= least <= 1:
        raise ValueError(f"detect: least={least:g} must be a score from 0 to 1.")
    if label is None and len(support.names) > 1:
        raise ValueError(
            f"detect: the support has boxes of {', '.join(support.names)}. Name one as label."
        )
    if not pictures:
        raise ValueError("detect: there is no picture. Give at least one.")
    kind = support.names.index(
        support.names[0] if label is None else choose("detect", "label", label, support.names)
    )
    c = _together(support, pictures)
    known = np.flatnonzero([np.any(own == kind) for own in support.labels])
    given = photographs.part(c, kind, known)
    read = photographs.reading(given)
    examples = photographs.examples(given, read, max(len(own) for own in given.boxes))
    state = jax.jit(run.learner.adapt, static_argnames="num_steps")(
        run.meta_params, examples, jax.random.key(0), num_steps=num_steps
    )
    x = photographs.inputs(c.colours[len(support.pictures) :], read)
    maps = jax.jit(run.learner.predict)(state, x)
    if not np.isfinite(maps).all():
        raise ValueError(
            f"detect: after {num_steps} steps on the support, the detector's numbers are not finite. Use fewer "
            "num_steps."
        )
    found = detections(maps, MOST)
    heat = np.asarray(jax.nn.sigmoid(maps[..., 0]))
    return tuple(
        _in_pixels(picture, read.reduced, np.asarray(corners), np.asarray(scores), one, least)
        for picture, corners, scores, one in zip(pictures, *found, heat, strict=True)
    )


def _together(support: Annotated, pictures: Sequence[np.ndarray]) -> Canvas:
    """Support and pictures on one canvas."""
    colours = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in pictures]
    none = [np.zeros((0, 4), np.float32)] * len(pictures)
    every = support._replace(
        pictures=[*support.pictures, *colours],
        boxes=[*support.boxes, *none],
        labels=[*support.labels, *[np.zeros(0, int)] * len(pictures)],
        subsets=[],
    )
    return canvas(every)


def _in_pixels(picture, reduced: int, corners, scores, heat, least: float) -> Detected:
    scale = reduced * max(picture.shape[:2]) / SIDE
    height, width = picture.shape[:2]
    middle = scale * (corners[:, :2] + corners[:, 2:]) / 2
    # What a picture does not cover of the canvas holds nothing.
    kept = (scores >= least) & np.all((middle >= 0) & (middle < (height, width)), axis=1)
    corners = np.clip(corners[kept] * scale, 0, np.array([height, width, height, width]))
    whole = np.broadcast_to(picture, (height, width, 3))
    return Detected(whole, corners, scores[kept], heat, STRIDE * scale)
