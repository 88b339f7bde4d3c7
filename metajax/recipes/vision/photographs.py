"""Annotated photographs as the inputs of a detector that was trained on scenes, and draws of a few of them."""

from typing import NamedTuple

import numpy as np

from metajax.boxes import Boxes
from metajax.data.resize import LUMINANCE
from metajax.recipes.vision.canvas import Canvas
from metajax.types import Examples

_GROUND, _BRIGHTEST = 0.1, 0.9
"""The brightness of paper and of ink in scenes."""
_NOISE, _LEAST_APART = 0.1, 0.5
"""Of the mean variance, against noise of colour; and how far objects must be from what is around them, in
deviations, for their colour to be trusted."""
_LARGEST = 30
"""No character in scenes has a longer side, in pixels."""
_MULTIPLE, _MOST_REDUCED = 8, 8
"""What the sides of a detector's input divide by; and by how much pictures are reduced at most."""


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


class Reading(NamedTuple):
    """How pictures are read to find what a support shows.

    ink: The direction of colour of the objects, `(3,)`.
    reduced: What the sides of pictures are divided by.
    """

    ink: np.ndarray
    reduced: int


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


def reading(support: Part) -> Reading:
    """Returns how pictures are read to find what these show."""
    return Reading(ink(support), reduced(support))


def reduced(support: Part) -> int:
    """Returns the least power of two by which the median object is no larger than any character in scenes.

    A detector of scenes has seen nothing larger. Small objects stay as they are, because enlarging them shows
    nothing new.
    """
    sides = [np.sqrt(np.prod(own[:, 2:] - own[:, :2], axis=1)) for own in support.boxes]
    if not any(map(len, sides)):
        return 1
    above = np.median(np.concatenate(sides)) / _LARGEST
    return int(np.clip(2 ** np.ceil(np.log2(max(above, 1.0))), 1, _MOST_REDUCED))


def ink(support: Part) -> np.ndarray:
    """Returns the direction of colour in which objects differ most from what is around them: `(3,)`.

    It is Fisher's linear discriminant of the pixels inside and outside of the support boxes, so that objects
    are bright along it; its covariance has a tenth of the mean variance added, against noise of colour. Where
    colour does not tell objects apart, it is that of brightness, turned so that objects are not darker.

    Reference: Fisher, Annals of Eugenics 1936. https://doi.org/10.1111/j.1469-1809.1936.tb02137.x
    """
    inside, outside = _pixels(support)
    grey = np.array(LUMINANCE) / np.linalg.norm(LUMINANCE)
    if not len(inside) or not len(outside):
        return grey
    apart = inside.mean(axis=0) - outside.mean(axis=0)
    within = (np.cov(inside.T, bias=True) + np.cov(outside.T, bias=True)) / 2
    noise = _NOISE * np.trace(within) / 3 + 1e-6
    direction = np.linalg.solve(within + noise * np.eye(3), apart)
    if apart @ direction < _LEAST_APART**2:
        return grey if apart @ grey >= 0 else -grey
    return direction / np.linalg.norm(direction)


def _pixels(support: Part) -> tuple[np.ndarray, np.ndarray]:
    """The colours inside and outside of the boxes, `(n, 3)` each."""
    inside, outside = [], []
    for colours, boxes in zip(support.colours, support.boxes, strict=True):
        mask = np.zeros(colours.shape[:2], bool)
        for y0, x0, y1, x1 in np.rint(boxes).astype(int):
            mask[y0:y1, x0:x1] = True
        inside.append(colours[mask])
        outside.append(colours[~mask])
    return np.concatenate(inside).astype(np.float64), np.concatenate(outside).astype(np.float64)


def inputs(colours: np.ndarray, read: Reading) -> np.ndarray:
    """Returns pictures `(n, h, w, 1)` as those of scenes: ink bright on dark paper, noise kept.

    The median brightness of a picture becomes that of paper, and the 99th percentile that of ink. Sides that do
    not divide by 8 once they are reduced are filled up with paper.

    Args:
      colours: `(n, h, w, 3)` in [0, 1].
      read: As `reading` returns it.
    """
    grey = _smaller((colours @ read.ink).astype(np.float32), read.reduced)
    paper, ink = (np.quantile(grey, q, axis=(1, 2), keepdims=True) for q in (0.5, 0.99))
    scaled = _GROUND + (_BRIGHTEST - _GROUND) * (grey - paper) / np.maximum(ink - paper, 1e-3)
    fill = [(0, 0), *((0, -side % _MULTIPLE) for side in grey.shape[1:])]
    whole = np.pad(np.clip(scaled, 0, 1), fill, constant_values=_GROUND)
    return whole.astype(np.float32)[..., None]


def _smaller(grey: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of `factor` pixels; those at the lower and right edges repeat the last pixel."""
    fill = [(0, 0), *((0, -side % factor) for side in grey.shape[1:])]
    n, h, w = (whole := np.pad(grey, fill, mode="edge")).shape
    return whole.reshape(n, h // factor, factor, w // factor, factor).mean(axis=(2, 4))


def examples(given: Part, read: Reading, most: int) -> Examples:
    """Returns pictures with the boxes of one class as examples of a detector."""
    corners, mask = given.targets(most)
    return Examples(inputs(given.colours, read), Boxes(corners / read.reduced, mask))


def mirrored(given: Examples) -> Examples:
    """Returns `n` pictures with their mirror images along both axes and each, `4 n` in all, and their boxes."""
    x, corners = given.x, given.y.corners
    for axis in (1, 2):
        own = corners.copy()
        low, high = axis - 1, axis + 1
        own[..., [low, high]] = x.shape[axis] - corners[..., [high, low]]
        x, corners = np.concatenate([x, np.flip(x, axis)]), np.concatenate([corners, own])
    return Examples(x, Boxes(corners, np.tile(given.y.mask, (4, 1))))
