"""Handwritten digits in the IDX files they are published in, and other data sets of that form.

MNIST: LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998.
Fashion-MNIST: Xiao, Rasul and Vollgraf, 2017. https://arxiv.org/abs/1708.07747, MIT.
"""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metajax.data import store

_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"
DOWNLOADS = (
    store.Download(
        "t10k-images-idx3-ubyte.gz",
        f"{_ADDRESS}/t10k-images-idx3-ubyte.gz",
        "md5:9fb629c4189551a2d022fa330f9573f3",
    ),
    store.Download(
        "t10k-labels-idx1-ubyte.gz",
        f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz",
        "md5:ec29112dd5afa0611ce80d1b7f02629c",
    ),
)


class Digits(NamedTuple):
    """Images `(n, 28, 28)` uint8, ink 255 on 0, and their labels `(n,)`, in the order of the files."""

    images: np.ndarray
    labels: np.ndarray


def load(name: str = "mnist", part: str = "t10k", data: str | Path | None = None) -> Digits:
    """Read images and labels.

    Args:
      name: of the folder, "mnist" or "fashion_mnist".
      part: what the two files begin with: "t10k", the 10,000 that MNIST publishes for testing, or
        "train".
      data: the folder that holds the folder `name`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: when the files are not there or may not be read.
      ValueError: when one is cut off, or they do not belong together.
    """
    files = [f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"]
    folder = store.locate(name, files, data)
    images, labels = (_read(name, folder / file) for file in files)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name}: {files[0]} in {folder} holds {images.shape} numbers and {files[1]} "
            f"{labels.shape}; needed are images (n, height, width) and n labels."
        )
    return Digits(images, labels)


def _read(name: str, path: Path) -> np.ndarray:
    """An IDX file of bytes: two zeros, 8 for bytes, the number of axes, their lengths, the numbers."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{name}: {path} is {path.stat().st_size:,} bytes and not a whole gzip file; delete it "
            "and download it again."
        ) from error
    except PermissionError as error:
        raise PermissionError(
            f"{name}: {path} may not be read by this user; change its permissions, or name another "
            "folder with --data."
        ) from error
    axes = content[3] if len(content) >= 4 and content[:3] == b"\x00\x00\x08" else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">u4").tolist())
    if not axes or len(shape) < axes or len(content) != 4 + 4 * axes + int(np.prod(shape)):
        raise ValueError(
            f"{name}: {path} is not an IDX file of bytes: it begins with {content[:4].hex(' ')} and "
            f"has {len(content):,} bytes; download it again."
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
