"""Ratings in delimited text: read by polars, and every line that cannot be read is named."""

import codecs
import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from metajax import files
from metajax.data import store

Scale: TypeAlias = tuple[float, float] | None
"""The lowest and the highest possible rating; None where any number may be one."""

ADVICE = "Correct or remove them."

_SHOWN = 3
"""As many of the lines that cannot be read are described."""

_INNER = "\x1f"
"""In place of a separator of several characters."""


class Format(NamedTuple):
    """How a file of ratings is written.

    columns: "user", "item", "rating" and perhaps "time", each with the place of its field.
    separator: Between fields.
    header: Whether the first line holds names.
    fields: The number of fields of a line.
    """

    columns: Mapping[str, int]
    separator: str
    header: bool
    fields: int


class Columns(NamedTuple):
    """Columns as numbers, users and items as places in lists of identifiers."""

    values: dict[str, np.ndarray]
    users: list[str]
    items: list[str]


def separator_of(header: str) -> str:
    """The character between fields of a header: a tab, semicolon, bar or comma.

    Example:
      >>> separator_of("user;item;rating")
      ';'
    """
    return next((mark for mark in ("\t", ";", "|") if mark in header), ",")


def named_once(path: Path, names: Sequence[str]) -> None:
    """Checks that no two columns of a header have one name.

    Raises:
      ValueError: If two have, because one of them would be left out.
    """
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{path}: line 1 names two columns {twice!r}; rename or remove one.")


def bytes_of(path: Path, what: str) -> bytes:
    """Returns what a file holds, unpacked if its name ends in `.gz`.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a file that is empty or not a whole gzip file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file of {what}; check the name.")
    content = store.read_bytes(what, path)
    if path.suffix == ".gz":
        try:
            content = files.gunzip(content)
        except files.DamagedError as error:
            raise ValueError(
                f"{path} is not a whole gzip file; copy it again ({error})."
            ) from error
    if not content.strip():
        raise ValueError(f"{path} is empty; give a file of {what}.")
    return content


def text_of(path: Path) -> bytes:
    r"""Returns what a file of ratings holds as UTF-8 text whose lines end in `\n`; see `bytes_of`.

    Text that is not in UTF-8 is taken for Windows-1252 or Latin-1, as that of older MovieLens files. Empty
    lines at the end are left out.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a file that is empty, no text, or not a whole gzip file.
    """
    content = bytes_of(path, "ratings")
    if b"\0" in content:
        raise ValueError(f"{path} is no text in UTF-8; save it as text in UTF-8, such as CSV.")
    content = _in_utf8(content.removeprefix(codecs.BOM_UTF8))
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.rstrip(b"\n")


def _in_utf8(content: bytes) -> bytes:
    for encoding in ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return content if encoding == "utf-8" else text.encode()
    return content.decode("latin-1").encode()


def read(path: Path, form: Format, scale: Scale = None, advice: str = ADVICE) -> Columns:
    """Reads a file of ratings. Spaces around fields are left out.

    Args:
      path: The file.
      form: How it is written.
      scale: The lowest and the highest possible rating; None for any.
      advice: What to do about lines that cannot be read.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: Without polars.
      ValueError: For lines that cannot be read: their number, and the first of them by number and
        reason. Nothing is left out.
    """
    content = text_of(path)
    if form.header and b"\n" not in content:
        raise ValueError(f"{path} holds a header and no ratings; give a file of ratings.")
    table = _table(content, form, scale)
    if table is None:
        raise _refused(path, _wrong(content, form, scale), form, advice)
    return _as_places(table)


def polars() -> Any:
    """Returns the module polars.

    Raises:
      ModuleNotFoundError: If it is not installed.
    """
    try:
        import polars
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ratings are read by polars; install it with pip install 'metajax[recommendation]'."
        ) from error
    return polars


def _table(content: bytes, form: Format, scale: Scale) -> Any:
    """A data frame of the columns, or None where a line cannot be read."""
    pl = polars()
    separator = form.separator
    if len(separator) > 1:
        content, separator = content.replace(separator.encode(), _INNER.encode()), _INNER
    try:
        raw = pl.read_csv(
            io.BytesIO(content),
            separator=separator,
            has_header=form.header,
            infer_schema=False,
            quote_char='"' if form.header else None,
        )
    except (pl.exceptions.PolarsError, OSError, ValueError):
        return None
    lines = content.count(b"\n") + (0 if form.header else 1)
    if raw.height != lines and form.header and b'"' in content:  # quoted fields may hold lines
        lines = sum(1 for _ in rows(content, separator, quoted=True)) - 1
    if raw.width != form.fields or raw.height != lines:
        return None
    named = raw.select(
        pl.col(raw.columns[place]).str.strip_chars().alias(c) for c, place in form.columns.items()
    )
    numbers = [c for c in form.columns if c in ("rating", "time")]
    table = named.with_columns(pl.col(c).cast(pl.Float64, strict=False) for c in numbers)
    readable = table.select(
        *(pl.col(c).is_finite().all() for c in numbers),
        *((pl.col(c).str.len_bytes() > 0).all() for c in ("user", "item")),
    )
    whole = not any(table.null_count().row(0)) and all(readable.row(0))
    if whole and scale is not None:
        whole = table["rating"].is_between(*scale).all()
    return table if whole and not table.select("user", "item").is_duplicated().any() else None


def _as_places(table: Any) -> Columns:
    """Identifiers as places in sorted lists: by number where all are numbers, by letters otherwise."""
    pl = polars()
    lists, values = {}, {}
    for name in ("user", "item"):
        column = table[name]
        numbers = column.cast(pl.Int64, strict=False)
        numeric = not numbers.null_count() and numbers.n_unique() == column.n_unique()
        order = numbers if numeric else column
        values[name] = (order.rank("dense") - 1).to_numpy()
        first = pl.DataFrame({"id": column, "place": values[name]}).unique("place").sort("place")
        lists[name] = first["id"].to_list()
    for name in set(table.columns) & {"rating", "time"}:
        values[name] = table[name].to_numpy()
    return Columns(values, lists["user"], lists["item"])


def rows(content: bytes, separator: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of a line, from 1, and its fields without spaces around them."""
    text = content.decode()
    if len(separator) == 1 and quoted:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        begin = 1
        for fields in reader:
            yield begin, [field.strip() for field in fields]
            begin = reader.line_num + 1
        return
    for number, line in enumerate(text.split("\n"), 1):
        yield number, [field.strip() for field in line.split(separator)] if line else []


def _wrong(content: bytes, form: Format, scale: Scale) -> tuple[list[str], int]:
    """The lines that cannot be read, by number and reason, and the number of all lines."""
    found, total = [], 0
    seen: dict[tuple[str, str], int] = {}
    for number, fields in rows(content, form.separator, quoted=form.header):
        if number == 1 and form.header:
            continue
        total += 1
        reason = _reason(fields, form, scale) or _repeated(fields, form, number, seen)
        if reason:
            found.append(f"line {number}: {reason}")
    return found, total


def _refused(path: Path, wrong: tuple[list[str], int], form: Format, advice: str) -> ValueError:
    """The error that counts the lines that cannot be read, and describes the first of them."""
    lines, total = wrong
    if not lines:
        return ValueError(f"{path} cannot be read as text with {form.separator!r} between fields.")
    more = f"; and {len(lines) - _SHOWN:,} more" if len(lines) > _SHOWN else ""
    return ValueError(
        f"{path}: {len(lines):,} of {total:,} lines cannot be read: {'; '.join(lines[:_SHOWN])}{more}. "
        f"{advice}"
    )


def _reason(fields: Sequence[str], form: Format, scale: Scale) -> str | None:
    """Why a line cannot be read; None where it can."""
    if len(fields) != form.fields:
        return f"{len(fields)} fields, but {form.fields} are needed" if fields else "it is empty"
    for column, place in form.columns.items():
        value = fields[place]
        if column in ("user", "item"):
            if not value:
                return f"{column} is empty"
            continue
        number = _number(value)
        if number is None:
            return f"{column}={value!r} must be a number"
        if column == "rating" and scale is not None and not scale[0] <= number <= scale[1]:
            return f"rating={value!r} must be from {scale[0]:g} to {scale[1]:g}"
    return None


def _number(value: str) -> float | None:
    """The finite number that a field holds; None where polars reads none, as `1_000`."""
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) and "_" not in value else None


def _repeated(
    fields: Sequence[str], form: Format, number: int, seen: dict[tuple[str, str], int]
) -> str | None:
    """Whether a line rates what an earlier one has rated."""
    pair = fields[form.columns["user"]], fields[form.columns["item"]]
    if pair in seen:
        return f"user {pair[0]} rated item {pair[1]} on line {seen[pair]} already; keep one"
    seen[pair] = number
    return None
