"""Sources of pictures by name, which `--source` and `--on` both read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from metajax.data import DATASETS, Pictures, cifar, folder, omniglot
from metajax.data.resize import resized
from metajax.data.store import Folder
from metajax.names import neither

Parts: TypeAlias = Mapping[str, Sequence[int]]
"""The classes for training, validation and test."""

_HELD_OUT = 0.2
"""The share of classes for validation, and for test, where no split is published."""
CLASS_FOLDERS = "a folder that holds one folder of pictures per class"


class Source(NamedTuple):
    """A named source.

    origin: The data set that its pictures are of.
    read: The data folder to its pictures, and to their published split; None where there is none.
    is_split: Whether there is one.
    """

    origin: str
    read: Callable[[Folder], tuple[Pictures, Parts | None]]
    is_split: bool = False


class Found(NamedTuple):
    """A source whose pictures were read.

    name: For titles.
    origin: The data set, or the path of the folder, that its pictures are of.
    """

    name: str
    origin: str
    pictures: Pictures
    parts: Parts | None

    def part(self, subset: str) -> Pictures:
        """The pictures of one subset of a split source."""
        return taken(self.pictures, (self.parts or {})[subset])

    def tests(self) -> Pictures:
        """The published test classes, or all where no split is published."""
        return self.pictures if self.parts is None else self.part("test")


def taken(pictures: Pictures, classes: Sequence[int]) -> Pictures:
    """Returns the pictures of some classes."""
    return Pictures(
        [pictures.classes[i] for i in classes], [pictures.names[i] for i in classes], pictures.ink
    )


def _unsplit(pictures: Callable[[Folder], Pictures]) -> Callable[[Folder], tuple[Pictures, None]]:
    return lambda data: (pictures(data), None)


def _omniglot(data: Folder) -> tuple[Pictures, Parts]:
    found = omniglot.load(data)
    pictures = Pictures(list(found.images[..., None]), found.names, "bright")
    return pictures, omniglot.split_names(found.names, "lake", 0)


def _cifar(split: cifar.Split) -> Callable[[Folder], tuple[Pictures, Parts]]:
    def read(data):
        found = cifar.load(data)
        parts = cifar.split_classes(found, split)
        return Pictures(list(found.images), found.names), {**parts}

    return read


SOURCES: dict[str, Source] = {
    name: Source(name, _unsplit(row.pictures)) for name, row in DATASETS.items() if row.pictures
} | {
    "omniglot": Source("omniglot", _omniglot, is_split=True),
    "cifar_fs": Source("cifar_fs", _cifar("cifar-fs"), is_split=True),
    "fc100": Source("cifar_fs", _cifar("fc100"), is_split=True),
}
"""Every named source: the data sets with pictures, and FC100, another split of CIFAR-100."""


def find(
    asked: str, name: str, data: Folder, size: int, channels: int, others: Sequence[str] = ()
) -> Found:
    """Reads a source, each picture as a square of `size` pixels.

    Args:
      asked: What the caller wrote, such as "images: source='mnits'", for messages.
      name: One of `SOURCES`, or a folder with one folder of pictures per class.
      data: The folder of the data sets.
      size, channels: Of the pictures that are returned.
      others: More names, which the message suggests.

    Raises:
      ValueError: For what is neither, and for a folder that cannot be read as pictures.
      FileNotFoundError: For data that are missing.
    """
    if name in SOURCES:
        pictures, parts = SOURCES[name].read(data)
        small = [resized(own, size, channels) for own in pictures.classes]
        return Found(name, SOURCES[name].origin, pictures._replace(classes=small), parts)
    path = Path(name).expanduser()
    if path.is_dir():
        path = path.resolve()
        return Found(path.name, str(path), folder.read(path, size=size, channels=channels), None)
    raise neither(asked, "a source nor a folder", name, sorted({*others, *SOURCES}), CLASS_FOLDERS)


def split(found: Found, way: int, train_way: int, seed: int, *, tests: bool) -> dict[str, Pictures]:
    """Returns the classes for training and validation, and for test where `tests`, or a split is published.

    Raises:
      ValueError: For too few classes.
    """
    if found.parts is not None:
        return {subset: found.part(subset) for subset in found.parts}
    number = len(found.pictures.classes)
    held = max(way, round(_HELD_OUT * number))
    left = number - held * (1 + tests)
    if left < train_way:
        asked = f"{held} for validation" + f" and {held} for test" * tests
        raise ValueError(
            f"images: {found.name} has {number} classes, of which {asked} leave {max(left, 0)} for training, "
            f"but {train_way} are needed. Use a smaller way, or test on another source."
        )
    order = np.random.default_rng(seed).permutation(number)
    cuts = np.split(order, [held * tests, number - left])
    parts = dict(zip(("test", "val", "train"), cuts, strict=True))
    return {
        subset: taken(found.pictures, own.tolist()) for subset, own in parts.items() if len(own)
    }


def turned(pictures: Pictures) -> Pictures:
    """Returns four classes of each: its pictures rotated by multiples of 90 degrees."""
    quarters = range(4)
    return Pictures(
        [np.rot90(own, n, axes=(1, 2)) for n in quarters for own in pictures.classes],
        [f"{name}, turned {n}" for n in quarters for name in pictures.names],
        pictures.ink,
    )


def check_disjoint(where: str, sources: Sequence[Found]) -> None:
    """Checks that no two sources are of the same pictures.

    Raises:
      ValueError: Naming two.
    """
    first: dict[str, str] = {}
    for found in sources:
        if found.origin in first:
            raise ValueError(
                f"{where}: {first[found.origin]} and {found.name} are of the same pictures. Give one of them."
            )
        first[found.origin] = found.name
