"""CIFAR-100's photographs, and their division into the few-shot benchmarks CIFAR-FS and FC100.

Krizhevsky, Learning multiple layers of features from tiny images, 2009; no licence is stated and a
citation asked for. https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR-FS: Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019. https://arxiv.org/abs/1805.08136
FC100: Oreshkin, Rodriguez and Lacoste, NeurIPS 2018. https://arxiv.org/abs/1805.10123
"""

import tarfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from metajax.data import store
from metajax.names import choose

ARCHIVE = "cifar-100-binary.tar.gz"
DOWNLOADS = (
    store.Download(
        ARCHIVE,
        f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
        "md5:03b5dce01913d631647c71ecec9e9cb8",
    ),
)
FOLDER = "cifar-100-binary"
_PARTS = {"train.bin": 50_000, "test.bin": 10_000}
_RECORD = 2 + 3 * 32 * 32
"""Bytes of an image: superclass, class, then its red, green and blue planes."""
PER_CLASS = 600

Split = Literal["cifar-fs", "fc100"]
Subset = Literal["train", "val", "test"]


class Photographs(NamedTuple):
    """Images by class, classes in CIFAR's own, alphabetical order.

    images: `(100, 600, 32, 32, 3)` uint8.
    names: of the classes.
    superclasses: of each class, by name.
    """

    images: np.ndarray
    names: list[str]
    superclasses: list[str]


def load(data: str | Path | None = None) -> Photographs:
    """Read CIFAR-100's binary archive, its train and test images together.

    Args:
      data: the folder that holds `cifar_fs/` with `cifar-100-binary.tar.gz`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: when the archive is not there or may not be read.
      ValueError: when it is cut off, or holds something else.
    """
    path = store.locate("cifar_fs", [ARCHIVE], data) / ARCHIVE
    remedy = f"delete it and run `metajax data cifar_fs`, or download {DOWNLOADS[0].url}."
    try:
        with tarfile.open(path) as archive:
            files = {
                name: _read(archive, name)
                for name in (*_PARTS, "fine_label_names.txt", "coarse_label_names.txt")
            }
    except PermissionError as error:
        raise PermissionError(
            f"cifar_fs: {path} may not be read by this user; change its permissions, or name another "
            "folder with --data."
        ) from error
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise ValueError(
            f"cifar_fs: {path} is {path.stat().st_size:,} bytes and not CIFAR-100's whole binary "
            f"archive ({error}); {remedy}"
        ) from error
    names, groups = (
        files[f"{level}_label_names.txt"].decode().split() for level in ("fine", "coarse")
    )
    records = []
    for part, count in _PARTS.items():
        if len(files[part]) != count * _RECORD:
            raise ValueError(
                f"cifar_fs: {part} in {path} has {len(files[part]):,} bytes and {count:,} images of "
                f"{_RECORD:,} bytes are needed; {remedy}"
            )
        records.append(np.frombuffer(files[part], np.uint8).reshape(count, _RECORD))
    rows = np.concatenate(records)
    counts = np.bincount(rows[:, 1], minlength=100)
    if len(names) != 100 or len(groups) != 20 or (counts != PER_CLASS).any():
        raise ValueError(
            f"cifar_fs: {path} names {len(names)} classes of {counts.min()} to {counts.max()} images "
            f"and there are 100 of {PER_CLASS} in CIFAR-100; {remedy}"
        )
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    images = rows[:, 2:].reshape(100, PER_CLASS, 3, 32, 32).transpose(0, 1, 3, 4, 2)
    superclasses = [groups[group] for group in rows[::PER_CLASS, 0]]
    return Photographs(np.ascontiguousarray(images), names, superclasses)


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"{FOLDER}/{name}")
    if file is None:
        raise KeyError(f"{FOLDER}/{name} is not a file in it")
    return file.read()


def split_classes(photographs: Photographs, split: Split) -> dict[Subset, list[int]]:
    """Indices of the classes to train, validate and test on: three disjoint lists.

    cifar-fs: 64, 16 and 20 classes, drawn at random by the authors.
    fc100: 60, 20 and 20, by superclass, so that test classes are less like those trained on.
    """
    choose("cifar_fs", "split", split, ("cifar-fs", "fc100"))
    if split == "fc100":
        of_class = photographs.superclasses
        parts = {"val": _FC100_VAL, "test": _FC100_TEST}
    else:
        of_class = photographs.names
        parts = {"val": _CIFAR_FS_VAL, "test": _CIFAR_FS_TEST}
    val, test = (
        [i for i, name in enumerate(of_class) if name in parts[part].split()]
        for part in ("val", "test")
    )
    held_out = {*val, *test}
    return {"train": [i for i in range(100) if i not in held_out], "val": val, "test": test}


_CIFAR_FS_VAL = """
beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle otter sea
shark television tractor
"""
_CIFAR_FS_TEST = """
baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail
sweet_pepper table telephone wardrobe whale woman worm
"""
_FC100_VAL = (
    "large_carnivores large_omnivores_and_herbivores non-insect_invertebrates small_mammals"
)
_FC100_TEST = "aquatic_mammals insects medium_mammals people"
