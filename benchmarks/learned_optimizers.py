"""Meta-train optimisers, and judge them on new problems beside tuned ones that people wrote.

python benchmarks/learned_optimizers.py quadratics        train (or resume), then judge, one row
python benchmarks/learned_optimizers.py digits --judge-only
python benchmarks/learned_optimizers.py --tables          rewrite the tables in README.md, and pictures

Training is kept in runs/learned_optimizers/ROW-SEED and goes on where it stopped; every family that
was judged is in results/optimizers_ROW-SEED.json, and is not judged again. Rates of the baselines are
chosen for every family, on validation problems of that very family, from 37 on a logarithmic grid.
"""

import argparse
import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record

import metajax as mj
from metajax.adjoints import Adjoint
from metajax.cli.machine import one_device_per_core
from metajax.optimizers.problems import Problem
from metajax.optimizers.tuning import BASELINES, RATES, Tuned, tuned
from metajax.recipes import plots
from metajax.train import loop as training
from metajax.types import LearnedOptimizer

WAY, SHOT = 10, 20
"""Of the digits: 200 images to train on, 200 to validate."""


@dataclass(frozen=True)
class Row:
    """What is trained: an optimiser by name, on a family, for `num_steps` of each problem."""

    optimizer: str
    family: str
    num_steps: int
    outer_steps: int
    meta_batch: int
    outer_rate: float = 1e-3
    task_clip: float = 0.3
    """Greatest norm of the hypergradient of one problem."""
    adjoint: str = "remat"
    optimizer_options: dict[str, float] = dataclasses.field(default_factory=dict)
    judged_on: Literal["support", "query"] = "query"
    """The images whose loss counts, in meta-training, for the rates of baselines, and in the end."""
    log_loss: bool = False
    """Train on the logarithm of the loss, which counts a halving the same wherever it happens."""


ROWS = {
    "quadratics": Row("mlp", "quadratics", 50, 4_000, 16, log_loss=True),
    "quadratics_lstm": Row("lstm", "quadratics", 50, 3_000, 16, log_loss=True),
    "digits": Row("mlp", "digits", 100, 1_200, 4, optimizer_options={"sgd_rate": 1.0}),
    "digits_training": Row(
        "mlp", "digits", 100, 400, 4, 3e-4, task_clip=0.1, judged_on="support", log_loss=True
    ),
    "digits_schedule": Row("schedule of SGD", "digits", 100, 600, 8, 1e-2),
    "digits_lstm": Row("lstm", "digits", 100, 500, 4, adjoint="first_order"),
}


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


def training_problem(row: Row) -> Problem:
    problem = mj.problems.quadratics(10) if row.family == "quadratics" else digits("train")
    return judged_on_support(problem) if row.judged_on == "support" else problem


def judged_on_support(problem: Problem) -> Problem:
    """The same descent, judged by how far down it comes: the loss on what it is trained on."""

    def sample(key):
        support = problem.sample(key).support
        return mj.Task(support=support, query=support)

    return problem._replace(sample=sample)


def families(row: Row) -> dict[str, tuple[Problem, Problem, int]]:
    """In distribution, and outside of it: problems to choose rates on, problems to report, and steps."""
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
    if row.judged_on == "support":
        both = {
            name: (judged_on_support(val), judged_on_support(test))
            for name, (val, test) in both.items()
        }
    judged = {name: (*pair, row.num_steps) for name, pair in both.items()}
    return judged | {"10 x steps": (*both["as trained"], 10 * row.num_steps)}


def optimizer_of(row: Row) -> LearnedOptimizer:
    return OPTIMIZERS[row.optimizer](**row.optimizer_options)


def learner_of(row: Row, problem: Problem, num_steps: int) -> mj.Learner:
    adjoint: Adjoint = getattr(mj, row.adjoint)
    return mj.learned(
        lambda inner: mj.from_scratch(
            problem.model, problem.loss, inner, num_steps, adjoint=adjoint
        ),
        optimizer_of(row),
    )


def outer_optimizer_of(row: Row) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(row.outer_rate, row.outer_steps)),
    )


def train(name: str, row: Row, seed: int, folder: Path) -> mj.TrainState:
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
        estimator=mj.parallel(row.meta_batch, row.meta_batch, mj.clipped(row.task_clip)),
        run_dir=folder,
        settings={"row": name, "seed": seed, **dataclasses.asdict(row)},
        resume=folder.exists(),
    )


def judge(row: Row, meta_params, problems, num_tasks: int) -> dict:
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
        return scores, {"mean": _plain(scores.mean), "interval_95": _plain(scores.interval)}

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
            "val_losses": _plain(best.losses),
            "ours_is_lower_by": float(gap.mean[-1]),
            "ours_is_lower_by_interval_95": float(gap.interval[-1]),
        }
    return result


def _plain(values) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def run(name: str, seed: int, num_tasks: int, judge_only: bool) -> None:
    row = ROWS[name]
    folder = Path("runs/learned_optimizers") / f"{name}-{seed}"
    problem = training_problem(row)
    if not judge_only and int(train(name, row, seed, folder).step) < row.outer_steps:
        return
    step, meta_params = training.restore_meta_params(
        folder,
        learner_of(row, problem, row.num_steps),
        outer_optimizer_of(row),
        problem.sample,
    )
    mj.export(folder / "optimizer.npz", optimizer_of(row), meta_params.optimizer)
    path = record.RESULTS / f"optimizers_{name}-{seed}.json"
    judged = json.loads(path.read_text())["families"] if path.exists() else {}
    result = {
        "row": name,
        "seed": seed,
        "settings": dataclasses.asdict(row),
        "outer_step": step,
        "rates": list(RATES),
        "interval": "1.96 standard deviations over tasks / sqrt(tasks), of one trained optimiser",
        "training_seconds": training.read_metrics(folder)[-1]["training_seconds"],
        **record.context(),
        "families": judged,
    }
    for family, problems in families(row).items():
        if family not in judged:
            judged[family] = judge(row, meta_params, problems, num_tasks)
            record.write(path.stem, result)
            print(_line(family, judged[family]), flush=True)


def _line(family: str, judged: dict) -> str:
    def cell(score):
        mean, interval = score["mean"][-1], score["interval_95"][-1]
        return "diverged" if mean is None else f"{mean:.3g} ± {interval:.1g}"

    baselines = judged["baselines"]
    cells = [f"{cell(b)} ({b['rate']:.2g})" for b in baselines.values()]
    best = min(baselines, key=lambda n: np.inf if (m := baselines[n]["mean"][-1]) is None else m)
    gap, interval = (
        baselines[best][k] for k in ("ours_is_lower_by", "ours_is_lower_by_interval_95")
    )
    verdict = "below" if gap > interval else "above" if gap < -interval else "equal to"
    steps = judged["steps"][-1]
    return f"| {family} | {steps} | {cell(judged['learned'])} | {' | '.join(cells)} | {verdict} {best} |"


def tables() -> str:
    """The results as Markdown, and a picture for each row."""
    lines = [
        "Loss after the last step, on images that were not trained on unless a row says so, mean ± 95 % "
        "interval over test problems; in brackets the best of a grid of rates for that very family. The "
        "last column compares with the best baseline, problem by problem.",
    ]
    for path in sorted(record.RESULTS.glob("optimizers_*.json")):
        result = json.loads(path.read_text())
        minutes, row = result["training_seconds"] / 60, result["settings"]
        on_support = row.get("judged_on") == "support"  # rows of before this setting have none
        lines += [
            "",
            f"{result['row']}, seed {result['seed']}: {row['optimizer']} trained on {row['num_steps']} "
            f"steps of {row['family']} for {result['outer_step']:,} outer steps ({minutes:.0f} min)"
            + ("; loss on the images that are descended." if on_support else "."),
            "",
            f"| problems | steps | learned | {' | '.join(BASELINES)} | learned is |",
            f"|---|---|---|{'---|' * len(BASELINES)}---|",
            *(_line(family, judged) for family, judged in result["families"].items()),
        ]
        picture(result).savefig(path.with_suffix(".png"), dpi=120)
    return "\n".join(lines)


def picture(result: dict):
    from matplotlib.figure import Figure

    judged = result["families"]
    on = result["settings"].get("judged_on", "query")
    figure = Figure(
        figsize=(4 * min(3, len(judged)), 3.4 * -(-len(judged) // 3)), layout="constrained"
    )
    grid = figure.subplots(-(-len(judged) // 3), min(3, len(judged)), squeeze=False)
    for axes, (family, one) in zip(grid.flat, judged.items(), strict=False):
        scores = {"learned": one["learned"], **one["baselines"]}
        for name, score in scores.items():
            mean, interval = (np.array(score[k], float) for k in ("mean", "interval_95"))
            plots.curve(axes, name, one["steps"], mean, interval)
        axes.set(title=family, xlabel="inner step", ylabel=f"{on} loss", yscale="log")
    for axes in list(grid.flat)[len(judged) :]:
        axes.axis("off")
    grid[0, 0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-tasks", type=int, default=64)
    parser.add_argument("--judge-only", action="store_true", help="with the newest checkpoint")
    parser.add_argument("--tables", action="store_true", help="rewrite the tables in README.md")
    arguments = parser.parse_args()
    if arguments.row:
        one_device_per_core()
        run(arguments.row, arguments.seed, arguments.num_tasks, arguments.judge_only)
    if arguments.tables:
        record.put_into_readme("learned_optimizers.py", tables())
