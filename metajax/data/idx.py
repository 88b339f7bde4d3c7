"""The IDX format of MNIST and of data sets published in the same form."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metajax import files
from metajax.data import store


class Labelled(NamedTuple):
    """Images `(n, height, width)` uint8 and their labels `(n,)`, in the order of the files."""

    images: np.ndarray
    labels: np.ndarray


def load(name: str, part: str, data: store.Folder = None) -> Labelled:
    """Reads the images and labels of one part of a data set.

    Args:
      name: The name of the data set and of its folder, such as "mnist".
      part: The prefix of its two files, such as "t10k".
      data: The folder that holds the folder `name`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: If a file is damaged, or the two do not belong together.
    """
    names = [f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"]
    folder = store.locate(name, names, data)
    images, labels = (read(name, folder / file) for file in names)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name}: {names[0]} in {folder} holds {images.shape} numbers and {names[1]} "
            f"{labels.shape}, but images (n, height, width) and n labels are needed. Download both again."
        )
    return Labelled(images, labels)


def read(name: str, path: Path) -> np.ndarray:
    """Reads a gzipped IDX file of bytes: 0, 0, 8, the number of axes, their lengths, the numbers.

    Raises:
      PermissionError: If the file may not be read.
      ValueError: If it is damaged or of another format.
    """
    packed = store.read_bytes(name, path)
    try:
        content = files.gunzip(packed)
    except files.DamagedError as error:
        raise ValueError(
            f"{name}: {path} is {len(packed):,} bytes and {error}; delete it and download it again."
        ) from error
    axes = content[3] if len(content) >= 4 and content[:3] == b"\x00\x00\x08" else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">u4").tolist()) if axes else ()
    if not axes or len(shape) < axes or len(content) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(
            f"{name}: {path} is not an IDX file of bytes: it begins with {content[:4].hex(' ')} and "
            f"has {len(content):,} bytes; download it again."
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def by_class(found: Labelled) -> dict[int, np.ndarray]:
    """Returns the images `(n, height, width, 1)` of each label, in the order of the files.

    Example:
      >>> found = Labelled(np.zeros((3, 2, 2), np.uint8), np.array([1, 0, 1], np.uint8))
      >>> {label: images.shape for label, images in by_class(found).items()}
      {0: (1, 2, 2, 1), 1: (2, 2, 2, 1)}
    """
    labels = np.unique(found.labels).tolist()
    return {label: found.images[found.labels == label][..., None] for label in labels}
