"""The short tables of README.md: a few rows of the pages, with links to them."""

from collections.abc import Mapping
from typing import Any

import record

from rows import speed
from rows.sinusoid import digits
from rows.table import NOT_RUN, lines


def first_command() -> str:
    """How long it takes."""
    result = record.read("fresh_clone")
    return NOT_RUN if result is None else speed.installation(result)


ACCURACY = {
    "[Sine waves](docs/results/sinusoid.md), 5 shots, squared error": (
        "sinusoid_default",
        "MAML, 10 inner steps",
        -1,
        "0.35 (MAML)",
    ),
    "[Omniglot](docs/results/omniglot.md), 5-way 1-shot, accuracy, trained for 25 minutes": (
        "omniglot_maml_5w1s",
        "MAML",
        0,
        "98.7 (MAML)",
    ),
    "Omniglot, 20-way 1-shot, accuracy, trained for 20 minutes": (
        "twenty_protonet",
        "ProtoNets",
        0,
        "94.5 (ProtoNets)",
    ),
    "[CIFAR-FS](docs/results/cifar_fs.md), 5-way 1-shot, accuracy, ResNet-12 for 40 minutes": (
        "cifar_resnet12_simpleshot",
        "SimpleShot",
        0,
        "65 to 72 (twice as wide, days of training)",
    ),
    "CIFAR-FS, 5-way 1-shot, accuracy, four layers for 30 minutes": (
        "cifar_r2d2",
        "R2-D2",
        0,
        "65.3 (R2-D2, wider network)",
    ),
}
"""Tasks to a row, its learner, the column that is shown, and the published number."""


def accuracy() -> str:
    """One row for each field, of the first seed."""
    cells = []
    for tasks, (row, learner, column, published) in ACCURACY.items():
        results = record.of_row(row)
        shown = _score(results[0], column) if results else NOT_RUN
        cells.append([tasks, learner, shown, published])
    titles = ["tasks", "learner", "here (mean ± 95 % interval)", "published"]
    return lines(titles, cells)


def _score(result: Mapping[str, Any], column: int) -> str:
    score = result["transductive"]
    mean, interval = score["mean"][column], score["interval_95"][column]
    if result["recipe"] == "sinusoid":
        return digits(mean, interval)
    return f"{mean:.2f} ± {interval:.2f} %"


SHORT = {
    "A": "MAML, sine waves, perceptron",
    "B": "MAML, Omniglot, conv4 of 64",
    "C": "MAML, mini-ImageNet, conv4 of 32",
    "D": "MAML, convolutions and LayerNorm",
    "E": "MAML, Transformer on tokens",
    "F": "ProtoNets, conv4 of 64 with BatchNorm",
    "G": "MAML, ResNet-12",
    "H": "ANIL, the network of D",
    "J": "Transformer in context",
}
PLAIN = "plain JAX"


def times() -> str:
    """Milliseconds of an outer step, beside the fastest peer and plain JAX as multiples of ours."""
    files = (record.read(f"speed_{group}_cpu") for group in ("tuned", "networks"))
    results = [result for result in files if result is not None]
    workloads = {name: w for result in results for name, w in result["workloads"].items()}
    if not workloads:
        return NOT_RUN
    cells = [_times(name, workloads[name]["rows"]) for name in SHORT if name in workloads]
    machines = {"{cores} cores, {processor}".format(**result["machine"]) for result in results}
    note = (
        "Median ms of an outer step, and multiples of ours: above 1, metajax is faster. A to C are written in "
        "metajax's operations, the others in plain flax. The fastest peer is that of higher, TorchOpt, "
        f"and PyTorch with its loops, `vmap` and `torch.compile`. {' and '.join(sorted(machines))}; "
        "[details](docs/results/speed.md)."
    )
    return f"{lines(['', 'metajax', 'fastest peer', PLAIN], cells)}\n\n{note}"


def _times(name: str, rows: Mapping[str, Any]) -> list[str]:
    """The cells of a workload."""
    milliseconds = 1e3 * rows["metajax"]["step_s"]["median"]
    ratio = {
        peer: row["times_ours"][1]
        for peer, row in rows.items()
        if not peer.startswith("metajax") and "error" not in row
    }
    plain = ratio.pop(PLAIN, None)
    best = min(ratio, key=lambda peer: ratio[peer])
    return [
        f"{name}: {SHORT[name]}",
        f"{milliseconds:.3g}" if milliseconds < 1e3 else f"{milliseconds:,.0f}",
        f"x {ratio[best]:.2g} ({best})",
        "" if plain is None else f"x {plain:.2g}",
    ]


PARTS = {"first command": first_command, "accuracy": accuracy, "speed": times}
