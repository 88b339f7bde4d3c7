"""What several commands print."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
GAP = 2
"""Blanks between the columns of a table."""


def escape(text: str) -> str:
    """Returns text whose brackets rich prints as they are."""
    return text.replace("[", r"\[")


def titled(title: str, columns: Sequence[str], *, words: int = 1) -> Table:
    """Returns a table under a title, without lines between columns, which would take their width.

    Args:
      title: In rich's markup.
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
    """Prints a table, whose numbers keep their intervals beside them where the width allows."""

    def longest(column: Column) -> int:
        """Of what is not to be broken: a number with its interval, and the words of names."""
        cells = [Text.from_markup(str(each)).plain for each in column.cells]
        whole = cells if column.justify == "right" else " ".join(cells).split()
        return max(map(len, [*whole, *str(column.header).split()]), default=0)

    widths = [longest(column) for column in table.columns]
    if sum(widths) + GAP * len(widths) <= console.width:
        for column, width in zip(table.columns, widths, strict=True):
            column.min_width = width
    console.print(table)


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
