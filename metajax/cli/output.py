"""What several commands print."""

import math
from collections.abc import Sequence
from itertools import takewhile
from textwrap import fill
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
GAP = 2
"""Blanks between the columns of a table."""
EDGE = 2
"""Blanks before the first column and after the last."""


def escape(text: str) -> str:
    """Returns text whose brackets rich prints as they are."""
    return text.replace("[", r"\[")


def titled(title: str | None, columns: Sequence[str], *, words: int = 1) -> Table:
    """Returns a table under a title, without lines between columns, which would take their width.

    Args:
      title: In rich's markup, or none.
      columns: Their names.
      words: So many first columns are words, at the left; the others are numbers.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, GAP - 1),
    )
    for place, name in enumerate(columns):
        justify = "left" if place < words else "right"
        table.add_column(name, justify=justify, overflow="fold")
    return table


def show(table: Table) -> None:
    """Prints a table, in parts below each other if its columns have no room beside each other.

    Names of rows are in each part. A table whose rows have no names is one part, whose cells are broken.
    """
    unbounded = console.options.update(width=10_000)
    if console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
        return
    widths = [_longest(column) for column in table.columns]
    named = list(
        takewhile(lambda place: table.columns[place].justify == "left", range(len(widths)))
    )
    others = list(range(len(named), len(widths)))
    room = console.width - EDGE - _taken(named, widths)
    parts = _parts(others, widths, room) if named else [others]
    for part in parts:
        title = table.title if part is parts[0] else None
        fits = _taken(part, widths) <= room
        console.print(_of(table, title, [*named, *part], widths if fits else None))


def _longest(column: Column) -> int:
    """Of what is not to be broken: a number with its interval, and the words of names."""
    cells = [Text.from_markup(str(each)).plain for each in column.cells]
    whole = cells if column.justify == "right" else " ".join(cells).split()
    return max(map(len, [*whole, *str(column.header).split()]), default=0)


def _parts(places: list[int], widths: list[int], room: int) -> list[list[int]]:
    """Columns in as few parts as have room; one that is wider is alone."""
    parts = [places]
    for number in range(1, len(places) + 1):
        parts = [part.tolist() for part in np.array_split(places, number)]
        if all(_taken(part, widths) <= room for part in parts):
            break
    return parts


def _taken(places: list[int], widths: list[int]) -> int:
    return sum(widths[place] + GAP for place in places)


def _of(table: Table, title: Any, places: list[int], widths: list[int] | None) -> Table:
    """Some columns of a table; with widths, numbers are not broken, and names of their columns are."""
    part = titled(title, ())
    for place in places:
        column = table.columns[place]
        header, whole = str(column.header), widths is not None and column.justify == "right"
        if widths is not None and whole:
            header = fill(header, max(1, widths[place]))
        part.add_column(header, justify=column.justify, overflow="fold", no_wrap=whole)
    cells = [list(table.columns[place].cells) for place in places]
    for row, of_row in zip(table.rows, zip(*cells, strict=True), strict=True):
        part.add_row(*of_row, end_section=row.end_section)
    return part


def cell(digits: int, *numbers: float) -> str:
    """Returns a mean and its interval, or one number; "diverged" where a number is not finite.

    Example:
      >>> cell(1, 0.25, 0.05), cell(1, float("nan"))
      ('0.2 ± 0.1', 'diverged')
    """
    if not all(map(math.isfinite, numbers)):
        return "diverged"
    return " ± ".join(f"{number:.{digits}f}" for number in numbers)


def plain(numbers: Any) -> list[float | None]:
    """Returns numbers for JSON, which has none that are not finite.

    Example:
      >>> plain([0.5, float("inf")])
      [0.5, None]
    """
    return [float(n) if math.isfinite(n) else None for n in np.atleast_1d(numbers)]
