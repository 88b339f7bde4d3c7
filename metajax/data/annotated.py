"""Pictures with boxes, however they are kept on disk."""

from typing import NamedTuple

import numpy as np


class Annotated(NamedTuple):
    """Pictures with boxes of several classes.

    pictures: uint8 `(h, w, 3)`, each of its own size.
    boxes: Of each picture, `(number, 4)` float32, `y0, x0, y1, x1` in pixels.
    labels: The place of the class of each box in `names`.
    names: Of the classes, in alphabetical order.
    files: The name of each picture.
    subsets: "train", "val" or "test" for each picture; none where the folder does not say.
    """

    pictures: list[np.ndarray]
    boxes: list[np.ndarray]
    labels: list[np.ndarray]
    names: list[str]
    files: list[str]
    subsets: list[str]
