"""Hand-made optimisers at their best rates, which a learned one is compared with."""

import functools
from typing import Any, NamedTuple

import jax

from metajax.evaluation import evaluate
from metajax.learners.from_scratch import from_scratch
from metajax.optimizers.problems import Problem
from metajax.optimizers.tuning import BASELINES, RATES, tuned
from metajax.recipes.experiment import Baseline, Baselines
from metajax.types import LearnedOptimizer, Learner, Params

_TUNING_KEY = 2_000_003


class Parts(NamedTuple):
    """What the pieces of the experiment share: resolved settings, problems, and the learner."""

    settings: Any
    train: Problem
    val: Problem
    test: Problem
    optimizer: LearnedOptimizer
    learner: Learner


def baselines_of(parts: Parts) -> Baselines:
    """Hand-made optimisers from a fresh start, each at the best rate on validation problems."""
    s, model, loss = parts.settings, parts.train.model, parts.train.loss

    @functools.cache
    def rates() -> dict[str, float]:
        key = jax.random.key(s.seed + _TUNING_KEY)
        return {
            name: tuned(make, parts.val, s.num_steps, key=key).rate
            for name, make in BASELINES.items()
        }

    def baseline(name, rate, key, num_tasks, num_steps, mesh) -> Baseline:
        learner = from_scratch(model, loss, BASELINES[name](rate), s.num_steps)
        scores = evaluate(
            learner,
            learner.init(key, None),
            parts.test.sample,
            loss,
            key=key,
            num_tasks=num_tasks,
            num_steps=num_steps,
            inductive=False,
            mesh=mesh,
        )
        note = (
            f"from a fresh start, with the best of {len(RATES)} rates after {s.num_steps} steps of "
            "other problems"
        )
        return Baseline(f"{name}, rate {rate:.2g}", scores, note)

    return lambda *asked: tuple(baseline(name, rate, *asked) for name, rate in rates().items())


def picture(parts: Parts, baselines: Baselines, meta_params: Params) -> Any:
    """The loss curves of the learned optimiser and of the baselines."""
    from metajax.recipes import plots  # loads matplotlib

    s = parts.settings
    steps = tuple(range(0, 2 * s.num_steps + 1, max(1, s.num_steps // 20)))
    key = jax.random.key(4)
    ours = evaluate(
        parts.learner,
        meta_params,
        parts.test.sample,
        parts.train.loss,
        key=key,
        num_tasks=64,
        num_steps=steps,
        inductive=False,
    )
    others = {found.name: found.scores for found in baselines(key, 64, steps, None)}
    curves = {name: (c.mean, c.interval) for name, c in ({s.learner: ours} | others).items()}
    return plots.loss_curves(steps, curves, s.num_steps)
