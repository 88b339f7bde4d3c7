"""Annotated pictures of any sizes on one canvas, split for training, validation and test."""

from typing import NamedTuple

import numpy as np

from metajax.data.annotated import Annotated, scaled

SIDE = 160
"""The longer side of a picture in pixels, a multiple of 8."""
MOST = 40
"""The greatest number of boxes that are looked for in a picture."""


class Canvas(NamedTuple):
    """Pictures of one size, with all of their boxes.

    colours: `(n, h, w, 3)` in [0, 1]; what a picture does not cover has its mean colour.
    boxes: Of each, `(number, 4)`.
    labels: The class of each box.
    names: Of the classes.
    subsets: Indices of the pictures for training, validation and test.
    """

    colours: np.ndarray
    boxes: list[np.ndarray]
    labels: list[np.ndarray]
    names: list[str]
    subsets: dict[str, np.ndarray]


def canvas(found: Annotated, side: int = SIDE) -> Canvas:
    """Scales pictures to fit into one canvas, and splits them where the data do not.

    A published split of train, val and test is kept. With train and test only, the last third of the training
    pictures is for validation. With train and val only, as in COCO, the val pictures are for test, and the
    last third of the training pictures is for validation. Without a published split, half of the pictures are
    for draws of exemplars, a quarter for validation and a quarter for test, by a permutation with seed 0.

    Args:
      found: Pictures of any sizes.
      side: The longer side of a picture after scaling.

    Raises:
      ValueError: If only some pictures are in a subset, or there are no train pictures or no others.
    """
    small = [scaled(*pair, side) for pair in zip(found.pictures, found.boxes, strict=True)]
    shapes = [picture.shape[:2] for picture, _ in small]
    height, width = (-8 * (-max(shape[axis] for shape in shapes) // 8) for axis in (0, 1))
    colours = np.empty((len(shapes), height, width, 3), np.float32)
    for i, ((picture, _), shape) in enumerate(zip(small, shapes, strict=True)):
        own = picture.astype(np.float32) / 255
        colours[i] = own.mean(axis=(0, 1))
        colours[i, : shape[0], : shape[1]] = own
    boxes = [own for _, own in small]
    return Canvas(colours, boxes, found.labels, found.names, _subsets(found))


def _subsets(found: Annotated) -> dict[str, np.ndarray]:
    if any(found.subsets):
        return _published(np.array(found.subsets))
    order = np.random.default_rng(0).permutation(len(found.pictures))
    half, last = len(order) // 2, len(order) * 3 // 4
    return {"train": order[:half], "val": order[half:last], "test": order[last:]}


def _published(named: np.ndarray) -> dict[str, np.ndarray]:
    own = {name: np.flatnonzero(named == name) for name in ("train", "val", "test")}
    train, val, test = own.values()
    if sum(map(len, own.values())) < len(named) or not len(train) or not len(val) + len(test):
        sizes = ", ".join(f"{len(places)} in {name}" for name, places in own.items())
        raise ValueError(
            f"canvas: of {len(named)} pictures, {sizes}. Every picture must be in one, and train and test, or "
            "train and val, must hold some. Complete the lists in ImageSets/Main or the names of the JSON "
            "files, or leave subsets out of all of them for a random split."
        )
    if len(val) and len(test):
        return own
    cut = len(train) * 2 // 3
    return {"train": train[:cut], "val": train[cut:], "test": test if len(test) else val}
