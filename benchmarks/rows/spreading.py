"""Tasks a pass: what is the fastest, and what `fit` chooses."""

import record

from rows.table import lines


def tasks_a_pass() -> str:
    """Time by tasks a pass, against the rule."""
    what = (
        "Processor time of one hypergradient of second-order MAML on eight tasks, on one device of one thread; "
        "the numbers of tasks that are computed at once take turns. Times are relative to the fastest. "
        "`mj.automatic`, the default of `mj.fit`, computes as many at once as compute 6 million numbers, or "
        "have no array above 64 kB, and shares tasks out over devices where they compute a million numbers or "
        "more in all. Reproduce with `python benchmarks/speed/tasks_a_pass.py`; `mj.tune` measures your own "
        "program."
    )
    parts = [what]
    for result in record.read_all("tasks_a_pass_*").values():
        cells = []
        for name, found in result["networks"].items():
            seconds = {int(n): value for n, value in found["seconds"].items()}
            least, chosen = min(seconds.values()), found["chosen"]
            times = [f"{value / least:.2f}" for _, value in sorted(seconds.items())]
            own = f"{chosen} ({seconds[chosen] / least:.2f})"
            cells.append([name, f"{1e3 * least:.3g}", *times, own])
        counts = [f"{n} a pass" for n in (1, 2, 4, 8)]
        parts += [
            lines(("network", "ms of the fastest", *counts, "chosen"), cells),
            f"{result['machine']['processor']}, {result['machine']['cores']} cores. Measured with metajax "
            f"{record.version_of(result)}.",
        ]
    return "\n\n".join(parts if len(parts) > 1 else [*parts, "Not run."])
