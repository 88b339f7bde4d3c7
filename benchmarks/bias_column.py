"""Whether the heads of R2-D2 and LR-D2 should have a bias column, on validation tasks of Omniglot.

python benchmarks/bias_column.py     trains what runs/bias_column.json lacks, writes results/bias_column.json

The data are in the folder that METAJAX_DATA names. Every head is trained from the same seeds on the
same 20-way 1-shot tasks, as in the rows `FAMILY` of accuracy.py, and validated on the same 5-way 1-shot
tasks of characters that are in neither training nor test set. The network is conv4 with 64 filters:
256 features.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record

import metajax as mj

NAME = "bias_column"
SETTINGS = {"outer_steps": 300, "meta_batch": 8, "train_way": 20, "way": 5, "shot": 1, "rate": 1e-3}
VALIDATION_TASKS, SEEDS = 1_000, (0, 1, 2)
HEADS = {"r2d2": mj.r2d2, "lrd2": partial(mj.lrd2, num_steps=5)}


def values_after_training(head: str, bias: float, seed: int) -> np.ndarray:
    """Accuracies on the validation tasks, `(tasks,)`."""
    learner = HEADS[head](mj.conv4(None, filters=64), bias=bias)
    train = mj.tasks.omniglot("train", way=SETTINGS["train_way"], distortion=0.1)
    validation = mj.tasks.omniglot("val", way=SETTINGS["way"])
    objective = mj.query_loss(learner, mj.cross_entropy)
    init, update = mj.outer_step(objective, optax.adam(SETTINGS["rate"]))
    init_key, train_key, validation_key = jax.random.split(jax.random.key(seed), 3)

    @jax.jit
    def step(state):
        task_key, update_key = jax.random.split(jax.random.fold_in(train_key, state.step))
        tasks = jax.vmap(train)(jax.random.split(task_key, SETTINGS["meta_batch"]))
        return update(state, tasks, update_key)

    state = init(learner.init(init_key, train(init_key).support.x))
    for i in range(SETTINGS["outer_steps"]):
        state, metrics = step(state)
        if i % 50 == 0:
            print(head, bias, seed, i, float(metrics.loss), flush=True)
    options = {"key": validation_key, "num_tasks": VALIDATION_TASKS}
    scores = mj.evaluate(learner, state.meta_params, validation, mj.accuracy, **options)
    return np.asarray(scores.values)


def summary(values: dict[str, list[float]]) -> dict:
    """Means over seeds, in percent, and the difference with the 95 % interval over tasks of all seeds."""
    found = {}
    for head in HEADS:
        pairs = [
            (np.asarray(values[f"{head}-{seed}-bias"]), np.asarray(values[f"{head}-{seed}-none"]))
            for seed in SEEDS
            if {f"{head}-{seed}-bias", f"{head}-{seed}-none"} <= values.keys()
        ]
        if pairs:
            with_bias, without = (jnp.concatenate(side) for side in zip(*pairs, strict=True))
            difference = mj.score(100 * (with_bias - without))
            found[head] = {
                "seeds": len(pairs),
                "bias": float(100 * with_bias.mean()),
                "no_bias": float(100 * without.mean()),
                "difference": float(difference.mean),
                "interval": float(difference.interval),
                "by_seed": [float(100 * (b - n).mean()) for b, n in pairs],
            }
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    kept = Path("runs") / f"{NAME}.json"  # of every task, to go on where it stopped
    values = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in SEEDS:
        for head in HEADS:
            for bias in (0.0, 1.0):
                row = f"{head}-{seed}-{'bias' if bias else 'none'}"
                if row not in values:
                    values[row] = [float(v) for v in values_after_training(head, bias, seed)]
                    kept.parent.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(values))
                    result = {"settings": SETTINGS | {"validation_tasks": VALIDATION_TASKS}}
                    record.write(NAME, result | {"summary": summary(values)} | record.context())
                    print(row, np.mean(values[row]), flush=True)


if __name__ == "__main__":
    main()
