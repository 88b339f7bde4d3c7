"""Which versions were tested: the measured part of docs/security.md."""

from typing import Any

import record

from rows.table import NOT_RUN, lines

SHOWN = ("python", "jax", "jaxlib", "optax", "flax", "numpy", "tyro", "filelock", "matplotlib")


def matrix() -> str:
    """The environments, their versions, and how their tests ended."""
    result = record.read("matrix")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/matrix.py`."
    rows: dict[str, dict[str, Any]] = result["environments"]
    header = ["versions", *SHOWN, *(f"tests of {group}" for group in result["tests"])]
    cells = [
        [
            name,
            *(row["versions"][package] for package in SHOWN),
            *(_ended(row["groups"].get(group)) for group in result["tests"]),
        ]
        for name, row in rows.items()
    ]
    tests = " ".join(
        f"Tests of {group}: {', '.join(f'`{path}`' for path in paths)}."
        for group, paths in result["tests"].items()
    )
    return (
        f"{lines(header, cells)}\n\n{tests} Measured with metajax {record.version_of(result)}; reproduce with "
        "`python benchmarks/matrix.py`."
    )


def _ended(found: dict[str, Any] | None) -> str:
    if found is None:
        return NOT_RUN
    counts = ", ".join(f"{number:,} {kind}" for kind, number in found["counts"].items())
    return counts if found["counts"] else f"ended with status {found['status']}"


PARTS = {"matrix": matrix}
