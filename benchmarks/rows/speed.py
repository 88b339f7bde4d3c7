"""Time and memory of an outer step, beside what one would pick instead."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import record

from rows.pages import memory_pages
from rows.spreading import tasks_a_pass
from rows.table import NOT_RUN, Page, Section, lines, not_run
from rows.versions import versions


@dataclass(frozen=True)
class Workload:
    """One outer step: `meta_batch` tasks, `num_steps` of SGD on `support` examples, then the queries.

    Its network is written with metajax's operations and the adjoint and devices that suit it.

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
    net: ClassVar[str] = "tuned"
    learner: ClassVar[str] = "maml"
    framework: ClassVar[str] = "tuned"

    @property
    def is_conv(self) -> bool:
        """Whether inputs are images."""
        return self.size is not None

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return "cross_entropy" if self.is_conv else "mse"

    @property
    def features(self) -> int:
        """The number of features that the last layer reads."""
        if self.size is None:
            return self.channels[-1]
        side = self.size
        for _ in self.channels[1:]:
            side = side // 2 if self.pool else -(-side // 2)
        return side * side * self.channels[-1]

    def reduced(self) -> "Workload":
        """The same in seconds: fewer tasks and channels, and smaller images."""
        first, *others = self.channels
        size = None if self.size is None else min(self.size, 32)
        channels = (first, *(min(c, 8) for c in others))
        return replace(self, meta_batch=2, channels=channels, size=size)


class InFlax(Workload):
    """The same with its network as a user writes it in flax, and metajax's defaults."""

    framework: ClassVar[str] = "linen"


@dataclass(frozen=True)
class UserWorkload:
    """One outer step through metajax's public functions, on a network of plain flax or equinox.

    net: The module of `benchmarks/speed/nets` that holds the network for all contestants.
    learner: The algorithm, a row of `LEARNERS` in `contestants.py` and in `in_torch.py`.
    settings: Sizes of the network and of its inputs, and what the learner needs beside its steps.
    small: Settings of the reduced workload.
    """

    title: str
    net: str
    learner: str
    loss: str
    meta_batch: int
    way: int
    shot: int
    query_shot: int
    settings: Mapping[str, int]
    small: Mapping[str, int]
    num_steps: int = 0
    rate: float = 0.0
    framework: str = "linen"

    def reduced(self) -> "UserWorkload":
        """The same in seconds: fewer tasks, classes and queries, and a smaller network."""
        return replace(
            self,
            meta_batch=2,
            way=min(self.way, 5),
            shot=min(self.shot, 2),
            query_shot=min(self.query_shot, 2),
            settings={**self.settings, **self.small},
        )


TUNED = {
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
_CNN = UserWorkload(
    "MAML, flax linen CNN of three times Conv 32, LayerNorm, ReLU, avg_pool, 32x32x3, 5-way 5-shot + 15 "
    "queries, 3 steps, meta-batch 4",
    net="cnn",
    learner="maml",
    loss="cross_entropy",
    meta_batch=4,
    way=5,
    shot=5,
    query_shot=15,
    num_steps=3,
    rate=0.01,
    settings={"size": 32, "channels": 3, "filters": 32},
    small={"size": 8, "filters": 4},
)
_TOKENS = UserWorkload(
    "MAML, flax linen Transformer, 32 tokens of 256, width 64, 4 heads, 2 layers, 5-way 5-shot + 15 "
    "queries, 3 steps, meta-batch 8",
    net="tokens",
    learner="maml",
    loss="cross_entropy",
    meta_batch=8,
    way=5,
    shot=5,
    query_shot=15,
    num_steps=3,
    rate=0.01,
    settings={"vocabulary": 256, "tokens": 32, "width": 64, "heads": 4, "layers": 2},
    small={"vocabulary": 16, "tokens": 6, "width": 8, "heads": 2},
)
USER: dict[str, UserWorkload] = {
    "D": _CNN,
    "D, equinox": replace(
        _CNN, framework="equinox", title="the same with the network written in equinox"
    ),
    "E": _TOKENS,
    "E, equinox": replace(
        _TOKENS, framework="equinox", title="the same with the network written in equinox"
    ),
    "F": UserWorkload(
        "ProtoNets, flax linen network of four times Conv 64, BatchNorm by the batch, ReLU, max_pool, "
        "28x28x1, 20-way 1-shot + 5 queries, meta-batch 4",
        net="conv4",
        learner="protonet",
        loss="cross_entropy",
        meta_batch=4,
        way=20,
        shot=1,
        query_shot=5,
        settings={"size": 28, "channels": 1, "filters": 64},
        small={"size": 16, "filters": 8},
    ),
    "G": UserWorkload(
        "MAML, flax linen ResNet-12 of 32-64-128-256 filters, 84x84x3, 5-way 1-shot + 5 queries, 1 step, "
        "meta-batch 2",
        net="resnet12",
        learner="maml",
        loss="cross_entropy",
        meta_batch=2,
        way=5,
        shot=1,
        query_shot=5,
        num_steps=1,
        rate=0.01,
        settings={"size": 84, "channels": 3, "filters": 32},
        small={"size": 16, "filters": 4},
    ),
    "H": replace(
        _CNN,
        title="ANIL, the network of D, of which the last layer is adapted, 5 steps",
        net="cnn_anil",
        learner="anil",
        num_steps=5,
    ),
    "I": UserWorkload(
        "iMAML, flax linen MLP 1-40-40-1, 10 + 10 points, 16 steps, conjugate gradients of 5 products, "
        "meta-batch 25",
        net="mlp",
        learner="imaml",
        loss="mse",
        meta_batch=25,
        way=1,
        shot=10,
        query_shot=10,
        num_steps=16,
        rate=0.01,
        settings={"width": 40, "strength": 2},
        small={"width": 8},
    ),
    "J": UserWorkload(
        "in-context Transformer, width 64, 3 layers, 4 heads, linear functions of 4 inputs, 10 + 30 points, "
        "meta-batch 64",
        net="in_context",
        learner="transformer",
        loss="mse",
        meta_batch=64,
        way=1,
        shot=10,
        query_shot=30,
        settings={"dimension": 4, "width": 64, "layers": 3, "heads": 4},
        small={"width": 8, "layers": 2, "heads": 2},
    ),
}
WORKLOADS: dict[str, Workload | UserWorkload] = {**TUNED, **USER}

PROFILED = tuple(name for name in WORKLOADS if "," not in name)
"""Not the networks that are the same in equinox."""

_MAML = ("A", "B", "C", "D", "E", "G")
_SECOND_ORDER = (*_MAML, "H")
_OF_USERS = (*_SECOND_ORDER[3:], "F")
CONTESTANTS = {
    "metajax": tuple(WORKLOADS),
    "metajax, unrolled": ("C",),
    "metajax, plain flax": tuple(TUNED),
    "plain JAX": ("A", "B", "D", "H"),
    "jaxopt": ("I",),
    "torch.func + vmap": (*_SECOND_ORDER, "F", "J"),
    "torch.func, loop": _SECOND_ORDER,
    "torch.autograd, loop": (*_OF_USERS, "D, equinox", "E, equinox"),
    "torch.compile, loop": _OF_USERS,
    "PyTorch, batched": ("J",),
    "torch.compile, batched": ("J",),
    "higher": _SECOND_ORDER,
    "TorchOpt": _SECOND_ORDER,
    "TorchOpt, implicit": ("I",),
}
"""The workloads of each. Unrolling differs from the default where there is more than one inner step. Plain JAX
takes 17 s a step on D and 12 on F; on C it was stopped after minutes without a step, its memory still growing.
What is written in equinox has the peers of its twin in flax, of which one is raced again."""

NOTES = (
    "torch.func + vmap: scale and shift are outside of `layer_norm` and `batch_norm`, because inside of `vmap` "
    "their second derivative is wrong in PyTorch "
    "([functorch 534](https://github.com/pytorch/functorch/issues/534)).",
    "torch.compile, loop: what is compiled is the query loss of a task, with its inner loop and "
    "`torch.func.grad` inside, because a compiled function has no second derivative.",
)
"""What readers of the second table should know about its rows."""

ANALYSIS = (
    "The Transformer of E is ahead of every peer; the networks of D, F, I and J are within a tenth of the "
    "fastest, mostly `torch.compile`, and D is so in equinox, too. G and H are behind: PyTorch multiplies "
    "convolutions of few channels faster than XLA does, above all for the gradients of their kernels, and up "
    "to half of our steps are passes over activations (see [operations](#operations)). Plain JAX, which a user "
    "of flax would have otherwise, takes tens of times as long. Memory is more than PyTorch's in most rows, "
    "because the process holds XLA's compiler and program beside the arrays; on G it holds the activations of "
    "both tasks, one on each core, where a loop has those of one task. G also compiles for longest, because "
    "each of its twelve convolutions is a program of its own in every derivative."
)

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
    *("peak memory, MB", "compilation, s", "read from the cache, s"),
    "of the matrix-product peak",
)


def steps() -> str:
    """The race against peers on networks of metajax's operations."""
    return _race(
        "All contestants start from the same weights and tasks, and their hypergradients agree to 1e-4 in "
        "float64. Each is a process of its own; turns alternate in one run; compilation is apart, once from "
        "nothing and once from what a process before kept. Memory is that of the process, or of the GPU. The "
        "peers come with `pip install '.[bench]'`. On C "
        "plain JAX was stopped after minutes without a step, its memory still growing. Reproduce with "
        "`python benchmarks/speed/speed.py`.",
        "speed_tuned_*",
        TUNED,
    )


def of_users() -> str:
    """The same on networks of plain flax and equinox."""
    what = (
        "Networks as a user writes them in flax or equinox, without any of metajax's operations, through "
        "`mj.linen_model` or `mj.equinox_model`, a learner and an outer step with metajax's defaults. The race "
        "is the same."
    )
    notes = [*NOTES, *_bounds("speed_networks_*")]
    what = "\n".join([f"{what}\n\n{ANALYSIS}\n", *(f"- {note}" for note in notes)])
    return _race(what, "speed_networks_*", USER)


def _bounds(pattern: str) -> list[str]:
    """How much faster than the fastest peer a step could be, if it were nothing but products at their peak."""
    found = []
    for result in record.read_all(pattern).values():
        for name, w in result["workloads"].items():
            peers = [
                row["step_s"]["median"]
                for peer, row in w["rows"].items()
                if not peer.startswith("metajax") and "error" not in row
            ]
            if w["gigaflop"] is not None and "," not in name:
                bound = min(peers) * w["matmul_peak_gflops"] / w["gigaflop"]
                found.append(f"{name} {bound:.1f}")
    if not found:
        return []
    return [
        "A step that did nothing but its products, at the peak of one large product, would be this many times "
        f"as fast as the fastest peer: {', '.join(found)}. The rest of a step are passes over activations."
    ]


def _race(what: str, pattern: str, shown: Iterable[str]) -> str:
    parts = [what]
    results = record.read_all(pattern)
    for result in results.values():
        machine, workloads = result["machine"], result["workloads"]
        cells = [
            cell for name in shown for cell in _workload(name, workloads.get(name, {"rows": {}}))
        ]
        titles = [
            f"- {name}: {WORKLOADS[name].title}; {_conditions(result, workloads.get(name))}."
            for name in shown
        ]
        parts += [
            f"{machine['processor']}, {machine['cores']} cores, {machine['device']}; float32.",
            lines(TITLES, cells, names=2),
            "\n".join(titles),
        ]
    platforms = {result["machine"]["platform"] for result in results.values()}
    parts += [
        f"On {platform}: {NOT_RUN}." for platform in ("cpu", "gpu") if platform not in platforms
    ]
    return "\n\n".join(parts)


def _conditions(result: dict[str, Any], workload: dict[str, Any] | None) -> str:
    if workload is None:
        return NOT_RUN
    return (
        f"metajax {record.version_of({**result, **workload})}, {workload['date']}, when matrix products "
        f"reached {workload['matmul_peak_gflops']:.0f} GFLOP/s"
    )


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
    arithmetic = workload["gigaflop"]
    return [
        f"{_ms(middle)} ({_ms(low)} to {_ms(high)})",
        f"{b:.2f} ({a:.2f} to {c:.2f})",
        f"{row['peak_mb']:.0f}",
        _compilation(row["compile_s"]),
        _compilation(row.get("cached_compile_s", 0.0)),
        ""
        if arithmetic is None
        else f"{100 * arithmetic / middle / workload['matmul_peak_gflops']:.0f} %",
    ]


def _compilation(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds > 0.5 else ""


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
        for name in PROFILED:
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


def adjoints() -> str:
    """Unrolled against mixed mode."""
    what = (
        "One hypergradient of second-order MAML, eight tasks, one device a core; `unrolled` and `mixed_mode` "
        "take turns. Above 1, `mixed_mode` is faster. Reproduce with `python benchmarks/speed/adjoints.py`."
    )
    results = record.read_all("adjoints_*")
    if not results:
        return f"{what} Not run."
    titles = ("network", "inner steps", "time of unrolled over mixed mode (quartiles)")
    titles = (*titles, "MB of temporaries, unrolled", "mixed mode")
    parts = [what]
    for result in results.values():
        cells = []
        for name, found in result["networks"].items():
            low, middle, high = found["unrolled_over_mixed_mode"]
            memory = (f"{found['temporaries_mb'][a]:.2g}" for a in ("unrolled", "mixed_mode"))
            cells.append([*name.split("; "), f"{middle:.2f} ({low:.2f} to {high:.2f})", *memory])
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
    "An outer step with Adam, on ten workloads. [How to be fast](../speed.md) says how "
    "to get there.",
    (
        Section("Time of an outer step", steps),
        Section("Networks of a user", of_users),
        Section("Against an older version", versions),
        Section("Growth", curves, pictures=curve_pictures),
        Section("Adjoints", adjoints),
        Section("Tasks a pass", tasks_a_pass),
        Section("Memory pages", memory_pages),
        Section("Operations", operations),
        Section("First command", fresh_clone),
    ),
)
