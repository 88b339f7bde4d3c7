"""Time and memory of an outer step of second-order MAML, beside what one would pick instead."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import record

from rows.table import Page, Section, lines, not_run


@dataclass(frozen=True)
class Workload:
    """One outer step: `meta_batch` tasks, `num_steps` of SGD on `support` examples, then the queries.

    channels: Of the images, then of each convolution; or the widths of a multilayer perceptron.
    """

    title: str
    meta_batch: int
    support: int
    query: int
    num_steps: int
    rate: float
    channels: tuple[int, ...]
    outputs: int
    size: int | None = None
    pool: bool = False

    @property
    def is_conv(self) -> bool:
        """Whether inputs are images."""
        return self.size is not None

    @property
    def features(self) -> int:
        """The number of features that the last layer reads."""
        if self.size is None:
            return self.channels[-1]
        side = self.size
        for _ in self.channels[1:]:
            side = side // 2 if self.pool else -(-side // 2)
        return side * side * self.channels[-1]


WORKLOADS = {
    "A": Workload(
        "sinusoid MLP 1-40-40-1, 10 + 10 points, 1 step, meta-batch 25",
        25, 10, 10, 1, 0.01, (1, 40, 40), 1,
    ),
    "B": Workload(
        "Omniglot-shaped conv4-64 stride 2, 28x28, 5-way 1-shot + 1 query, 1 step, meta-batch 32",
        32, 5, 5, 1, 0.4, (1, 64, 64, 64, 64), 5, size=28,
    ),
    "C": Workload(
        "mini-ImageNet-shaped conv4-32 max-pool, 84x84x3, 5-way 5-shot + 15 queries, 5 steps, "
        "meta-batch 4",
        4, 25, 75, 5, 0.01, (3, 32, 32, 32, 32), 5, size=84, pool=True,
    ),
}  # fmt: skip
CONTESTANTS = {
    "metajax": "ABC",
    "metajax, unrolled": "C",
    "torch.func + vmap": "ABC",
    "torch.func, loop": "ABC",
    "higher": "ABC",
    "TorchOpt": "ABC",
    "plain JAX": "AB",
}
"""The workloads of each. Unrolling differs from the default where there is more than one inner step. On C,
plain JAX was stopped after minutes without a step, its memory still growing."""

CURVES = {
    "meta_batch": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "num_steps": [1, 2, 4, 8, 16, 32, 64, 128],
    "way": [2, 5, 10, 20, 50],
    "width": [8, 16, 32, 64, 128],
}
KINDS = {
    "convolutions and products": ("convolution", "dot"),
    "sums": ("reduce",),
    "patches, transposes and copies": ("concatenate", "transpose", "copy", "pad", "slice"),
}
"""Kinds of operations: the first whose words the name of an operation, or of its parts, contains."""
REST = "element by element"

TITLES = (
    *("", "", "ms an outer step (quartiles)", "times ours (quartiles)"),
    *("peak memory of the process, MB", "compilation, s", "of the matrix-product peak"),
)


def steps() -> str:
    """The race against peers."""
    parts = [
        "All contestants start from the same weights and tasks, and their hypergradients agree to 1e-4 in "
        "float64. Each is a process of its own; turns alternate in one run; compilation is apart. The peers "
        "come with `pip install '.[bench]'`. On C plain JAX was stopped after minutes without a step, its "
        "memory still growing. Reproduce with `python benchmarks/speed/speed.py`."
    ]
    for result in record.read_all("speed_*").values():
        machine, workloads = result["machine"], result["workloads"]
        cells = [
            cell
            for name in WORKLOADS
            for cell in _workload(name, workloads.get(name, {"rows": {}}))
        ]
        parts += [
            f"{machine['processor']}, {machine['cores']} cores, {machine['device']}; float32; metajax "
            f"{record.version_of(result)}.",
            lines(TITLES, cells),
            "\n".join(
                f"- {name}: {w['title']}; {w['date']}, when matrix products reached "
                f"{w['matmul_peak_gflops']:.0f} GFLOP/s."
                for name, w in sorted(workloads.items())
            ),
        ]
    return "\n\n".join(parts)


def _workload(name: str, workload: dict[str, Any]) -> list[list[str]]:
    cells = []
    for contestant, entered in CONTESTANTS.items():
        row = workload["rows"].get(contestant)
        if row is None:
            missing = not_run(contestant, len(TITLES) - 1)
            cells += [[name, *missing]] if name in entered else []
        elif "error" in row:
            cells.append([name, contestant, "failed", *[""] * (len(TITLES) - 3)])
        else:
            cells.append([name, contestant, *measured(workload, row)])
    return cells


def measured(workload: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Time, ratio, memory, compilation and share of the peak of one contestant."""
    middle = row["step_s"]["median"]
    low, high = row["step_s"]["quartiles"]
    a, b, c = row["times_ours"]
    share = workload["gigaflop"] / middle / workload["matmul_peak_gflops"]
    return [
        f"{_ms(middle)} ({_ms(low)} to {_ms(high)})",
        f"{b:.2f} ({a:.2f} to {c:.2f})",
        f"{row['peak_mb']:.0f}",
        f"{row['compile_s']:.0f}" if row["compile_s"] > 0.5 else "",
        f"{100 * share:.0f} %",
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def curves() -> str:
    """Where the picture of how time and memory grow is."""
    what = (
        "Memory does not grow with the meta-batch, because a few tasks pass at a time; with `remat` and "
        "`mixed_mode` it hardly grows with the inner steps. Reproduce with "
        "`python benchmarks/speed/speed.py --scaling`."
    )
    results = record.read_all("scaling_*")
    parts = [
        f"![Time and memory of an outer step against meta-batch, inner steps, way and width]({name}.png)\n\n"
        f"Measured with metajax {record.version_of(result)}."
        for name, result in results.items()
    ]
    return "\n\n".join([what, *(parts or ["Not run."])])


def curve_pictures() -> dict[str, Any]:
    """A picture for each platform."""
    results = record.read_all("scaling_*")
    return {
        f"{n}.png": lambda result=result: curve_picture(result) for n, result in results.items()
    }


def curve_picture(result: dict[str, Any]) -> Any:
    """Time above, memory below, a column for each curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7), layout="constrained")
    axes = figure.subplots(2, len(CURVES))
    titles = {
        "meta_batch": "workload B, by tasks in the meta-batch",
        "num_steps": "16 filters, 4 tasks, by inner steps",
        "way": "workload B, 4 tasks, by way",
        "width": "workload B, 4 tasks, by filters",
    }
    for column, (curve, drawn) in enumerate(result["curves"].items()):
        for line, points in drawn.items():
            x = [point["value"] for point in points]
            low, middle, high = np.transpose([point["seconds"] for point in points]) * 1e3
            axes[0, column].plot(x, middle, marker="o", markersize=3, label=line)
            axes[0, column].fill_between(x, low, high, alpha=0.2)
            memory = [point["temporaries_mb"] for point in points]
            axes[1, column].plot(x, memory, marker="o", markersize=3, label=line)
        axes[0, column].set(title=titles[curve], ylabel="ms a hypergradient")
        axes[1, column].set(xlabel=curve, ylabel="MB of temporaries on a device")
        for row in (0, 1):
            axes[row, column].set(xscale="log", yscale="log")
            axes[row, column].set_xticks(CURVES[curve], [str(value) for value in CURVES[curve]])
            axes[row, column].minorticks_off()
            axes[row, column].grid(alpha=0.25)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        if len(drawn) > 1:
            axes[0, column].legend(frameon=False, fontsize=8)
    machine = result["machine"]
    figure.suptitle(
        f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, float32"
    )
    return figure


def operations() -> str:
    """Shares of the time of an outer step by kind of operation, and its memory."""
    what = (
        "Shares of the time of all threads in XLA's own profile. A has some hundred operations of a few "
        "microseconds each, too small to fill a core. B and C spend most of their time on arithmetic. The "
        "rest goes to the patches that make a convolution a product, and to passes over activations for batch "
        "statistics, ReLU, pooling and their derivatives, which XLA for CPUs does one at a time. In B and C "
        "the peak of memory lies above the program and the temporaries of both cores, because the heap keeps "
        "parts that were freed. Reproduce with `python benchmarks/speed/hotspots.py`."
    )
    stages = {
        "libraries_and_data_mb": "MB of libraries and data",
        "with_program_mb": "and the program",
        "temporaries_mb": "temporaries beside",
    }
    titles = ["", "operations in a step", *KINDS, REST, *stages.values()]
    parts = [what]
    for result in record.read_all("hotspots_*").values():
        cells = []
        for name in WORKLOADS:
            found = result["workloads"].get(name)
            if found is None:
                cells.append(not_run(name, len(titles)))
                continue
            total = sum(found["ms_by_kind"].values())
            shares = [found["ms_by_kind"].get(kind, 0) / total for kind in (*KINDS, REST)]
            line = [name, f"{found['operations']:,.0f}", *(f"{100 * s:.0f} %" for s in shares)]
            cells.append([*line, *(f"{found['memory'][stage]:.0f}" for stage in stages)])
        parts += [lines(titles, cells), f"Measured with metajax {record.version_of(result)}."]
    return "\n\n".join(parts)


def fresh_clone() -> str:
    """How long the first command takes."""
    result = record.read("fresh_clone")
    if result is None:
        return "Not run: `python benchmarks/speed/fresh_clone.py`."
    return (
        f"{installation(result)} Measured with metajax {record.version_of(result)}. Reproduce with "
        "`python benchmarks/speed/fresh_clone.py`."
    )


def installation(result: dict[str, Any]) -> str:
    """One sentence on the first command."""
    seconds, machine = result["seconds"], result["machine"]
    return (
        f"On {machine['cores']} cores of an {machine['processor']}: {seconds['install']:.0f} s to install "
        f"(from pip's downloads) and {seconds['train sinusoid']:.0f} s from the command to the table."
    )


PAGE = Page(
    "Speed",
    "An outer step of second-order MAML with Adam, on three workloads. [How to be fast](../speed.md) says how "
    "to get there.",
    (
        Section("Time of an outer step", steps),
        Section("Growth", curves, pictures=curve_pictures),
        Section("Operations", operations),
        Section("First command", fresh_clone),
    ),
)
