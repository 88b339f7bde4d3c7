"""Devices, processes and streaming: what was measured of them for docs/reliability.md."""

import statistics
from typing import Any

import record

from rows.table import NOT_RUN, lines, measured

FEW = 1_000
"""Numbers of a sum whose time is its latency; that of a single number takes less."""


def devices() -> str:
    """Equal numbers and throughput of several devices and processes, and what ends them."""
    result = record.read("processes")
    if result is None or "numbers" not in result:
        return f"{NOT_RUN}: `python benchmarks/processes.py`."
    rows = result["numbers"]["rows"]
    alone = statistics.median(rows["1 x 1"]["seconds"])
    cells = []
    for layout, row in rows.items():
        processes, each = layout.split(" x ")
        seconds = statistics.median(row["seconds"])
        spread = f"{min(row['seconds']) * 1e3:.0f} to {max(row['seconds']) * 1e3:.0f}"
        cells.append(
            [
                processes,
                each,
                f"{row['difference']:.0e}" if row["difference"] else "0",
                "equal" if row["equal_tasks"] else "DIFFERENT",
                f"{seconds * 1e3:.0f} ({spread})",
                f"{alone / seconds:.2f}",
            ]
        )
    settings = result["settings"]
    head = [
        "processes",
        "devices of each",
        "largest difference",
        "tasks",
        "ms a step",
        "throughput",
    ]
    machine = result["machine"]
    parts = [
        f"Second-order MAML, conv4 of 32 filters, 5-way 1-shot glyphs, meta-batch {settings['meta_batch']}, on "
        f"{machine['cores']} cores of one machine. A device has a core, which it shares where there are more "
        "devices than cores. The difference is that "
        "of the hypergradient from that of one device, relative to its greatest entry; times are medians of "
        f"{settings['turns']} runs with the least and the most.",
        lines(head, cells),
    ]
    if "lost" in result:
        parts.append(_lost(result["lost"]))
    if "communication" in result:
        parts.append(_communication(result, alone))
    return "\n\n".join([*parts, measured(result, "benchmarks/processes.py")])


def _lost(found: dict[str, list[float]]) -> str:
    sentences = []
    for case, times in found.items():
        processes, how = case.split()
        verb = "was killed" if how == "SIGKILL" else "stood still (SIGSTOP)"
        shown = f"{min(times):.1f} to {max(times):.1f} s" if len(times) > 1 else f"{times[0]:.0f} s"
        sentences.append(f"of {processes} processes when one {verb}: {shown}")
    return f"Time until the last of the others had ended, {'; '.join(sentences)}."


def _communication(result: dict[str, Any], alone: float) -> str:
    """What sums over processes take, and the step times that follow, beside those measured."""
    numbers, cells = result["numbers"], []
    for processes, times in result["communication"].items():
        p = int(processes)
        sizes = sorted(map(int, times))
        latency = times[str(FEW)]
        slope = max(0.0, times[str(sizes[-1])] - latency) / sizes[-1]
        exchanged = numbers["exchanges"] * latency + numbers["parameters"] * slope
        cores = result["machine"]["cores"]
        predicted = alone / min(p, cores) + exchanged
        measured = statistics.median(numbers["rows"][f"{p} x 1"]["seconds"])
        cells.append(
            [
                processes,
                f"{latency * 1e3:.2f}",
                f"{8 * (p - 1) / p / slope / 1e6:.0f}",
                f"{exchanged * 1e3:.1f}",
                f"{predicted * 1e3:.0f}",
                f"{measured * 1e3:.0f}",
                f"{alone / exchanged:.0f}",
            ]
        )
    head = [
        "processes",
        "latency of a sum, ms",
        "MB/s",
        "exchanged a step, ms",
        "predicted ms a step",
        "measured",
        "processes where exchange takes as long as computing",
    ]
    return (
        f"An outer step sums {numbers['parameters']:,} numbers over the processes, in {numbers['exchanges']} "
        f"exchange{'s' * (numbers['exchanges'] != 1)}. An exchange takes its latency, the time of {FEW:,} "
        "numbers, and 2 (p - 1) / p of 4 bytes for each number over the bandwidth. "
        "Predicted: the step of one device divided by the processes, or by the cores where those are fewer, "
        "and the exchange. Scaling stops near the last column. What is measured above the prediction is "
        "what the model leaves out: waiting for each other, and sharing cores with what carries the sums.\n\n"
        + lines(head, cells)
    )


def streaming() -> str:
    """Tasks from disk beside tasks in memory."""
    result = record.read("streaming")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/streaming.py`."
    kinds, settings = result["kinds"], result["settings"]
    empty = kinds["empty"]["peak_mb"]
    cells = [
        [
            name if name != "empty" else "ten classes in memory",
            f"{row['seconds'] * 1e3:.1f}",
            f"{row['peak_mb']:,.0f}",
            f"{max(0, row['peak_mb'] - empty):,.0f}",
        ]
        for name, row in kinds.items()
    ]
    return (
        f"{settings['megabytes']:,} MB of pictures on disk, 5-way 1-shot, meta-batch "
        f"{settings['meta_batch']}, a perceptron, whose step is short, so that reading shows. Medians of "
        f"{len(kinds['empty']['turns'])} turns; all runs saw the same tasks.\n\n"
        + lines(["tasks", "ms a step", "peak MB of the process", "MB for the data"], cells)
        + f"\n\n{measured(result, 'benchmarks/streaming.py')}"
    )
