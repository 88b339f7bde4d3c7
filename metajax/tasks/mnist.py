"""Handwritten digits, a new small training set of them in every task."""

from pathlib import Path
from typing import Literal

import numpy as np

from metajax.data import mnist as mnist_data
from metajax.names import choose
from metajax.tasks.episodes import episodes
from metajax.types import Sample

_SHARES = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}


def mnist(
    subset: Literal["train", "val", "test"] = "train",
    *,
    way: int = 10,
    shot: int = 20,
    query_shot: int = 20,
    size: int = 28,
    name: str = "mnist",
    part: str = "t10k",
    data: str | Path | None = None,
) -> Sample:
    """Digits to be told apart by a network that is trained on a few of each; reads files now.

    Tasks of all ten digits differ by their images and by which digit has which label: problems for an
    optimiser, where few-shot learners would meet the same classes again.

    Args:
      subset: the first 70 %, the next 10 % or the last 20 % of each digit's images in the file.
      way: digits in a task.
      shot: support images of each.
      query_shot: query images of each.
      size: of the images, 28, or 14 or 7 by means over squares of pixels.
      name: of the folder: "mnist", or "fashion_mnist" for another data set of the same form.
      part: see `metajax.data.mnist.load`.
      data: the folder that holds the folder `name`; without it `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, size, size, 1)` in [0, 1], ink 1 on 0, and labels.

    Raises:
      FileNotFoundError, PermissionError: when the files are not there or may not be read.
      ValueError: for a damaged file, another size, or more digits or images than there are.

    Reference: LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998.
    """
    choose(name, "subset", subset, _SHARES)
    if size not in (28, 14, 7):
        raise ValueError(f"{name}: size={size}; it is 28, 14 or 7.")
    images, labels = mnist_data.load(name, part, data)
    low, high = _SHARES[subset]
    classes = []
    for digit in np.unique(labels):
        own = images[labels == digit]
        own = own[round(low * len(own)) : round(high * len(own))]
        square = own.reshape(len(own), size, 28 // size, size, 28 // size)
        classes.append(np.rint(square.mean(axis=(2, 4))).astype(np.uint8)[..., None])

    def transform(key, x):
        del key
        return x.astype(np.float32) / 255

    return episodes(
        classes,
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=transform,
        name=f"{name} {subset}",
    )
