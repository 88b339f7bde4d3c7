"""Which picture a name means, of all the files below a folder."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SUBSETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The words of a name that say a subset."""


class Below(NamedTuple):
    """A folder, and the files below it, relative to it, by their name with its suffix in lower case."""

    path: Path
    files: dict[str, list[Path]]

    def ending(self, named: str, *suffixes: str) -> list[Path]:
        """The files whose path ends as a name does, or the longest end of an absolute name."""
        path = Path(os.path.normpath(named))
        parts = [part for part in path.parts if part not in ("..", path.anchor)]
        for start in range(len(parts) if path.is_absolute() else min(1, len(parts))):
            *above, name = parts[start:]
            found = [
                file
                for suffix in suffixes or ("",)
                for file in self.files.get(without_case(name + suffix), ())
                if file.parts[-len(above) - 1 : -1] == tuple(above)
            ]
            if found:
                return found
        return []


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files in order; hidden ones, such as the `._NAME` of macOS, are left out."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def files_below(folder: Path, within: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files in and below a folder but hidden ones; a link to a folder that it is in is not followed."""
    real = os.path.realpath(folder)
    if real in within:
        return
    for path in visible(folder, "*"):
        if path.is_dir():
            yield from files_below(path, within | {real})
        else:
            yield path


def without_case(name: str) -> str:
    """A name with its suffix in lower case."""
    return Path(name).stem + Path(name).suffix.lower()


def subset_of(name: str) -> str:
    """The subset that the words of a name say, as in `instances_train2017`; none for `latest`."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    said = {SUBSETS[word] for word in words if word in SUBSETS}
    return said.pop() if len(said) == 1 else ""


def says(subset: str, file: Path) -> bool:
    """Whether a folder above a file says a subset."""
    return bool(subset) and subset in map(subset_of, file.parts[:-1])


def in_part(stem: str, file: Path) -> bool:
    """Whether the name of a folder above a file is a part of a stem, as `val2017` is of `instances_val2017`."""
    names = ["_".join(re.findall(r"[^\W_]+", name.lower())) for name in (stem, *file.parts[:-1])]
    return any(name and f"_{name}_" in f"_{names[0]}_" for name in names[1:])


def the_one(
    where: str,
    folder: Below,
    source: Path,
    named: str,
    matches: list[Path],
    preferred: Sequence[Callable[[Path], bool]],
) -> Path:
    """The one picture that is meant; of several, those that are preferred, one test after the other."""
    if not matches:
        raise FileNotFoundError(
            f"{where}: {source} names {named}, which is neither in {folder.path} nor in a folder below it. "
            "Put the picture there, or remove its annotation."
        )
    for test in preferred if len(matches) > 1 else ():
        matches = [file for file in matches if test(file)] or matches
    places = [folder.path / file for file in matches]
    first, *others = {os.path.realpath(place): place for place in places}.values()
    if others:
        raise ValueError(
            f"{where}: {source} names {named}, which may be {first} or {others[0]}. Write the folder of the "
            "picture before its name, or move the other picture away."
        )
    return first
