"""Few-shot regression of sine waves."""

from collections.abc import Mapping
from dataclasses import replace

import record

from metajax.recipes.synthetic.sinusoid import Sinusoid
from rows.table import Page, Row, Section, lines, not_run, training_time

TEST_TASKS = 10_000

PAPER = Sinusoid(
    loss_steps=(1,),
    meta_batch=25,
    inner_rate=0.01,
    inner_clip=float("inf"),
    outer_rate=1e-3,
    warm_up=0.0,
    clip=None,
    cosine=False,
    outer_steps=70_000,
)
MAML = {
    "sinusoid_paper": ("maml, the paper's settings", PAPER),
    "sinusoid_default": ("maml, `metajax train sinusoid`", Sinusoid()),
    "sinusoid_recipe": ("maml, the same for 70,000 outer steps", Sinusoid(outer_steps=70_000)),
}

_TO_FIVE = (1, 1, 1, 2, 3, 4, 5)
_SLOWER = Sinusoid(meta_batch=25, outer_rate=1e-3, warm_up=0.0)
FAMILY = {
    "anil": replace(_SLOWER, learner="anil", loss_steps=_TO_FIVE),
    "meta_sgd": replace(_SLOWER, learner="meta_sgd", loss_steps=(1,)),
    "mamlpp": replace(_SLOWER, learner="mamlpp", loss_steps=(1, 2)),
    "alfa": replace(_SLOWER, learner="alfa", loss_steps=(1,)),
    "meta_curvature": replace(_SLOWER, learner="meta_curvature", loss_steps=_TO_FIVE),
    "cavia": replace(_SLOWER, learner="cavia", loss_steps=_TO_FIVE, clip=None),
    "imaml": replace(_SLOWER, learner="imaml", clip=10.0, outer_steps=10_000),
    "from_scratch": Sinusoid(learner="from_scratch", meta_batch=25, outer_steps=1),
}
"""Learned inner rates grow until the inner loop is barely stable, and then it overflows for one task in
many thousands. With five steps and clipping, that happened to meta_sgd in outer step 650. With an outer
rate of 1e-3 it happened to mamlpp in step 1,946; with 3e-4 in step 12,952; with a schedule of 10,000
steps in step 2,037, and to alfa in step 1,788. They are therefore trained on fewer inner steps, meta_sgd
on one as in its paper.

imaml takes 32 inner steps of Adam and a proximal strength of 5. Its hypergradient does not depend on the
path of the inner loop, so nothing keeps the curvature below what SGD can follow. With SGD at rates from
0.005 to 0.02 and strengths from 10 to 50, the inner loop overflowed before outer step 1,500. A strength of
2 or less does not outweigh the negative curvature, down to -2.8 at the start, and hardly anything is
learned. After 20,000 outer steps the error after 32 steps is 1.64: the longer training lasts, the less
32 steps suffice for convergence."""

NAMES = {row: name for row, (name, _) in MAML.items()} | {f"sinusoid_{n}": n for n in FAMILY}
ROWS = {row: Row(settings, TEST_TASKS) for row, (_, settings) in MAML.items()} | {
    f"sinusoid_{name}": Row(settings, TEST_TASKS) for name, settings in FAMILY.items()
}

TITLES = (
    *("", "seed", "mean after 1 step", "5 steps", "10 steps", "median after 1 step", "5", "10"),
    *("training", "metajax"),
)
SHOWN = slice(1, 4)
"""Of the columns, those after 1, 5 and 10 steps."""


def table(rows: Mapping[str, Row]) -> str:
    """A line for each trained model."""
    cells = [["Finn et al. 2017, table 2", "", "0.67", "0.38", "0.35", "", "", "", "", ""]]
    for name, row in rows.items():
        results = record.of_row(name)
        cells += [_cells(NAMES[name], row, result) for result in results]
        cells += [] if results else [not_run(NAMES[name], len(TITLES))]
    return lines(TITLES, cells)


def _cells(name: str, row: Row, result: Mapping) -> list[str]:
    score = result["transductive"]
    means = [
        "diverged on some tasks" if m is None or m > 100 else digits(m, i)
        for m, i in zip(score["mean"], score["interval_95"], strict=True)
    ]
    medians = ["" if m is None else digits(m) for m in score["median"]]
    if means[4:]:
        name += f" ({means[4]} after {result['columns'][4].removeprefix('step ')})"
    time, version = training_time(row, result), record.version_of(result)
    return [name, str(result["seed"]), *means[SHOWN], *medians[SHOWN], time, version]


def digits(value: float, interval: float | None = None) -> str:
    """Two digits after the point, or three for what is below a tenth."""
    places = 2 if value >= 0.1 else 3
    return f"{value:.{places}f}" + ("" if interval is None else f" ± {interval:.{places}f}")


NOTE = """\
MAML's distribution of sine waves; trained with 10 shots, tested with 5. The table shows the mean squared
error, mean ± 95 % interval over 10,000 test tasks, and the median task. A line is one trained model.

Learned inner rates end where the inner loop is barely stable, so meta_sgd and alfa were trained on the loss
after one inner step, and mamlpp on the losses after one and two. anil, meta_curvature and cavia were trained
on the losses after one to five steps, `metajax train sinusoid` after one to three, and imaml after all 32
Adam steps of its inner loop. Except for `metajax train sinusoid` and its 70,000 steps, the outer rate was
1e-3 without warm-up, the meta-batch was 25, and inner gradients were not clipped, so rare tasks overflow."""

PAGE = Page(
    "Sine waves",
    "Reproduce a row with `python benchmarks/accuracy.py ROW --seed SEED`.",
    (Section("Mean squared error", lambda: f"{NOTE}\n\n{table(ROWS)}", ROWS),),
)
