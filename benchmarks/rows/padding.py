"""The padding law: masked examples change nothing."""

import math
from typing import Any

import record

from rows.table import Page, Section, lines

FILLS = {"mask": 0.0, "nan under the mask": math.nan}
"""What masked numbers are filled with; integers are -7."""
KINDS = {
    "float": ("float",),
    "integer": ("integer",),
    "dict": ("dict", "dict, float targets"),
    "tokens": ("tokens",),
}
"""The columns, each with the kinds of examples that it may show."""


def text() -> str:
    """The table from the result file."""
    result = record.read("padding")
    if result is None:
        return "Not run: `python benchmarks/padding.py`."
    titles = ["", *(f"{kind}: {fill}" for kind in KINDS for fill in FILLS)]
    cells = [
        [name, *(_cell(row, names, fill) for names in KINDS.values() for fill in FILLS)]
        for name, row in result["rows"].items()
    ]
    note = (
        "Three masked examples are added to support sets of six and to query sets of six, in the middle and "
        "at the end. The table shows the greatest change of a prediction, of the loss after one and two "
        "inner steps, or of an entry of the hypergradient, relative to its size or to 1; float32 rounds to "
        "1e-7. A dash stands for a kind that the learner does not take. Float: numbers as targets. Integer: "
        "labels. Dict: inputs that are a dictionary of arrays, with labels where the learner takes them. "
        "Tokens: integer inputs. "
        f"Measured with metajax {record.version_of(result)}."
    )
    return f"{note}\n\n{lines(titles, cells)}"


def _cell(row: dict[str, Any], kinds: tuple[str, ...], fill: str) -> str:
    changes = next((row[kind] for kind in kinds if kind in row), None)
    if changes is None:
        return "-"
    return "0" if changes[fill] == 0 else f"{changes[fill]:.0e}"


PAGE = Page(
    "Masked examples",
    "Appending masked examples, whatever they hold, changes neither predictions, losses nor "
    "hypergradients. Reproduce with `python benchmarks/padding.py`.",
    (Section("Learners by kinds of examples", text),),
)
