"""Optimisers that are meta-trained, and tuned ones that they are compared with on new problems."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import record

from metajax.recipes import plots
from rows import optimizer_speed
from rows.table import Page, Section, lines


@dataclass(frozen=True)
class Training:
    """An optimiser by name, trained on a family for `num_steps` of each problem.

    task_clip: The greatest norm of the hypergradient of one problem.
    loss_on: The images whose loss is minimised in meta-training, by the rates of baselines, and in
      the table.
    log_loss: Whether to train on the logarithm of the loss, where every halving counts the same.
    """

    optimizer: str
    family: str
    num_steps: int
    outer_steps: int
    meta_batch: int
    outer_rate: float = 1e-3
    task_clip: float = 0.3
    adjoint: str = "remat"
    optimizer_options: dict[str, float] = field(default_factory=dict)
    loss_on: Literal["support", "query"] = "query"
    log_loss: bool = False


ROWS = {
    "digits": Training("mlp", "digits", 100, 1_200, 4, optimizer_options={"sgd_rate": 1.0}),
    "digits_lstm": Training("lstm", "digits", 100, 500, 4, adjoint="first_order"),
    "digits_schedule": Training("schedule of SGD", "digits", 100, 600, 8, 1e-2),
    "digits_training": Training(
        "mlp", "digits", 100, 400, 4, 3e-4, task_clip=0.1, loss_on="support", log_loss=True
    ),
    "quadratics": Training("mlp", "quadratics", 50, 4_000, 16, log_loss=True),
    "quadratics_lstm": Training("lstm", "quadratics", 50, 3_000, 16, log_loss=True),
}


def section(name: str) -> Section:
    """The table and the picture of a row, for each seed."""
    return Section(name, partial(text, name), pictures=partial(pictures, name))


def text(name: str) -> str:
    """The tables of a row from its result files."""
    row, results = ROWS[name], record.read_all(f"optimizers_{name}-*")
    if not results:
        return f"{_what(row.optimizer, row.num_steps, row.family, row.outer_steps)}: not run."
    parts = []
    for stem, result in results.items():
        settings, minutes = result["settings"], result["training_seconds"] / 60
        on = settings.get("loss_on", settings.get("judged_on"))  # its name before 0.2
        families = result["families"]
        baselines = next(iter(families.values()))["baselines"]
        what = _what(
            settings["optimizer"], settings["num_steps"], settings["family"], result["outer_step"]
        )
        parts += [
            f"{what} ({minutes:.0f} min), seed {result['seed']}, metajax {record.version_of(result)}"
            + ("; loss on the images that are descended." if on == "support" else "."),
            lines(
                ["problems", "steps", "learned", *baselines, "learned is"],
                [cells(family, found) for family, found in families.items()],
            ),
            f"![Loss curves of {name}]({stem}.png)",
        ]
    return "\n\n".join(parts)


def _what(optimizer: str, num_steps: int, family: str, outer_steps: int) -> str:
    return f"{optimizer} trained on {num_steps} steps of {family} for {outer_steps:,} outer steps"


def cells(family: str, found: Mapping[str, Any]) -> list[str]:
    """The line of one family of problems."""

    def cell(score):
        mean, interval = score["mean"][-1], score["interval_95"][-1]
        return "diverged" if mean is None else f"{mean:.3g} ± {interval:.1g}"

    baselines = found["baselines"]
    best = min(baselines, key=lambda n: np.inf if (m := baselines[n]["mean"][-1]) is None else m)
    gap = baselines[best]["ours_is_lower_by"]
    interval = baselines[best]["ours_is_lower_by_interval_95"]
    verdict = "below" if gap > interval else "above" if gap < -interval else "equal to"
    return [
        family,
        str(found["steps"][-1]),
        cell(found["learned"]),
        *(f"{cell(b)} ({b['rate']:.2g})" for b in baselines.values()),
        f"{verdict} {best}",
    ]


def pictures(name: str) -> dict[str, Any]:
    """The loss curves of a row, a picture for each seed."""
    results = record.read_all(f"optimizers_{name}-*")
    return {f"{stem}.png": partial(picture, result) for stem, result in results.items()}


def picture(result: Mapping[str, Any]) -> Any:
    """Loss by inner step, a panel for each family of problems."""
    from matplotlib.figure import Figure

    families, settings = result["families"], result["settings"]
    on = settings.get("loss_on", settings.get("judged_on", "query"))
    columns = min(3, len(families))
    figure = Figure(figsize=(4 * columns, 3.4 * -(-len(families) // 3)), layout="constrained")
    grid = figure.subplots(-(-len(families) // 3), columns, squeeze=False)
    for axes, (family, one) in zip(grid.flat, families.items(), strict=False):
        for name, score in {"learned": one["learned"], **one["baselines"]}.items():
            mean, interval = (np.array(score[k], float) for k in ("mean", "interval_95"))
            plots.curve(axes, name, one["steps"], mean, interval)
        axes.set(title=family, xlabel="inner step", ylabel=f"{on} loss", yscale="log")
    for axes in list(grid.flat)[len(families) :]:
        axes.axis("off")
    grid[0, 0].legend(frameon=False)
    return figure


PAGE = Page(
    "Learned optimisers",
    "Each family of problems is tested on 64 new problems, beside SGD, momentum, Adam and NAdamW at the best "
    "of 37 rates for that very family. The tables show the loss after the last step, on images that were not "
    "trained on unless a row says so, mean ± 95 % interval over test problems, and in brackets the best rate. "
    "The last column compares with the best baseline, problem by problem. On digits the loss that is "
    "descended falls far below any tuned baseline (`digits_training`). That carries over to wider and deeper "
    "networks and to ten times the steps, but not to ReLU or clothes. Reproduce a row with "
    "`python benchmarks/learned_optimizers.py ROW`.",
    (*map(section, ROWS), optimizer_speed.SECTION),
)
