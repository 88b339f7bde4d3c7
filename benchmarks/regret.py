"""Trains and tests learners on linear-Gaussian tasks, whose best possible error is known.

python benchmarks/regret.py    writes results/regret.json

Every learner adapts a linear model from a start that is random before training, and regret is taken
task by task. Rows and settings are in rows/regret.py.
"""

import argparse

import jax
import numpy as np
import optax
import record
from rows.regret import (
    DIMENSION,
    LEARNERS,
    META_BATCH,
    NOISE,
    OUTER_RATE,
    OUTER_STEPS,
    RATE,
    SAMPLE,
    SEEDS,
    SHOT,
    STEPS,
    STRENGTH,
    TEST_TASKS,
)
from rows.table import finite

import metajax as mj


def score(learner: mj.Learner, meta_params, num_steps=None) -> mj.Evaluation:
    return mj.evaluate(
        learner,
        meta_params,
        SAMPLE,
        mj.mse,
        key=jax.random.key(1_000),
        num_tasks=TEST_TASKS,
        num_steps=num_steps,
        inductive=False,
    )


def regrets(learner: mj.Learner, best: np.ndarray, seed: int) -> np.ndarray:
    """Regret of every test task after each of `STEPS`, `(tasks, steps)`, of one trained model."""
    state = mj.fit(
        learner,
        mj.query_loss(learner, mj.mse),
        optax.chain(
            mj.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(OUTER_RATE, OUTER_STEPS)),
        ),
        SAMPLE,
        key=jax.random.key(seed),
        outer_steps=OUTER_STEPS,
        meta_batch=META_BATCH,
        show_progress=False,
    )
    return np.asarray(score(learner, state.meta_params, STEPS).values) - best[:, None]


def main() -> None:
    np.seterr(invalid="ignore")  # a diverged learner has no deviation
    best = np.asarray(score(mj.linear_gaussian_optimum(NOISE), ()).values)
    rows = {}
    for name, learner in LEARNERS.items():
        found = np.stack([regrets(learner, best, seed) for seed in SEEDS])
        of_models = found.mean(axis=1)
        deviation = found.mean(axis=0).std(axis=0, ddof=1)
        rows[name] = {
            "regret": finite(of_models.mean(axis=0)),
            "interval_95": finite(1.96 * deviation / np.sqrt(TEST_TASKS)),
            "lowest_seed": finite(of_models.min(axis=0)),
            "highest_seed": finite(of_models.max(axis=0)),
        }
        print(name, rows[name]["regret"], flush=True)
    settings = {
        "dimension": DIMENSION,
        "shot": SHOT,
        "noise": NOISE,
        "inner_rate": RATE,
        "strength": STRENGTH,
        "outer_steps": OUTER_STEPS,
        "meta_batch": META_BATCH,
        "outer_rate": OUTER_RATE,
        "num_test_tasks": TEST_TASKS,
        "seeds": SEEDS,
    }
    result = {
        "steps": STEPS,
        "rows": rows,
        "best_possible_error": float(best.mean()),
        "settings": settings,
        "interval": "1.96 standard deviations over tasks of the mean over seeds / sqrt(tasks)",
    }
    record.write("regret", {**result, **record.context()})


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
