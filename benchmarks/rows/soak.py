"""Hours of training, and the cost of checkpoints: what was measured of them for docs/reliability.md."""

import statistics
from typing import Any

import record

from rows.table import NOT_RUN, lines, measured

SCRIPT = "benchmarks/soak.py"


def soak() -> str:
    """Memory, files and threads of a process over hours."""
    result = (record.read("soak") or {}).get("soak")
    if result is None:
        return f"{NOT_RUN}: `python {SCRIPT}`."
    samples = result["samples"]
    parts = [samples[i * len(samples) // 6 : (i + 1) * len(samples) // 6] for i in range(6)]
    cells = [
        [
            f"{part[0]['seconds'] / 60:.0f} to {part[-1]['seconds'] / 60:.0f}",
            *(
                f"{statistics.median(one[key] for one in part) / unit:,.0f}"
                for key, unit in COLUMNS
            ),
        ]
        for part in parts
    ]
    first, last = parts[1][0], samples[-1]
    grown = 1024 * (last["resident_kb"] - first["resident_kb"])
    each = grown / (last["reports"] - first["reports"])
    return (
        f"One process of `mj.fit` for {result['minutes']:g} minutes, beside other work: "
        f"{result['ended']['step']:,} outer steps, and {last['reports']:,} reports, each with a validation "
        "and a checkpoint. Medians of each sixth:\n\n"
        f"{lines(['minutes', 'resident memory, MB', 'open files', 'threads'], cells)}\n\n"
        f"After the first sixth memory grew by {each:,.0f} bytes a report: reports stay in memory, so that the "
        "run can be saved elsewhere if its folder is lost. "
        f"After SIGTERM it ended with code {result['ended']['code']} in {result['ended']['seconds']:.1f} s. "
        f"{measured(result, SCRIPT)}"
    )


COLUMNS = (("resident_kb", 1024), ("files", 1), ("threads", 1))


def cost() -> str:
    """Seconds of a checkpoint, and of training with and without a folder."""
    result = (record.read("soak") or {}).get("cost")
    if result is None:
        return f"{NOT_RUN}: `python {SCRIPT} --only cost`."
    cells = [_cost_of(name, row) for name, row in result["saving"].items()]
    head = ["", "parameters", "MB with Adam", "ms a checkpoint", "of training, at one a minute"]
    training = result["training"]
    ratios = training["ratios"]
    return (
        f"{lines(head, cells)}\n\n"
        "Medians, with the least and the most. Short steps with a report and a checkpoint every 1,000 took "
        f"{statistics.median(ratios):.2f} times as long as without a folder ({min(ratios):.2f} to "
        f"{max(ratios):.2f} in {len(ratios)} turns beside other work; "
        f"{statistics.median(training['without']):.1f} s, without compilation). {measured(result, SCRIPT)}"
    )


def _cost_of(name: str, row: dict[str, Any]) -> list[str]:
    seconds = row["seconds"]
    middle = statistics.median(seconds)
    return [
        name,
        f"{row['parameters']:,}",
        f"{row['megabytes']:.2g}" if row["megabytes"] < 10 else f"{row['megabytes']:.0f}",
        f"{1e3 * middle:.1f} ({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f})",
        f"{100 * middle / 60:.2g} %",
    ]
