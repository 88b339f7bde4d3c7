"""Meta-learns a metric and a k for k-nearest neighbours on Omniglot, and compares with plain ones.

python benchmarks/knn_omniglot.py             writes results/knn_omniglot.json
python benchmarks/knn_omniglot.py --choose    scores on validation tasks, by which settings were chosen

Plain is the Euclidean distance between images, with the k that is best on validation tasks. Learning
starts there, with a 7 x 7 filter of the images, the weight of every pixel after it, and k. Rows and
settings are in rows/without_derivatives.py.
"""

import argparse
import dataclasses
import time
from typing import Literal

import jax
import jax.numpy as jnp
import optax
import record
from rows.without_derivatives import SHOTS, TEST_TASKS, TRAININGS, VALIDATION_TASKS, Training

import metajax as mj

SIDE = 7


def apply_filter(kernel, x):
    """Images `(n, h, w, 1)` under a filter, flattened; perturbed filters share the patches."""
    patches = jax.lax.conv_general_dilated_patches(
        x, (SIDE, SIDE), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return (patches @ kernel).reshape(len(x), -1)


FILTERED = mj.Model(lambda key, x: jnp.zeros(SIDE**2).at[SIDE**2 // 2].set(1.0), apply_filter)
"""At the start the filter returns the image itself."""


def error_rate(predictions, labels):
    return 1 - mj.accuracy(predictions, labels)


Subset = Literal["train", "val", "test"]


def source(subset: Subset, shot: int):
    return mj.tasks.omniglot(subset, way=5, shot=shot, query_shot=5)


def learn(shot: int, settings: Training):
    """Returns the learner, its meta-parameters after training, and the seconds of training."""
    if settings.pairs:
        learner, loss = mj.knn(FILTERED, settings.k), error_rate
        estimator = mj.evolution(settings.pairs, settings.sigma)
    else:
        learner, loss = mj.knn(FILTERED, settings.k, vote="distance"), mj.cross_entropy
        estimator = jax.value_and_grad
    started = time.perf_counter()
    state = mj.fit(
        learner,
        mj.query_loss(learner, loss),
        optax.adam(optax.cosine_decay_schedule(settings.rate, settings.outer_steps)),
        source("train", shot),
        key=jax.random.key(0),
        outer_steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        estimator=estimator,
        show_progress=False,
    )
    return learner, state.meta_params, time.perf_counter() - started


def score(learner, meta_params, subset: Subset, shot: int):
    """Accuracy in %, with each query predicted alone; one key for all, so the tasks are the same."""
    return mj.evaluate(
        learner,
        meta_params,
        source(subset, shot),
        lambda predictions, labels: 100 * mj.accuracy(predictions, labels),
        key=jax.random.key(1),
        num_tasks=TEST_TASKS if subset == "test" else VALIDATION_TASKS,
        inductive=False,  # predictions of queries do not depend on each other
    )


def plain(k: int):
    learner = mj.knn(mj.pixels, k)
    return learner, learner.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


def best_plain(shot: int) -> tuple[int, dict]:
    ks = (1, 3, 5, 7) if shot > 1 else (1,)  # with one example each, more neighbours only tie
    scores = {k: float(score(*plain(k), "val", shot).mean) for k in ks}
    return max(scores, key=lambda k: scores[k]), scores


def measure() -> None:
    result = {**record.context(), "way": 5, "test_tasks": TEST_TASKS, "rows": []}
    for shot in SHOTS:
        k, validation = best_plain(shot)
        baseline = score(*plain(k), "test", shot)
        ends = {"mean": float(baseline.mean), "interval": float(baseline.interval)}
        row = {"name": "plain", "shot": shot, "k": k, "validation": validation, **ends}
        result["rows"].append(row)
        for name, settings in TRAININGS.items():
            learner, nearness, seconds = learn(shot, settings)
            scores = score(learner, nearness, "test", shot)
            gain = mj.compare(scores, baseline)
            row = {
                "name": name,
                "shot": shot,
                "settings": dataclasses.asdict(settings),
                "k": round(float(jnp.exp(nearness.log_k)), 2),
                "mean": float(scores.mean),
                "interval": float(scores.interval),
                "gain": float(gain.mean),
                "gain_interval": float(gain.interval),
                "training_seconds": round(seconds, 1),
                "filter": nearness.embed.reshape(SIDE, SIDE).round(3).tolist(),
            }
            result["rows"].append(row)
        for row in result["rows"][-3:]:
            print({key: value for key, value in row.items() if key != "filter"}, flush=True)
        record.write("knn_omniglot", result)


def choose() -> None:
    print("plain", best_plain(1)[1], flush=True)
    for changes in ({}, {"rate": 0.05}, {"sigma": 0.1}):
        for settings in TRAININGS.values():
            if "sigma" in changes and not settings.pairs:
                continue
            settings = dataclasses.replace(settings, **changes)
            learner, nearness, seconds = learn(1, settings)
            scores = score(learner, nearness, "val", 1)
            print(settings, float(scores.mean), f"{seconds:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choose", action="store_true")
    arguments = parser.parse_args()
    if arguments.choose:
        choose()
    else:
        measure()
