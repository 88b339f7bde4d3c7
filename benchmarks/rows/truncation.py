"""Bias, variance and training of truncated estimators, as pictures."""

from typing import Any

import numpy as np
import record

from rows.table import Page, Section

NAMES = {
    "truncated_backprop": "truncated backpropagation",
    "truncated_evolution": "truncated evolution strategies",
    "persistent_evolution": "PES",
    "noise_reuse_evolution": "NRES",
}
HORIZON = 64
LENGTHS = [1, 2, 4, 8, 16, 32, 64]


def bias_and_deviation(result: dict[str, Any]) -> Any:
    """Bias and deviation by truncation length, and the curves of influence balancing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    bias, deviation, curves = figure.subplots(1, 3)
    for name, rows in result["lengths"].items():
        lengths = [row["length"] for row in rows]
        values = np.array([row["bias"] for row in rows])
        error = 1.96 * np.array([row["bias_standard_error"] for row in rows])
        bias.errorbar(lengths, values, yerr=error, marker="o", markersize=3, label=NAMES[name])
        deviations = [row["deviation"] for row in rows]
        if name != "truncated_backprop":  # it draws nothing here
            deviation.plot(lengths, deviations, marker="o", markersize=3, label=NAMES[name])
        else:
            deviation.plot([], [], label=f"{NAMES[name]}: 0")
    bias.set(title="bias", ylabel="of the exact gradient")
    deviation.set(title="standard deviation, for a horizon's inner steps", yscale="log")
    for axis in (bias, deviation):
        axis.set(xscale="log", xlabel=f"truncation length, of a horizon of {HORIZON}")
        axis.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        axis.minorticks_off()
    for name, curve in result["balancing"].items():
        low, middle, high = np.quantile(curve["loss"], [0.0, 0.5, 1.0], axis=1)
        curves.plot(curve["outer_steps"], middle, label=name)
        curves.fill_between(curve["outer_steps"], low, high, alpha=0.2)
    curves.set(title="influence balancing", xlabel="outer steps", ylabel="objective", yscale="log")
    for axis in (bias, deviation, curves):
        _tidy(axis)
    return figure


def race(result: dict[str, Any]) -> Any:
    """The test objective by seconds of training, a curve for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for i, (name, runs) in enumerate(result["roads"].items()):
        for seed, trained in enumerate(runs):
            label = name if seed == 0 else None
            axis.plot(*zip(*trained["curve"], strict=True), color=f"C{i}", label=label)
    axis.set(xlabel="seconds of training", ylabel="test objective, whole horizon", yscale="log")
    _tidy(axis)
    return figure


def _tidy(axis: Any) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)


def _section(title: str, name: str, what: str, alt: str, draw: Any) -> Section:
    def text():
        result = record.read(name)
        if result is None:
            return f"{what}\n\nNot run."
        return f"{what} Measured with metajax {record.version_of(result)}.\n\n![{alt}]({name}.png)"

    def pictures():
        result = record.read(name)
        return {} if result is None else {f"{name}.png": lambda: draw(result)}

    return Section(title, text, pictures=pictures)


PAGE = Page(
    "Truncated estimators",
    "Estimators that make an outer step before the inner loop has ended.",
    (
        _section(
            "Bias and variance",
            "truncation",
            "Linear dynamics of 64 steps, compared with arithmetic on paper: PES and NRES are unbiased at "
            "every truncation length; truncated backpropagation and truncated evolution strategies are not. "
            "Right, the influence-balancing problem of the PES paper, where only the unbiased ones find the "
            "optimum of full backpropagation. Reproduce with `python benchmarks/truncation.py`.",
            "Bias and deviation of truncated estimators against truncation length, and influence balancing",
            bias_and_deviation,
        ),
        _section(
            "At equal wall time",
            "truncation_race",
            "The rates and momentum of SGD are learned over 200 noisy steps with truncations of 10, three "
            "seeds each. PES and NRES soon come close to full backpropagation; truncated backpropagation never "
            "does. Reproduce with `python benchmarks/truncation.py --race`.",
            "Test objective against seconds of training for five estimators",
            race,
        ),
    ),
)
