"""Pictures with boxes, however they are kept on disk."""

from pathlib import Path
from typing import Any, NamedTuple

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


class Listed(NamedTuple):
    """A picture before it is read.

    path: Of the picture.
    boxes: The class of each, and its corners `y0, x0, y1, x1`.
    subset: As in `Annotated`; empty where the folder does not say.
    source: The file that names the picture.
    size: Its width and height, or None where the source does not say them.
    """

    path: Path
    boxes: list[tuple[str, tuple[float, ...]]]
    subset: str
    source: str
    size: tuple[float, float] | None


def size_of(width: Any, height: Any) -> tuple[float, float] | None:
    """A size in pixels; None where it is missing, 0 or no number."""
    try:
        size = float(width), float(height)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if all(edge > 0 for edge in size) else None


def scaled(picture: np.ndarray, boxes: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture whose longer side has this many pixels, and its boxes.

    Args:
      picture: uint8 `(h, w, 1 or 3)`; it is antialiased (Lanczos).
      boxes: `(number, 4)`, `y0, x0, y1, x1`.
      longest: In pixels.
    """
    from PIL import Image

    before = picture.shape[:2]
    height, width = (max(1, round(longest / max(before) * edge)) for edge in before)
    grey = picture.shape[-1] == 1
    image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if grey else picture))
    small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    factors = np.array([height, width] * 2, np.float32) / np.array([*before] * 2, np.float32)
    return small.reshape(height, width, -1), boxes * factors
