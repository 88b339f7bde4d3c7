"""Scorers on frozen tasks of new styles, beside the bounds of any scorer."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from metajax.recipes.language import summary_baselines as baselines
from metajax.recipes.language.styles import Drawn, ideal_observer, styles, utilities
from metajax.recipes.language.summary_baselines import RULES, Scorer
from metajax.recipes.language.summary_data import Prepared
from metajax.types import Learner, Params

TASKS = 600
"""Test tasks of new styles."""
IDEAL, BEST = "Bayes' prediction from the support", "the style itself"


def adapting(learner: Learner, meta_params: Params) -> Scorer:
    """A learner as a scorer."""

    def scorer(task, key):
        return learner.predict(learner.adapt(meta_params, task.support, key), task.query.x)

    return scorer


def style_tasks(p: Prepared, seed: int = 1) -> Drawn:
    """Frozen tasks of new styles on test documents."""
    s = p.settings
    sample: Any = styles(p.test, shot=s.shot, query=s.query, sentences=s.sentences)
    drawn = partial(sample.func.drawn, *sample.args)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 17), TASKS)
    return jax.jit(lambda keys: jax.lax.map(drawn, keys))(keys)


def style_fits(p: Prepared) -> baselines.Fits:
    """The logits of styles, fitted and tuned without test documents."""
    s = p.settings
    train, val = (
        styles(part, shot=s.shot, query=s.query, sentences=s.sentences) for part in (p.train, p.val)
    )
    every = baselines.documents_of(train, jax.random.key(2))
    return baselines.fits_of(every, val, jax.random.key(3), s.sentences)


def style_shares(p: Prepared, ours: Mapping[str, Scorer], seed: int = 1) -> dict[str, np.ndarray]:
    """The share of chosen sentences found in each task, by scorer: ours, the baselines, the bounds."""
    s, drawn = p.settings, style_tasks(p, seed)
    rows = {**ours, **RULES, **baselines.fit_scorers(style_fits(p))}
    rows[IDEAL] = lambda task, key: ideal_observer(task, key, s.sentences)
    found = {name: baselines.shares(row, drawn.task, s.sentences) for name, row in rows.items()}
    preferred = jax.vmap(utilities)(drawn.weights, drawn.task.query.x)
    best = baselines.Found(s.sentences)(preferred, drawn.task.query.y)
    return {**found, BEST: np.asarray(best.mean(axis=-1))}
