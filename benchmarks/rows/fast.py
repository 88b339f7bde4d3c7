"""What `mj.fast` does to public networks."""

from typing import Any

import record
from networks import NETWORKS

from rows.table import Page, Section, lines, not_run

META_BATCH, EXAMPLES = 4, 5
"""Tasks of the hypergradient, and examples in each of the two sets of a task."""
TITLES = (
    *("network", "replaced", "values", "gradients", "hypergradients", "rounding"),
    *("run, ms: plain", "fast", "times faster (quartiles)"),
    *("trace, s: plain", "fast", "compile, s: plain", "fast"),
)


def text() -> str:
    """The table from the result file."""
    result = record.read("fast_networks")
    rows: dict[str, Any] = result["rows"] if result else {}
    cells = [
        _cells(name, rows[name]) if name in rows else not_run(name, len(TITLES))
        for name in NETWORKS
    ]
    table = lines(TITLES, cells)
    if result is None:
        return f"{table}\n\nNot run: `python benchmarks/fast_networks.py`."
    machine = result["machine"]
    note = (
        f"The hypergradient is that of second-order MAML with one step of SGD on {META_BATCH} tasks of "
        f"{EXAMPLES} support examples and {EXAMPLES} queries. Values, gradients and hypergradients: the "
        "greatest difference between the plain network and the fast one, relative to the greatest entry, in "
        "float32. Rounding: the same for the plain hypergradient and itself on the examples in reverse "
        "order. Run, trace (with lowering) and compile: medians of turns that alternate in one process. "
        f"{machine['processor']}, {machine['cores']} cores. Measured with metajax {record.version_of(result)}."
    )
    titles = "\n".join(f"- {name}: {rows[name]['title']}" for name in NETWORKS if name in rows)
    return f"{note}\n\n{table}\n\n{titles}"


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    replaced = ", ".join(f"{number} {kind}" for kind, number in row["replaced"].items())
    low, middle, high = row["run"]["times_faster"]
    seconds = {kind: row[kind]["seconds"] for kind in ("run", "trace", "compile")}
    return [
        name,
        replaced or "nothing",
        *(f"{row['differences'][kind]:.0e}" for kind in ("values", "gradients", "hypergradients")),
        f"{row['rounding']:.0e}",
        *(f"{1e3 * seconds['run'][which]:.3g}" for which in ("plain", "fast")),
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        *(f"{seconds['trace'][which]:.2g}" for which in ("plain", "fast")),
        *(f"{seconds['compile'][which]:.2g}" for which in ("plain", "fast")),
    ]


PAGE = Page(
    "Fast networks",
    "`mj.fast(model)` rewrites a network that holds nothing of metajax into an equal one that stays fast "
    "under `vmap` over tasks and in second derivatives. The networks are those of `benchmarks/networks/`, "
    "written as in their papers, at small sizes. Reproduce with `python benchmarks/fast_networks.py`.",
    (Section("Hypergradients of public networks", text),),
)
