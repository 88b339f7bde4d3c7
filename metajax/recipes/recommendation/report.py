"""A learner of ratings beside its baselines, on its own frozen tasks and on those of other data."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from metajax.evaluation import compare, predictions, score
from metajax.recipes.experiment import Experiment, Report, ScoreTable
from metajax.recipes.recommendation import inputs
from metajax.recipes.recommendation.baselines import BASELINES, FAIR, Setting
from metajax.recipes.recommendation.judge import Judged, Predict, judge
from metajax.recipes.recommendation.prepared import Prepared, prepared, ratings_of
from metajax.types import Learner, Params

_DRAWS = 1 << 40
"""Draws that a seed chooses from; the first is that of the split."""


def predicted(
    p: Prepared, learner: Learner, meta_params: Params, items: inputs.Table | None = None
) -> Predict:
    """Returns the predictions of a learner, in ratings.

    Args:
      p: The prepared ratings.
      learner, meta_params: What predicts.
      items: What the learner reads of items; by default all there is.
    """
    items = inputs.table(p.ratings, p.known) if items is None else items

    def predict(tasks, k):
        batch = inputs.frozen_tasks(items, p.known, p.split, tasks, k)
        found = predictions(learner, meta_params, batch, tasks_per_pass=64)
        return p.known.mean + p.known.deviation * found[..., 0]

    return predict


def judged_baselines(p: Prepared) -> dict[str, Judged]:
    """Every baseline on the test tasks, tuned on validation users."""
    setting = Setting(p.ratings, p.split, p.known)
    return {
        name: judge(p.ratings.scale, fit(setting), p.split.test, p.split.supports)
        for name, fit in BASELINES.items()
    }


def judged(
    p: Prepared,
    learner: Learner,
    meta_params: Params,
    seed: int = 1,
    items: inputs.Table | None = None,
) -> Report:
    """Returns the report of a learner beside its baselines.

    Args:
      p: The prepared ratings.
      learner, meta_params: What is judged.
      seed: Of the draws of test tasks: 1 for those of the split, other draws of the same users otherwise.
      items: What the learner reads of items; by default all there is.
    """
    if seed != 1:
        p = p._replace(split=prepared(p.settings, p.ratings, draw=(seed - 1) % _DRAWS).split)
    name = p.settings.learner
    ours = judge(
        p.ratings.scale, predicted(p, learner, meta_params, items), p.split.test, p.split.supports
    )
    rows = {name: ours, **judged_baselines(p)}
    fair = rows[FAIR]
    differences = {
        row: tuple(
            _pair(compare(score(found.absolute[k]), score(fair.absolute[k])))
            for k in p.split.supports
        )
        for row, found in rows.items()
        if row != FAIR
    }
    users = len(next(iter(fair.absolute.values())))
    title = f"{name} on {users:,} users of {p.ratings.name}, {p.settings.scenario}, split {p.settings.split}"
    return Report(
        title,
        (
            _table("mean absolute error", rows, lambda found, k: _pair(found.mae(k)), 3),
            _table("root of the mean squared error", rows, lambda found, k: found.rmse(k), 3),
            _table("nDCG@5 over rated queries", rows, lambda found, k: _pair(found.ndcg(k)), 4),
            ScoreTable(f"MAE above that of {FAIR}, user by user", _columns(fair), differences, 4),
        ),
        (
            "Draws and queries of a user are averaged first; then means and intervals are over users",
            f"{FAIR} is the fair baseline, to which rows with dots add; all are tuned on validation users",
            "nDCG of the global mean is that of a random order",
        ),
    )


def _columns(found: Judged) -> tuple[str, ...]:
    return tuple(f"{k} rating{'s' * (k > 1)}" for k in found.absolute)


def _pair(found) -> tuple[float, float]:
    return float(found.mean), float(found.interval)


def _table(title, rows, cell, digits) -> ScoreTable:
    cells = {name: tuple(cell(found, k) for k in found.absolute) for name, found in rows.items()}
    return ScoreTable(title, _columns(next(iter(rows.values()))), cells, digits)


def elsewhere(p: Prepared, own: Experiment, on: str, data: str | Path | None) -> Experiment:
    """Returns the experiment of a trained learner on other ratings.

    Statistics of items come from the training users of the other ratings, and their shrinkage is tuned on
    its validation users. Identifiers are unknown there. Tags that the run does not know are left out, and
    those that the other ratings lack are 0. Ratings are in units of their own deviation.

    Args:
      p: The prepared ratings of the run.
      own: The experiment of the run.
      on: The name of a data set, or a file.
      data: The folder of the data sets.

    Raises:
      ValueError: For too few users, and as `ratings_of`.
    """
    other = ratings_of(on, data, "evaluate: on")
    given = replace(p.settings, data_set=on, shrinkage=None)
    there = prepared(given, other)
    items = inputs.table(other, there.known, identified=False)
    items = items._replace(features=jnp.asarray(translated(p, there)))
    return replace(
        own,
        test_name=other.name,
        judge=lambda meta_params, seed: judged(there, own.learner, meta_params, seed, items),
        prepared=None,
    )


def translated(p: Prepared, there: Prepared) -> np.ndarray:
    """The features of other items in the columns of the run's."""
    ours, theirs = p.ratings, there.ratings
    found = np.zeros((len(theirs.items), ours.features.shape[1]), np.float32)
    for column, tag in enumerate(ours.tags):
        if tag in theirs.tags:
            found[:, column] = theirs.features[:, theirs.tags.index(tag)]
    years = ours.features[:, len(ours.tags) :], theirs.features[:, len(theirs.tags) :]
    if years[0].shape[1] == years[1].shape[1]:
        found[:, len(ours.tags) :] = years[1]
    else:
        found[:, len(ours.tags) :] = years[0].mean(axis=0)
    return found
