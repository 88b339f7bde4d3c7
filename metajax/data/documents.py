"""Documents with summaries: what they are, and how they are read from a file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from metajax import files

LONGEST = 256
"""The most words of a sentence in a file."""


class Document(NamedTuple):
    """A document by its sentences.

    sentences: At least one.
    summaries: What people wrote, for judging alone; may be empty.
    title: Empty where there is none.
    """

    sentences: tuple[str, ...]
    summaries: tuple[str, ...] = ()
    title: str = ""


class Corpus(NamedTuple):
    """Documents by split, of one kind.

    name: For tables.
    train, val, test: Disjoint.
    notes: What was recomputed or left out, one sentence each.
    """

    name: str
    train: tuple[Document, ...]
    val: tuple[Document, ...]
    test: tuple[Document, ...]
    notes: tuple[str, ...] = ()

    def described(self) -> str:
        """One line that counts."""
        parts = [f"{len(getattr(self, part)):,} {part}" for part in ("train", "val", "test")]
        return "; ".join([f"documents: {', '.join(parts)}", *self.notes])


def sentences_of(text: str) -> tuple[str, ...]:
    """Splits a text after points, question and exclamation marks that a space follows.

    Example:
      >>> sentences_of("We try. It works, e.g. here!  Why?")
      ('We try.', 'It works, e.g. here!', 'Why?')
    """
    parts = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!et al\.)\s+", text.strip())
    return tuple(part for part in parts if part)


def read_documents(path: str | Path) -> tuple[Document, ...]:
    """Reads a file of one JSON object a line.

    Args:
      path: Each line has "document", a text or a list of sentences, and may have "summary", a text or a
        list of alternatives, and "title".

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a line that is no such object, naming it.
    """
    path = Path(path).expanduser()
    with files.naming(path):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file; give one JSON object a line.")
        found = tuple(_document(where, row) for where, row in _lines(path))
        if not found:
            raise ValueError(f'{path} has no line; give one object with "document" on each.')
        return found


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}: line {number}"
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} is not UTF-8 at byte {error.start}; convert it.") from error
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is no JSON ({error.msg}).") from error
        if not isinstance(row, dict) or "document" not in row:
            has = f"has {', '.join(map(repr, row))}" if isinstance(row, dict) else "is no object"
            raise ValueError(f'{where} {has}; it must be an object with "document".')
        yield where, row


def _document(where: str, row: dict[str, Any]) -> Document:
    document = row["document"]
    sentences = (
        sentences_of(document)
        if isinstance(document, str)
        else _texts(where, "document", document, "a text or a list of sentences")
    )
    if not sentences:
        raise ValueError(f"{where}: document is empty.")
    for number, sentence in enumerate(sentences, 1):
        words = len(sentence.split())
        if words > LONGEST:
            raise ValueError(
                f"{where}: sentence {number} has {words} words, but {LONGEST} are the most. Split it."
            )
    summary = row.get("summary", [])
    summary = [summary] if isinstance(summary, str) else summary
    summaries = _texts(where, "summary", summary, "a text or a list of texts")
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise ValueError(f"{where}: title={title!r} must be a text.")
    if any(map(files.has_lone_surrogate, (*sentences, *summaries, title))):
        raise ValueError(
            f"{where} has half of a character (a lone surrogate, \\ud800 to \\udfff). Remove it."
        )
    return Document(sentences, summaries, title)


def _texts(where: str, field: str, values: Any, needed: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{where}: {field} must be {needed}.")
    for number, value in enumerate(values, 1):
        if not value.strip():
            raise ValueError(f"{where}: text {number} of {field} is empty.")
    return tuple(value.strip() for value in values)
