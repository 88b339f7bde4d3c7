"""CIFAR-100's photographs, and their division into the few-shot benchmarks CIFAR-FS and FC100.

Krizhevsky, Learning multiple layers of features from tiny images, 2009. The author states no licence
and asks for a citation. https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR-FS: Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019. https://arxiv.org/abs/1805.08136
FC100: Oreshkin, Rodriguez and Lacoste, NeurIPS 2018. https://arxiv.org/abs/1805.10123
"""

import io
import tarfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from metajax import files as bounded
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
    """Images by class, in CIFAR's own alphabetical order of classes.

    images: `(100, 600, 32, 32, 3)` uint8.
    names: The name of each class.
    superclasses: The name of the superclass of each class.
    """

    images: np.ndarray
    names: list[str]
    superclasses: list[str]


def load(data: store.Folder = None) -> Photographs:
    """Reads CIFAR-100's binary archive, its train and test images together.

    Args:
      data: The folder that holds `cifar_fs/` with `cifar-100-binary.tar.gz`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the archive is missing or may not be read.
      ValueError: If it is damaged, or another archive.
    """
    path = store.locate("cifar_fs", [ARCHIVE], data) / ARCHIVE
    remedy = f"delete it and run `metajax data cifar_fs`, or download {DOWNLOADS[0].url}."
    files = _read(path, remedy)
    names, groups = (
        files[f"{level}_label_names.txt"].decode(errors="replace").split()
        for level in ("fine", "coarse")
    )
    rows = np.concatenate(
        [np.frombuffer(files[part], np.uint8).reshape(-1, _RECORD) for part in _PARTS]
    )
    counts = np.bincount(rows[:, 1], minlength=100)
    known = len(names) == 100 and len(groups) == 20 and rows[:, 0].max() < 20
    if not known or len(counts) != 100 or (counts != PER_CLASS).any():
        raise ValueError(
            f"cifar_fs: {path} names {len(names)} classes of {counts.min()} to {counts.max()} images, "
            f"but CIFAR-100 has 100 of {PER_CLASS}; {remedy}"
        )
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    images = rows[:, 2:].reshape(100, PER_CLASS, 3, 32, 32).transpose(0, 1, 3, 4, 2)
    superclasses = [groups[group] for group in rows[::PER_CLASS, 0]]
    return Photographs(np.ascontiguousarray(images), names, superclasses)


def _read(path: Path, remedy: str) -> dict[str, bytes]:
    """The files of the archive that are needed, of the right sizes."""
    sizes = {part: count * _RECORD for part, count in _PARTS.items()}
    files = {}
    packed = store.read_bytes("cifar_fs", path)
    try:
        # A header of tar may ask for as much memory as there is content, so that is bounded first.
        content = io.BytesIO(bounded.gunzip(packed))
        with tarfile.open(fileobj=content, mode="r:") as archive:
            for name in (*sizes, "fine_label_names.txt", "coarse_label_names.txt"):
                file = archive.extractfile(f"{FOLDER}/{name}")
                if file is None:
                    raise KeyError(f"{FOLDER}/{name} is not a file")
                # One byte more than there may be: an archive that unpacks to gigabytes is not read.
                files[name] = file.read(sizes.get(name, 10_000) + 1)
    except Exception as error:  # a damaged archive raises a dozen kinds
        raise ValueError(
            f"cifar_fs: {path} is {path.stat().st_size:,} bytes and not CIFAR-100's whole binary "
            f"archive ({error}); {remedy}"
        ) from error
    for part, size in sizes.items():
        if len(files[part]) != size:
            found = f"{len(files[part]):,}" if len(files[part]) < size else f"more than {size:,}"
            raise ValueError(
                f"cifar_fs: {part} in {path} has {found} bytes, but {_PARTS[part]:,} images of "
                f"{_RECORD:,} bytes are needed; {remedy}"
            )
    return files


def split_classes(photographs: Photographs, split: Split) -> dict[Subset, list[int]]:
    """Returns the indices of the classes to train, validate and test on: three disjoint lists.

    Args:
      photographs: All images, as `load` returns them.
      split: "cifar-fs" for 64, 16 and 20 classes, which its authors drew at random; "fc100" for 60,
        20 and 20, split by superclass, so that test classes are less like those trained on.

    Raises:
      ValueError: For an unknown split.
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


def _describe(data: store.Folder) -> str:
    return f"{len(load(data).names)} classes of {PER_CLASS} photographs"


def _pictures(data: store.Folder) -> store.Pictures:
    photographs = load(data)
    return store.Pictures(list(photographs.images), photographs.names)


DATASET = store.Dataset(
    name="cifar_fs",
    downloads=DOWNLOADS,
    describe=_describe,
    licence="no licence stated",
    citation="CIFAR-100, Krizhevsky 2009",
    recipe="cifar_fs",
    pictures=_pictures,
    summary="100 classes, 600 photographs each",
)
