"""Learners that adapt by a forward pass, beside the best possible predictor of the same tasks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import record

import metajax as mj
from metajax.recipes.densities import BINS, edges_of
from metajax.recipes.experiment import Experiment
from metajax.recipes.synthetic.icl import Icl
from metajax.recipes.vision.omniglot import Omniglot
from rows import omniglot
from rows.table import Page, Row, Section, lines, not_run

TEST_TASKS = 10_000
Metrics = dict[str, Callable[[Any, Any], jax.Array]]


class Best(NamedTuple):
    """The best possible predictor of some tasks, and what can be measured of it."""

    learner: mj.Learner
    metrics: Metrics


LINEAR = Best(mj.linear_gaussian_optimum(0.5), {"error": mj.mse})
PROCESS = Best(
    mj.gaussian_process_optimum(noise=0.1),
    {"error": mj.error_of_mean, "nll": mj.gaussian_nll, "coverage": mj.coverage},
)


def numbers_alone(experiment: Experiment) -> Metrics:
    """Metrics of predictions that are numbers."""
    return {"error": experiment.metric}


def gaussian(experiment: Experiment) -> Metrics:
    """Metrics of predictions that are a mean and a deviation."""
    return {"error": experiment.metric, "nll": experiment.loss, "coverage": mj.coverage}


def binned(experiment: Experiment) -> Metrics:
    """Metrics of predictions that are a histogram."""
    covered = mj.binned_coverage(edges_of(experiment.train, BINS))
    return {"error": experiment.metric, "nll": experiment.loss, "coverage": covered}


def scores(
    experiment: Experiment,
    learner: mj.Learner,
    meta_params: Any,
    num_tasks: int,
    *,
    metrics: Callable[[Experiment], Metrics],
    best: Best | None,
) -> dict[str, Any]:
    """Tests a learner, and the best possible predictor where it is known, on the same tasks."""

    def score(learner, meta_params, metric):
        options: Any = {"key": jax.random.key(1), "num_tasks": num_tasks, "inductive": False}
        return mj.evaluate(learner, meta_params, experiment.test, metric, **options)

    ours = {name: score(learner, meta_params, m) for name, m in metrics(experiment).items()}
    result = {"ours": {name: numbers(value) for name, value in ours.items()}}
    if best is None:
        return {"scores": result}
    theirs = {name: score(best.learner, (), metric) for name, metric in best.metrics.items()}
    return {
        "scores": {
            **result,
            "best possible": {name: numbers(value) for name, value in theirs.items()},
            "error over the best": float(ours["error"].mean / theirs["error"].mean),
            "regret": numbers(mj.compare(ours["error"], theirs["error"])),
        }
    }


def numbers(score: mj.Score | mj.Evaluation) -> dict[str, float]:
    """What is kept of a score."""
    return {
        "mean": float(score.mean),
        "interval_95": float(score.interval),
        "median": float(np.median(score.values)),
    }


def row(settings: Icl, metrics: Callable[[Experiment], Metrics], best: Best | None) -> Row:
    """A row whose measurement knows the form of the predictions and the optimum."""
    return Row(settings, TEST_TASKS, measure=partial(scores, metrics=metrics, best=best))


_LINEAR = Icl(outer_steps=9_000)
_PROCESS = Icl(source="gaussian_process", outer_rate=1e-3, outer_steps=20_000)
_SINUSOID = replace(_PROCESS, source="sinusoid")
REGRESSION = {
    "in_context_linear_gaussian_transformer": row(_LINEAR, numbers_alone, LINEAR),
    "in_context_linear_gaussian_prior_fitted": row(
        replace(_LINEAR, learner="prior_fitted", outer_steps=4_000), binned, LINEAR
    ),
    "in_context_sinusoid_neural_process": row(
        replace(_SINUSOID, learner="neural_process"), gaussian, None
    ),
    "in_context_sinusoid_attentive_process": row(
        replace(_SINUSOID, learner="attentive_process"), gaussian, None
    ),
    "in_context_gaussian_process_neural_process": row(
        replace(_PROCESS, learner="neural_process"), gaussian, PROCESS
    ),
    "in_context_gaussian_process_attentive_process": row(
        replace(_PROCESS, learner="attentive_process"), gaussian, PROCESS
    ),
    "in_context_gaussian_process_prior_fitted": row(
        replace(_PROCESS, learner="prior_fitted", outer_steps=4_000), binned, PROCESS
    ),
}
OMNIGLOT = {
    f"in_context_omniglot_{name}_5w1s": Row(Omniglot(learner=name, outer_steps=12_000), 4_000)
    for name in ("transformer", "snail")
}

TITLES = (
    *("tasks", "learner", "seed", "squared error", "best possible", "of the best"),
    *("negative log-likelihood", "best possible", "coverage", "outer steps", "metajax"),
)


def table(rows: Mapping[str, Row]) -> str:
    """A line for each trained model."""
    cells = []
    for name in rows:
        results = record.of_row(name)
        cells += [_cells(result) for result in results]
        cells += [] if results else [not_run(name, len(TITLES))]
    return lines(TITLES, cells)


def _cells(result: Mapping[str, Any]) -> list[str]:
    settings, found = result["settings"], result["scores"]
    best, ratio = found.get("best possible", {}), found.get("error over the best")
    tasks = settings["source"].replace("_", " ")
    if settings["source"] == "linear_gaussian":
        tasks += f", {settings['dimension'] or 4} dimensions"
    return [
        f"{tasks}, {settings['shot']} shots",
        settings["learner"].replace("_", " "),
        str(result["seed"]),
        _shown(found["ours"].get("error"), 4),
        _shown(best.get("error"), 4),
        "" if ratio is None else f"{100 * ratio:.0f} %",
        _shown(found["ours"].get("nll"), 3),
        _shown(best.get("nll"), 3),
        _shown(found["ours"].get("coverage"), 1, 100.0, " %"),
        f"{settings['outer_steps']:,}",
        record.version_of(result),
    ]


def _shown(
    score: Mapping[str, float] | None, digits: int, scale: float = 1.0, unit: str = ""
) -> str:
    if score is None:
        return ""
    mean, interval = scale * score["mean"], scale * score["interval_95"]
    return f"{mean:.{digits}f} ± {interval:.{digits}f}{unit}"


NOTE = """\
The best possible predictor knows the distribution of the tasks. Mean ± 95 % interval over test tasks.
Coverage is the share of targets inside the central 95 % interval of the prediction."""

PAGE = Page(
    "In context",
    "Learners that adapt by a forward pass. Reproduce a row with `python benchmarks/accuracy.py ROW`.",
    (
        Section("Regression", lambda: f"{NOTE}\n\n{table(REGRESSION)}", REGRESSION),
        omniglot.section(
            "Omniglot 5-way 1-shot",
            "The convolutions and splits of [Omniglot's page](omniglot.md), where both learners have a row "
            "with 8 minutes of training.",
            OMNIGLOT,
        ),
    ),
)
