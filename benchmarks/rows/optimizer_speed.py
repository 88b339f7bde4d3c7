"""Inner steps a second of learned optimisers, beside peers and beside Adam."""

import itertools

import record

from rows.table import Section, lines, not_run

SHAPES = {
    "196-20-10, batch 200": ((196, 20, 10), 200),
    "784-128-128-10, batch 100": ((784, 128, 128, 10), 100),
}
OPTIMIZERS = (
    "metajax, mlp",
    "metajax, Adam with a learned rate",
    "learned_optimization, AdafacMLPLOpt",
    "learned_optimization, MLPLOpt",
)
TITLES = (
    *("network trained", "cores", "optimiser", "inner steps a second", "times ours"),
    *("inner steps a second with the meta-gradient", "times ours", "compilation of both, s"),
)


def text() -> str:
    """The tables, one for each platform."""
    parts = [
        "A learned optimiser costs more per step than Adam. The table shows ours beside those of "
        "learned_optimization with as many hidden units; `MLPLOpt` reads fewer features. One core is what a "
        "task has where `mj.sharded` spreads tasks over cores. Reproduce with "
        "`python benchmarks/speed/optimizer_speed.py`."
    ]
    results = record.read_all("optimizer_speed_*")
    for result in results.values():
        machine = result["machine"]
        parts += [
            f"{machine['processor']}, {machine['platform']}: median (quartiles). Measured with metajax "
            f"{record.version_of(result)}.",
            lines(TITLES, _cells(result["cores"])),
        ]
    return "\n\n".join(parts if results else [*parts, "Not run."])


def _cells(found: dict) -> list[list[str]]:
    cells = []
    for shape, cores, name in itertools.product(SHAPES, found, OPTIMIZERS):
        own = found[cores].get(shape, {}).get(name)
        if own is None:
            cells.append(not_run(f"{shape}, {cores} cores, {name}", len(TITLES)))
            continue
        line = [shape, cores, name]
        for kind in ("apply", "meta-gradient"):
            low, median, high = own[kind]["ms_a_step"]
            line.append(f"{1e3 / median:,.0f} ({1e3 / high:,.0f} to {1e3 / low:,.0f})")
            low, median, high = own[kind]["times_ours"]
            line.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
        cells.append([*line, f"{own['compilation_s']:.0f}"])
    return cells


SECTION = Section("Speed of learned optimisers", text)
