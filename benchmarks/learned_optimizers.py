"""Meta-trains optimisers, and tests them on new problems beside tuned ones that people wrote.

python benchmarks/learned_optimizers.py quadratics            train (or resume), then test, one row
python benchmarks/learned_optimizers.py digits --test-only    test the newest checkpoint

Rows are in rows/learned_optimizers.py. Training is kept in runs/learned_optimizers/ROW-SEED and goes on
where it stopped; every family that was tested is in results/optimizers_ROW-SEED.json and is not tested
again. Rates of the baselines are chosen for every family, on validation problems of that very family,
from 37 on a logarithmic grid.
"""

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record
from rows.learned_optimizers import ROWS, Training, cells
from rows.table import finite

import metajax as mj
from metajax.adjoints import Adjoint
from metajax.cpu import prepare_cpu
from metajax.optimizers.problems import Problem
from metajax.optimizers.tuning import BASELINES, RATES, Tuned, tuned
from metajax.train import checkpoint
from metajax.types import LearnedOptimizer

WAY, SHOT = 10, 20
"""Classes and images of each: 200 images to train on, 200 to validate."""


OPTIMIZERS = {
    "mlp": mj.optimizers.mlp,
    "lstm": mj.optimizers.lstm,
    "schedule of SGD": partial(mj.optimizers.schedule, "sgd", 100, rate=3.0),
}


def digits(subset: Literal["train", "val", "test"], **shape: Any) -> Problem:
    sample = mj.tasks.mnist(subset, way=WAY, shot=SHOT, query_shot=SHOT, size=14)
    return mj.problems.mlps(sample, WAY, **shape)


def fashion(subset: Literal["train", "val", "test"]) -> Problem:
    options: Any = {"way": WAY, "shot": SHOT, "query_shot": SHOT, "size": 14}
    sample = mj.tasks.fashion_mnist(subset, **options, part="subset")
    return mj.problems.mlps(sample, WAY)


def training_problem(row: Training) -> Problem:
    problem = mj.problems.quadratics(10) if row.family == "quadratics" else digits("train")
    return on_support(problem) if row.loss_on == "support" else problem


def on_support(problem: Problem) -> Problem:
    """The same problem with the support set as queries: how far its own loss is descended."""

    def sample(key):
        support = problem.sample(key).support
        return mj.Task(support=support, query=support)

    return problem._replace(sample=sample)


def families(row: Training) -> dict[str, tuple[Problem, Problem, int]]:
    """In distribution and outside of it: problems to choose rates on, problems to report, and steps."""
    if row.family == "quadratics":
        found = {
            "as trained": mj.problems.quadratics(10),
            "5 x dimension": mj.problems.quadratics(50),
            "10 x condition": mj.problems.quadratics(10, condition=1000.0),
        }
        both = {name: (problem, problem) for name, problem in found.items()}
    else:
        shapes: dict[str, dict[str, Any]] = {
            "as trained": {},
            "2 x width": {"width": 40},
            "2 x depth": {"depth": 2},
            "ReLU for sigmoid": {"activation": "relu"},
        }
        both = {
            name: (digits("val", **shape), digits("test", **shape))
            for name, shape in shapes.items()
        }
        # Nothing was trained on clothes, so the largest part of them can be reported.
        both["clothes for digits"] = (fashion("test"), fashion("train"))
    if row.loss_on == "support":
        both = {name: (on_support(val), on_support(test)) for name, (val, test) in both.items()}
    tested = {name: (*pair, row.num_steps) for name, pair in both.items()}
    return tested | {"10 x steps": (*both["as trained"], 10 * row.num_steps)}


def optimizer_of(row: Training) -> LearnedOptimizer:
    return OPTIMIZERS[row.optimizer](**row.optimizer_options)


def learner_of(row: Training, problem: Problem, num_steps: int) -> mj.Learner:
    adjoint: Adjoint = getattr(mj, row.adjoint)
    return mj.learned(
        lambda inner: mj.from_scratch(
            problem.model, problem.loss, inner, num_steps, adjoint=adjoint
        ),
        optimizer_of(row),
    )


def outer_optimizer_of(row: Training) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(row.outer_rate, row.outer_steps)),
    )


def train(name: str, row: Training, seed: int, folder: Path) -> mj.TrainState:
    problem = training_problem(row)
    learner = learner_of(row, problem, row.num_steps)

    def loss(predictions, targets):
        value = problem.loss(predictions, targets)
        return jnp.log(value + 1e-8) if row.log_loss else value

    return mj.fit(
        learner,
        mj.query_loss(learner, loss, num_steps=range(row.num_steps // 2, row.num_steps + 1)),
        outer_optimizer_of(row),
        problem.sample,
        key=jax.random.key(seed),
        outer_steps=row.outer_steps,
        meta_batch=row.meta_batch,
        estimator=mj.sharded(mj.task_mesh(row.meta_batch), mj.clipped(row.task_clip)),
        run_dir=folder,
        settings={"row": name, "seed": seed, **dataclasses.asdict(row)},
        resume=folder.exists(),
    )


def compared(row: Training, meta_params, problems, num_tasks: int) -> dict:
    """Loss curves of the learned optimiser and of each baseline at its best rate, on the same tasks."""
    val, test, steps = problems
    stops = tuple(sorted({round(s) for s in np.linspace(0, steps, 51)}))

    def curve(learner, meta_params):
        scores = mj.evaluate(
            learner,
            meta_params,
            test.sample,
            test.loss,
            key=jax.random.key(1),
            num_tasks=num_tasks,
            num_steps=stops,
            inductive=False,
        )
        return scores, {"mean": finite(scores.mean), "interval_95": finite(scores.interval)}

    ours, written = curve(learner_of(row, test, steps), meta_params)
    result = {"steps": stops, "num_tasks": num_tasks, "learned": written, "baselines": {}}
    for name, make in BASELINES.items():
        best: Tuned = tuned(make, val, steps, key=jax.random.key(2), num_tasks=num_tasks)
        learner = mj.from_scratch(test.model, test.loss, make(best.rate), steps)
        scores, written = curve(learner, ())
        gap = mj.compare(scores, ours)
        result["baselines"][name] = {
            **written,
            "rate": best.rate,
            "rate_at_an_end_of_the_grid": best.rate in (RATES[0], RATES[-1]),
            "val_losses": finite(best.losses),
            "ours_is_lower_by": float(gap.mean[-1]),
            "ours_is_lower_by_interval_95": float(gap.interval[-1]),
        }
    return result


def run(name: str, seed: int, num_tasks: int, test_only: bool) -> None:
    row = ROWS[name]
    folder = Path("runs/learned_optimizers") / f"{name}-{seed}"
    problem = training_problem(row)
    if not test_only and int(train(name, row, seed, folder).step) < row.outer_steps:
        return
    learner = learner_of(row, problem, row.num_steps)
    like = jax.eval_shape(
        lambda key: learner.init(key, problem.sample(key).support.x), jax.random.key(0)
    )
    meta_params = checkpoint.restore(folder / "checkpoints", like, part="meta_params")
    reported = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    mj.optimizers.export(folder / "optimizer.npz", optimizer_of(row), meta_params.optimizer)
    path = record.RESULTS / f"optimizers_{name}-{seed}.json"
    tested = json.loads(path.read_text())["families"] if path.exists() else {}
    result = {
        "row": name,
        "seed": seed,
        "settings": dataclasses.asdict(row),
        "outer_step": checkpoint.latest(folder / "checkpoints"),
        "rates": list(RATES),
        "interval": "Student's t times the standard deviation over tasks / sqrt(tasks), of one optimiser",
        "training_seconds": reported["training_seconds"],
        **record.context(),
        "families": tested,
    }
    for family, problems in families(row).items():
        if family not in tested:
            tested[family] = compared(row, meta_params, problems, num_tasks)
            record.write(path.stem, result)
            print(*cells(family, tested[family]), sep=" | ", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-tasks", type=int, default=64)
    parser.add_argument("--test-only", action="store_true", help="with the newest checkpoint")
    arguments = parser.parse_args()
    if arguments.row:
        prepare_cpu()
        run(arguments.row, arguments.seed, arguments.num_tasks, arguments.test_only)
