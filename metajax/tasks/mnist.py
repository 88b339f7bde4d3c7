"""Handwritten digits, with a new small training set in every task."""

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from metajax.data import idx
from metajax.data import mnist as data_set
from metajax.names import choose
from metajax.tasks.episodes import episodes
from metajax.tasks.scaled import Scaled
from metajax.types import Sample

Subset: TypeAlias = Literal["train", "val", "test"]
_SHARES = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}


def mnist(
    subset: Subset = "train",
    *,
    way: int = 10,
    shot: int = 20,
    query_shot: int = 20,
    size: int = 28,
    part: str = "t10k",
    data: str | Path | None = None,
) -> Sample:
    """Classification of digits by a network that is trained on a few of each; reads files now.

    Tasks of all ten digits differ by their images and by which digit has which label. They are
    problems for an optimiser; a few-shot learner would meet the same classes again.

    Args:
      subset: The first 70 %, the next 10 % or the last 20 % of each digit's images in the file.
      way: The number of digits in a task.
      shot: The number of support images per digit.
      query_shot: The number of query images per digit.
      size: The side of an image: 28, or 14 or 7 by means over squares of pixels.
      part: As in `metajax.data.mnist.load`.
      data: The folder that holds `mnist/`; by default `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, size, size, 1)` in [0, 1], ink 1 on 0, and labels.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a damaged file, another size, or more digits or images than there are.

    Reference:
      LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998.
    """
    check("mnist", subset, size)
    return episodes(
        shares(data_set.load(part, data), subset, size),
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=Scaled(),
        name=f"mnist {subset}",
    )


def check(name: str, subset: str, size: int) -> None:
    """Raises ValueError for an unknown subset, or a size that is not 28, 14 or 7."""
    choose(name, "subset", subset, _SHARES)
    if size not in (28, 14, 7):
        raise ValueError(f"{name}: size={size} must be 28, 14 or 7.")


def shares(found: idx.Labelled, subset: Subset, size: int) -> list[np.ndarray]:
    """Returns a subset of each class's images, `(n, size, size, 1)`, by means over squares of pixels."""
    low, high = _SHARES[subset]
    classes = []
    for own in idx.by_class(found).values():
        own = own[round(low * len(own)) : round(high * len(own))]
        squares = own.reshape(len(own), size, 28 // size, size, 28 // size)
        classes.append(np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)[..., None])
    return classes
