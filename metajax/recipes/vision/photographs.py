"""Annotated photographs as the inputs of a detector that was trained on scenes, and draws of a few of them."""

from typing import NamedTuple

import numpy as np

from metajax.boxes import Boxes
from metajax.data.resize import LUMINANCE
from metajax.recipes.vision.canvas import Canvas
from metajax.types import Examples

_GROUND, _BRIGHTEST = 0.1, 0.9
"""The brightness of paper and of ink in scenes."""


class Part(NamedTuple):
    """Pictures of a canvas with the boxes of one class.

    colours: `(n, h, w, 3)` in [0, 1].
    boxes: Of each picture, `(number, 4)`.
    """

    colours: np.ndarray
    boxes: list[np.ndarray]

    def targets(self, most: int) -> Boxes:
        """The boxes as arrays of `most` places."""
        corners = np.zeros((len(self.boxes), most, 4), np.float32)
        mask = np.zeros((len(self.boxes), most), bool)
        for i, own in enumerate(self.boxes):
            corners[i, : len(own)], mask[i, : len(own)] = own, True
        return Boxes(corners, mask)


def part(c: Canvas, label: int, places: np.ndarray) -> Part:
    """Returns some pictures, with the boxes of a class."""
    boxes = [c.boxes[i][c.labels[i] == label] for i in places]
    return Part(c.colours[places], boxes)


def holding(c: Canvas, label: int, subset: str) -> np.ndarray:
    """Returns the pictures of a subset that hold a class."""
    return np.array([i for i in c.subsets[subset] if np.any(c.labels[i] == label)], int)


def drawn(c: Canvas, label: int, shot: int, seed: int) -> Part:
    """Returns `shot` training pictures that hold a class; draws of more shots begin with those of fewer.

    Args:
      c: The canvas.
      label: The class.
      shot: The number of pictures.
      seed: Of the draw.
    """
    pool = holding(c, label, "train")
    order = np.random.default_rng([seed, label]).permutation(pool)
    return part(c, label, order[:shot])


def bright_ink(support: Part) -> bool:
    """Returns whether objects are brighter than what is around them, by the support boxes alone."""
    inside, outside = [], []
    for grey, boxes in zip(support.colours @ np.array(LUMINANCE), support.boxes, strict=True):
        mask = np.zeros(grey.shape, bool)
        for y0, x0, y1, x1 in np.rint(boxes).astype(int):
            mask[y0:y1, x0:x1] = True
        inside.append(grey[mask])
        outside.append(grey[~mask])
    return bool(np.mean(np.concatenate(inside)) > np.median(np.concatenate(outside)))


def inputs(colours: np.ndarray, bright: bool) -> np.ndarray:
    """Returns grey pictures `(n, h, w, 1)` as those of scenes: ink bright on dark paper, noise kept.

    The median brightness of a picture becomes that of paper, and the 99th percentile that of ink.

    Args:
      colours: `(n, h, w, 3)` in [0, 1].
      bright: Whether ink is bright; otherwise brightness is turned round.
    """
    grey = (colours @ np.array(LUMINANCE)).astype(np.float32) * (1 if bright else -1)
    paper, ink = (np.quantile(grey, q, axis=(1, 2), keepdims=True) for q in (0.5, 0.99))
    scaled = _GROUND + (_BRIGHTEST - _GROUND) * (grey - paper) / np.maximum(ink - paper, 1e-3)
    return np.clip(scaled, 0, 1).astype(np.float32)[..., None]


def examples(given: Part, bright: bool, most: int) -> Examples:
    """Returns pictures with the boxes of one class as examples of a detector."""
    return Examples(inputs(given.colours, bright), given.targets(most))
