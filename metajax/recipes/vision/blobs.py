"""Blobs of colour: pixels whose colour is that of the annotated boxes, joined and compared by shape."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metajax.recipes.vision.canvas import MOST

_LEVELS = {1: 32, 3: 8}
"""Levels of brightness of each channel in the histograms."""
_BLURS, _BOUNDS = (0.0, 1.0, 2.0), (-0.5, 0.0, 0.5, 1.0)
_SIDE, _JUDGES = 16, 5
"""The side of shapes in cells; the support pictures that blur and bound are chosen on."""
_NO_ANSWER = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


class Found(NamedTuple):
    """Boxes of one picture, `(number, 4)`, and their scores."""

    corners: np.ndarray
    scores: np.ndarray


class _Known(NamedTuple):
    """What the support says: the log-likelihood ratio of each colour, log sizes of boxes, and shapes."""

    ratio: np.ndarray
    sizes: np.ndarray
    shapes: np.ndarray


def blobs(
    pictures: Sequence[np.ndarray], boxes: Sequence[np.ndarray], asked: Sequence[np.ndarray]
) -> list[Found]:
    """Finds boxes in pictures by the colour and the shape of those in support pictures.

    Colours are histograms inside and outside of the boxes. Their ratio is blurred and cut; blur and bound are
    those that find the support boxes best. A blob is scored by its size, shape and mean ratio.

    Args:
      pictures: Support pictures `(h, w, c)` in [0, 1].
      boxes: Their boxes, `(number, 4)` each.
      asked: Pictures to find boxes in.
    """
    known = _known(pictures, boxes)
    if known is None:
        return [Found(*_NO_ANSWER) for _ in asked]
    ratios = [_ratio(known, picture) for picture in pictures[:_JUDGES]]

    def fits(choice):
        found = [_found(known, ratio, *choice) for ratio in ratios]
        return np.mean([_fit(*pair) for pair in zip(found, boxes, strict=False)])

    choice = max(itertools.product(_BLURS, _BOUNDS), key=fits)
    return [_found(known, _ratio(known, picture), *choice) for picture in asked]


def _codes(picture: np.ndarray) -> np.ndarray:
    levels = _LEVELS[picture.shape[-1]]
    level = np.clip((picture * levels).astype(int), 0, levels - 1)
    return level @ levels ** np.arange(picture.shape[-1])


def _known(pictures: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> _Known | None:
    from scipy.ndimage import gaussian_filter

    channels = pictures[0].shape[-1]
    levels = _LEVELS[channels]
    counts = np.zeros((2, levels**channels))
    for picture, own in zip(pictures, boxes, strict=True):
        inside = np.zeros(picture.shape[:2], bool)
        for y0, x0, y1, x1 in np.rint(own).astype(int):
            inside[max(y0, 0) : y1, max(x0, 0) : x1] = True
        codes = _codes(picture)
        for kind in (0, 1):
            counts[kind] += np.bincount(codes[inside == bool(kind)], minlength=levels**channels)
    if not counts[1].sum():
        return None
    smooth = [gaussian_filter(c.reshape((levels,) * channels), 0.7).ravel() for c in counts]
    outside, inside = (c / max(c.sum(), 1) + 1e-4 for c in smooth)
    ratio = np.log(inside / outside)
    every = np.concatenate([own for own in boxes if len(own)])
    sizes = np.log(np.maximum(every[:, 2:] - every[:, :2], 1))
    known = _Known(ratio, sizes, np.zeros((0, _SIDE, _SIDE)))
    shapes = [
        _shape(_ratio(known, picture) > 0, box)
        for picture, own in zip(pictures, boxes, strict=True)
        for box in own
    ]
    return known._replace(shapes=np.stack(shapes))


def _ratio(known: _Known, picture: np.ndarray) -> np.ndarray:
    return known.ratio[_codes(picture)]


def _shape(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a mask in a box as a square of mean 0 and norm 1."""
    y, x = (
        np.clip(np.linspace(low, high, _SIDE + 1)[:-1].astype(int), 0, most - 1)
        for low, high, most in ((box[0], box[2], mask.shape[0]), (box[1], box[3], mask.shape[1]))
    )
    square = mask[np.ix_(y, x)].astype(float)
    square -= square.mean()
    return square / (np.linalg.norm(square) + 1e-6)


def _found(known: _Known, ratio: np.ndarray, blur: float, bound: float) -> Found:
    from scipy.ndimage import find_objects, gaussian_filter, label

    smooth = gaussian_filter(ratio, blur) if blur else ratio
    labels: Any = label(smooth > bound, np.ones((3, 3)))
    places: Any = find_objects(labels[0])
    if not places:
        return Found(*_NO_ANSWER)
    corners = np.array([[y.start, x.start, y.stop, x.stop] for y, x in places], np.float32)
    sizes = np.log(corners[:, 2:] - corners[:, :2])
    near = np.abs(sizes - known.sizes.mean(axis=0)).max(axis=1) < np.log(3)
    corners, sizes = corners[near], sizes[near]
    spread = known.sizes.std(axis=0) + 0.25
    apart = (((sizes - known.sizes.mean(axis=0)) / spread) ** 2).sum(axis=1)
    mask = ratio > 0
    alike = np.array(
        [(known.shapes * _shape(mask, box)).sum(axis=(1, 2)).max() for box in corners]
    ).reshape(-1)
    scores = np.exp(-apart / 2) * np.maximum(alike, 0.05)
    order = np.argsort(-scores, kind="stable")[:MOST]
    return Found(corners[order], scores[order].astype(np.float32))


def _fit(found: Found, boxes: np.ndarray) -> float:
    """The mean overlap of boxes with the best blob, less a share of the blobs that are too many."""
    if not len(boxes):
        return -0.05 * len(found.corners)
    if not len(found.corners):
        return 0.0
    low = np.maximum(found.corners[:, None, :2], boxes[None, :, :2])
    high = np.minimum(found.corners[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(c[:, 2:] - c[:, :2], axis=-1) for c in (found.corners, boxes)]
    overlap = common / (areas[0][:, None] + areas[1][None] - common)
    extra = max(0, len(found.corners) - len(boxes)) / len(boxes)
    return float(overlap.max(axis=0).mean() - 0.05 * extra)
