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
    "[CIFAR-FS](docs/results/cifar_fs.md), 5-way 1-shot, accuracy, trained for 30 minutes": (
        "cifar_protonet",
        "ProtoNets",
        0,
        "55.5 (ProtoNets)",
    ),
    "CIFAR-FS, 5-way 1-shot, accuracy, trained for 30 minutes": (
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


SHOWN = ("metajax", "torch.func + vmap", "higher", "TorchOpt", "plain JAX")


def times() -> str:
    """Milliseconds of an outer step beside peers, as multiples of ours."""
    result = record.read("speed_tuned_cpu")
    if result is None:
        return NOT_RUN
    titles = [
        "",
        *(f"{name}: {what}" for name, what in SHORT.items()),
    ]
    cells = [
        [name, *(_time(name, w, result["workloads"][w]["rows"].get(name)) for w in SHORT)]
        for name in SHOWN
    ]
    machine = result["machine"]
    note = (
        f"Median ms of an outer step on {machine['cores']} cores of an {machine['processor']}, and multiples "
        "of ours; [details](docs/results/speed.md)."
    )
    return f"{lines(titles, cells)}\n\n{note}"


SHORT = {"A": "sine waves, MLP", "B": "Omniglot, conv4-64", "C": "mini-ImageNet, conv4-32"}


def _time(name: str, workload: str, row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOT_RUN if workload in speed.CONTESTANTS[name] else "stopped after minutes"
    milliseconds = 1e3 * row["step_s"]["median"]
    shown = f"{milliseconds:.3g}" if milliseconds < 1e3 else f"{milliseconds:,.0f}"
    return f"{shown} (x {row['times_ours'][1]:.1f})"


PARTS = {"first command": first_command, "accuracy": accuracy, "speed": times}
