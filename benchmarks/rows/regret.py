"""Error above that of the best possible learner, on linear-Gaussian tasks."""

from collections.abc import Mapping
from typing import Any

import jax
import optax
import record

import metajax as mj
from rows.table import Page, Section, lines, not_run

DIMENSION, SHOT, NOISE = 4, 10, 0.5
STRENGTH = 2 * NOISE**2 / SHOT
"""With a loss that is a mean over the shots, iMAML's minimum around 0 is then the posterior mean."""
STEPS = (1, 5, 20, 300)
SEEDS = (0, 1, 2)
OUTER_STEPS, META_BATCH, OUTER_RATE = 3_000, 32, 3e-3
TEST_TASKS = 10_000
MODEL = mj.Model(lambda key, x: jax.random.normal(key, (x.shape[1], 1)), lambda w, x: x @ w)
RATE = 0.1
_SGD = optax.sgd(RATE)
_SOLVED = mj.implicit(mj.conjugate_gradient(DIMENSION))
LEARNERS = {
    "from_scratch": mj.from_scratch(MODEL, mj.mse, _SGD, 5),
    "maml": mj.maml(MODEL, mj.mse, _SGD, 5),
    "fomaml": mj.maml(MODEL, mj.mse, _SGD, 5, adjoint=mj.first_order),
    "meta_sgd": mj.meta_sgd(MODEL, mj.mse, 5, rate=RATE),
    "meta_curvature": mj.meta_curvature(MODEL, mj.mse, 5, rate=RATE),
    "imaml": mj.imaml(MODEL, mj.mse, _SGD, 300, strength=STRENGTH, adjoint=_SOLVED),
}
SAMPLE = mj.tasks.linear_gaussian(DIMENSION, SHOT, noise=NOISE)


def text() -> str:
    """The table from the result file."""
    result = record.read("regret")
    if result is None:
        return "Not run: `python benchmarks/regret.py`."
    s, steps = result["settings"], result["steps"]
    note = (
        f"{s['dimension']} dimensions, {s['shot']} shots. The table shows the squared error above that of the "
        f"best possible predictor, {result['best_possible_error']:.3f}, of a linear model after inner steps at "
        f"a rate of {s['inner_rate']:g}: mean ± 95 % interval over {s['num_test_tasks']:,} test tasks, of "
        f"{len(s['seeds'])} trained models, whose lowest and highest are in brackets. All were trained on the "
        "loss after 5 steps, imaml after 300; its strength is the one that the noise asks for. Learned rates "
        "end where 5 steps are barely stable, and more steps are not. "
        f"Measured with metajax {record.version_of(result)}."
    )
    titles = ["", *(f"{n} step" + "s" * (n > 1) for n in steps)]
    rows = result["rows"]
    cells = [
        _cells(name, rows[name]) if name in rows else not_run(name, len(titles))
        for name in LEARNERS
    ]
    return f"{note}\n\n{lines(titles, cells)}"


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    columns = zip(
        row["regret"], row["interval_95"], row["lowest_seed"], row["highest_seed"], strict=True
    )
    return [
        name,
        *(
            f"{mean:z.3f} ± {interval:.3f} ({low:z.3f} to {high:z.3f})"
            if mean is not None and mean < 100
            else "diverged"
            for mean, interval, low, high in columns
        ),
    ]


PAGE = Page(
    "Regret",
    "Tasks `y = w.x + noise` with standard normal weights have a best possible prediction, the posterior "
    "mean, so the error that is left to learn is known. With the strength that the noise asks for, iMAML's "
    "minimum is the posterior mean, and its regret after enough steps is 0. [In-context learners]"
    "(in_context.md) are measured on the same tasks. Reproduce with `python benchmarks/regret.py`.",
    (Section("Linear-Gaussian tasks", text),),
)
