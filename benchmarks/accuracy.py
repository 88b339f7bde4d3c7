"""Train and test the rows of README's results, keep each as JSON, and write the tables from those.

python benchmarks/accuracy.py sinusoid_paper --seed 1     train (or resume, or only test) one row
python benchmarks/accuracy.py family_anil                a learner of the family, for eight minutes
python benchmarks/accuracy.py --tables                    rewrite the tables in README.md

Runs are kept in runs/accuracy/ROW-SEED and go on where they stopped; results are in
results/ROW-SEED.json. Nothing is selected on test tasks: the last checkpoint is the one tested.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import record

import metajax as mj
from metajax import recipes, training
from metajax.devices import one_device_per_core
from metajax.recipes import images, omniglot
from metajax.recipes.choices import ClassifierName
from metajax.recipes.omniglot import Omniglot
from metajax.recipes.sinusoid import Sinusoid

ROWS = {
    "sinusoid_paper": Sinusoid(
        judged_steps=(1,), inner_rate=0.01, outer_rate=1e-3, cosine=False, outer_steps=70_000
    ),
    "sinusoid_default": Sinusoid(),
    "sinusoid_recipe": Sinusoid(outer_steps=70_000),
    "omniglot_maml_5w1s_paper": Omniglot(outer_steps=14_000, distortion=0.0),
    "omniglot_maml_5w1s": Omniglot(outer_steps=11_500),
    "omniglot_maml_5w5s": Omniglot(shot=5, meta_batch=8, outer_steps=14_000),
    "omniglot_protonet_5w1s": Omniglot(
        learner="protonet", train_way=20, meta_batch=8, outer_steps=6_000, distortion=0.0
    ),
    "omniglot_protonet_5w5s": Omniglot(
        learner="protonet", shot=5, train_way=20, meta_batch=4, outer_steps=3_000, distortion=0.0
    ),
}
FAMILY = {
    f"family_{name}": Omniglot(learner=name, train_way=20, meta_batch=8)
    if name in images.EPISODIC
    else Omniglot(learner=name)
    for name in get_args(ClassifierName)
}
"""Every learner on the same characters, each for MINUTES of training on this machine."""
MINUTES = 8.0
TEST_TASKS = {"sinusoid": 10_000, "omniglot": 4_000}
FEWER_TEST_TASKS = 2_000
"""With several shots, each of whose queries is predicted alone as well."""


def outer_steps_in(settings: Omniglot, minutes: float) -> int:
    """How many outer steps this machine takes in so long, measured on the first few."""
    experiment = recipes.build(settings)
    init, update = mj.outer_step(experiment.objective, experiment.optimizer, experiment.estimator)
    key = jax.random.key(0)

    @jax.jit
    def step(state, key):
        keys = jax.random.split(key, settings.meta_batch)
        return update(state, jax.vmap(experiment.train)(keys), key)[0]

    state = init(experiment.learner.init(key, experiment.train(key).support.x))
    if not jax.tree.leaves(state.meta_params):
        return 1  # a baseline that learns nothing over tasks
    state, seconds = jax.block_until_ready(step(state, key)), []
    for _ in range(10):
        started = time.perf_counter()
        state = jax.block_until_ready(step(state, key))
        seconds.append(time.perf_counter() - started)
    return max(1, round(60 * minutes / float(np.median(seconds))))


def run(row: str, seed: int) -> None:
    settings = dataclasses.replace((ROWS | FAMILY)[row], seed=seed)
    recipe = recipes.name_of(settings)
    folder = Path("runs/accuracy") / f"{row}-{seed}"
    if row in FAMILY:
        if folder.exists():
            steps = training.read_settings(folder)["settings"]["outer_steps"]
        else:
            steps = outer_steps_in(settings, MINUTES)
        settings = dataclasses.replace(settings, outer_steps=steps)
    experiment, state = recipes.train(settings, folder, resume=folder.exists())
    if int(state.step) < settings.outer_steps:
        return
    num_tasks = TEST_TASKS[recipe]
    if recipe == "omniglot" and settings.shot > 1:
        num_tasks = FEWER_TEST_TASKS
    scores = mj.evaluate(
        experiment.learner,
        state.meta_params,
        experiment.test,
        experiment.metric,
        key=jax.random.key(1),
        num_tasks=num_tasks,
        num_steps=experiment.test_steps,
        inductive=experiment.inductive,
    )

    def numbers(score):
        return {
            name: [float(v) if np.isfinite(v) else None for v in np.atleast_1d(values)]
            for name, values in {
                "mean": experiment.scale * score.mean,
                "interval_95": experiment.scale * score.interval,
                "median": experiment.scale * np.median(score.values, axis=0),
            }.items()
        }

    result = {
        "row": row,
        "seed": seed,
        "recipe": recipe,
        "settings": dataclasses.asdict(settings) | {"data": None},
        "metric": experiment.metric_name,
        "columns": experiment.columns,
        "num_test_tasks": num_tasks,
        "test_seed": 1,
        "checkpoint": "last",
        "interval": "1.96 standard deviations over tasks / sqrt(tasks), of one trained model",
        "transductive": numbers(scores),
        "inductive": numbers(scores.inductive) if scores.inductive else None,
        "training_seconds": training.read_metrics(folder)[-1]["training_seconds"],
        **record.context(),
    }
    record.write(f"{row}-{seed}", result)
    print(json.dumps({key: result[key] for key in ("row", "transductive", "inductive")}, indent=2))


def tables() -> str:
    """The results as Markdown, from the JSON files alone: a line for each trained model."""
    found = [json.loads(path.read_text()) for path in sorted(record.RESULTS.glob("*-*.json"))]
    by_row = {row: [r for r in found if r.get("row") == row] for row in [*ROWS, *FAMILY]}
    family = [*_family(by_row), ""] if any(by_row[row] for row in FAMILY) else []
    return "\n".join([*_sinusoid(by_row), "", *family, *_omniglot(by_row)])


def _sinusoid(by_row) -> list[str]:
    lines = [
        "Sinusoid regression, MAML's distribution, trained with 10 shots and tested with 5: mean "
        "squared error, mean ± 95 % interval over 10,000 test tasks, and median. A line is one "
        "trained model.",
        "",
        "| | seed | mean after 1 step | 5 steps | 10 steps | median after 1 step | 5 | 10 | training |",
        "|---|---|---|---|---|---|---|---|---|",
        "| Finn et al. 2017, table 2 | | 0.67 | 0.38 | 0.35 | | | | |",
    ]
    names = {
        "sinusoid_paper": "metajax, the paper's settings",
        "sinusoid_default": "metajax, `metajax train sinusoid`",
        "sinusoid_recipe": "metajax, the same for 70,000 outer steps",
    }
    for row, name in names.items():
        for result in by_row[row]:
            score = result["transductive"]
            means = [
                "diverged on some tasks" if m is None or m > 100 else f"{m:.2f} ± {i:.2f}"
                for m, i in zip(score["mean"][1:], score["interval_95"][1:], strict=True)
            ]
            medians = ["" if m is None else f"{m:.2f}" for m in score["median"][1:]]
            cells = [name, str(result["seed"]), *means, *medians]
            lines.append(f"| {' | '.join(cells)} | {result['training_seconds']:.0f} s |")
    return lines


def _family(by_row) -> list[str]:
    lines = [
        f"Omniglot 5-way 1-shot, every learner with the same {MINUTES:.0f} minutes of training on the "
        "same machine: accuracy in %, mean ± 95 % interval over test tasks, at the inner steps of "
        "training. Its own settings are in the files; none was tuned on these tasks.",
        "",
        "| | seed | transductive | inductive | published | outer steps | training |",
        "|---|---|---|---|---|---|---|",
    ]
    results = [result for row in FAMILY for result in by_row[row]]
    for result in sorted(results, key=lambda r: -r["transductive"]["mean"][0]):
        settings = Omniglot(**result["settings"])
        scores = [
            f"{result[policy]['mean'][0]:.2f} ± {result[policy]['interval_95'][0]:.2f}"
            for policy in ("transductive", "inductive")
        ]
        published = "; ".join(
            f"{p.values[-1]:g} ({p.name})" for p in images.published(settings, omniglot.PUBLISHED)
        )
        cells = [settings.learner, str(result["seed"]), *scores, published]
        steps = f"{settings.outer_steps:,} | {result['training_seconds'] / 60:.0f} min"
        lines.append(f"| {' | '.join(cells)} | {steps} |")
    return lines


def _omniglot(by_row) -> list[str]:
    lines = [
        "Omniglot, random split (1100/100/423 characters), rotations as in MAML, last checkpoint: "
        "accuracy in %, mean ± 95 % interval over test tasks. A line is one trained model; some were "
        "trained on drawings distorted by small affine maps, which the papers did not have.",
        "",
        "| | seed | distorted | inner steps at test | transductive | inductive | published | test tasks "
        "| outer steps | training |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in (r for row, results in by_row.items() if "omniglot" in row for r in results):
        settings = result["settings"]
        known = {field.name for field in dataclasses.fields(Omniglot)}
        settings = {name: value for name, value in settings.items() if name in known}
        published = images.published(Omniglot(**settings), omniglot.PUBLISHED)
        best = "; ".join(f"{p.values[-1]:g} ({p.name})" for p in published)
        for i, column in enumerate(result["columns"]):
            scores = [
                f"{result[policy]['mean'][i]:.2f} ± {result[policy]['interval_95'][i]:.2f}"
                for policy in ("transductive", "inductive")
            ]
            cells = [
                f"{settings['learner']} {settings['way']}-way {settings['shot']}-shot",
                str(result["seed"]),
                f"{100 * settings['distortion']:.0f} %" if settings["distortion"] else "no",
                column.removeprefix("step ") if "step" in column else "none",
                *scores,
                best,
                f"{result['num_test_tasks']:,}",
                f"{settings['outer_steps']:,}",
                # A run that was stopped and continued by hand has a time that says nothing.
                "paused"
                if result.get("training_paused")
                else f"{result['training_seconds'] / 60:.0f} min",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=[*ROWS, *FAMILY])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", action="store_true", help="rewrite the tables in README.md")
    arguments = parser.parse_args()
    if arguments.row:
        one_device_per_core()
        run(arguments.row, arguments.seed)
    if arguments.tables:
        record.put_into_readme("accuracy.py", tables())
