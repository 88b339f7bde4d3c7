"""Sentences beside their translations: what they are, how files are read, and how languages share captions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """Sentences of one language beside their translations, as many of each."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def at(self, places: Sequence[int] | np.ndarray) -> "Pairs":
        """The pairs at these places."""
        return Pairs(*(tuple(side[i] for i in places) for side in self))


class Translations(NamedTuple):
    """Pairs from several languages into one.

    name: For tables.
    target: The language that is translated into.
    train: The pairs of each language; no sentence of the target is in two of them.
    val, test: The pairs of each language. The sentences of the target may be the same.
    words: Whether sentences are words with a space between them, and nothing else.
    """

    name: str
    target: str
    train: Mapping[str, Pairs]
    val: Mapping[str, Pairs]
    test: Mapping[str, Pairs]
    words: bool = False

    def described(self) -> str:
        """One line that counts."""
        parts = ", ".join(
            f"{len(self.train[language].sources):,} / {len(self.val[language].sources):,} / "
            f"{len(self.test[language].sources):,} {language}"
            for language in self.train
        )
        return f"pairs into {self.target} for training / validation / test: {parts}"


def apart(
    target: Sequence[str], sources: Mapping[str, Sequence[str]], seed: int = 0
) -> dict[str, Pairs]:
    """Gives every caption to one language, as many to each as can be.

    The sides of a corpus in several languages translate the same captions. Without this, a language that is
    new would come with translations that training has seen. Captions that are equal stay together.

    Args:
      target: One caption a line.
      sources: The same captions in other languages.
      seed: Of the draw.

    Example:
      >>> found = apart(["a", "b", "a", "c"], {"x": ["1", "2", "3", "4"], "y": ["5", "6", "7", "8"]})
      >>> set(found["x"].targets) & set(found["y"].targets)
      set()
      >>> sorted((*found["x"].targets, *found["y"].targets))
      ['a', 'a', 'b', 'c']
    """
    kinds = list(dict.fromkeys(target))
    order = np.random.default_rng(seed).permutation(len(kinds))
    owner = {kinds[kind]: turn % len(sources) for turn, kind in enumerate(order)}
    found = {}
    for number, (language, side) in enumerate(sources.items()):
        own = [i for i, caption in enumerate(target) if owner[caption] == number]
        found[language] = Pairs(tuple(side), tuple(target)).at(own)
    return found


def read_lines(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> list[str]:
    """Reads one sentence a line.

    Args:
      path: The file, for messages.
      read: From the path to its bytes.

    Raises:
      ValueError: For other encodings than UTF-8 and for empty lines, naming file and line.
    """
    found = []
    lines = read(path).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}: line {number} is not UTF-8 at byte {error.start}; convert the file."
            ) from error
        if not text:
            raise ValueError(
                f"{path}: line {number} is empty; remove it here, and its translation, or fill it in."
            )
        found.append(text)
    return found


def same_length(first: Path, second: Path, lines: Sequence[str], others: Sequence[str]) -> None:
    """Checks that two sides of a pair of files have as many lines.

    Raises:
      ValueError: Naming the file and the first line without a translation.
    """
    if len(lines) != len(others):
        longer, shorter = (first, second) if len(lines) > len(others) else (second, first)
        least = min(len(lines), len(others))
        raise ValueError(
            f"{longer}: line {least + 1} has no translation, because {shorter} ends after {least} lines. Line "
            "i of one must translate line i of the other."
        )


def read_pairs(source: str | Path, target: str | Path) -> Pairs:
    """Reads two files of one sentence a line.

    Args:
      source, target: The files; line i of one translates line i of the other.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For files of unequal length, empty lines and other encodings, naming file and line.
    """
    first, second = Path(source).expanduser(), Path(target).expanduser()
    for path in (first, second):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file; give one sentence a line.")
    lines, others = read_lines(first), read_lines(second)
    same_length(first, second, lines, others)
    return Pairs(tuple(lines), tuple(others))
