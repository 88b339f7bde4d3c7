"""Which versions were tested: the measured part of docs/security.md."""

from typing import Any

import record

from rows.table import NOT_RUN, lines


def matrix() -> str:
    """The environments, their versions, and how their tests ended."""
    result = record.read("matrix")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/matrix.py`."
    rows: dict[str, dict[str, Any]] = result["environments"]
    shown = ["python", "jax", "jaxlib", "optax", "flax", "numpy", "tyro", "filelock", "matplotlib"]
    cells = [
        [name, *(row["versions"][package] for package in shown), _ended(row)]
        for name, row in rows.items()
    ]
    tests = ", ".join(f"`{path}`" for path in result["tests"])
    return (
        f"{lines(['versions', *shown, 'tests'], cells)}\n\nThe tests are {tests}. Measured with metajax "
        f"{record.version_of(result)}; reproduce with `python benchmarks/matrix.py`."
    )


def _ended(row: dict[str, Any]) -> str:
    counts = ", ".join(f"{number:,} {kind}" for kind, number in row["counts"].items())
    return f"{counts} in {row['seconds']} s"


PARTS = {"matrix": matrix}
