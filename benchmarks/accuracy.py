"""Train and test the rows of README's results, keep each as JSON, and write the tables from those.

python benchmarks/accuracy.py sinusoid_paper        train (or resume, or only test) one row
python benchmarks/accuracy.py --tables              rewrite the tables in README.md

Runs are kept in runs/accuracy/ROW and go on where they stopped; results are in results/ROW.json.
Nothing is selected on test tasks: the last checkpoint is the one that is tested.
"""

import argparse
import dataclasses
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import flax
import jax
import numpy as np
import optax

import metajax as mj
from metajax import recipes, training
from metajax.recipes.omniglot import Omniglot
from metajax.recipes.sinusoid import Sinusoid

HERE = Path(__file__).parent
RESULTS = HERE / "results"

ROWS = {
    "sinusoid_recipe": Sinusoid(),
    "sinusoid_paper": Sinusoid(judged_steps=(1,), inner_rate=0.01, outer_rate=1e-3, cosine=False),
    "omniglot_maml_5w1s": Omniglot(outer_steps=12_000),
    "omniglot_maml_5w5s": Omniglot(shot=5, meta_batch=16, tasks_per_pass=2, outer_steps=5_000),
    "omniglot_protonet_5w1s": Omniglot(
        learner="protonet", train_way=20, meta_batch=8, tasks_per_pass=1, outer_steps=6_000
    ),
    "omniglot_protonet_5w5s": Omniglot(
        learner="protonet", shot=5, train_way=20, meta_batch=4, tasks_per_pass=1, outer_steps=3_000
    ),
}
TEST_TASKS = {"sinusoid": 10_000, "omniglot": 4_000}


def run(row: str) -> None:
    settings = ROWS[row]
    recipe = recipes.name_of(settings)
    experiment = recipes.build(settings)
    folder = Path("runs/accuracy") / row
    optimum = experiment.test_steps

    def validate(meta_params):
        scores = mj.evaluate(
            experiment.learner,
            meta_params,
            experiment.val,
            experiment.metric,
            key=jax.random.key(settings.seed + 1_000_003),
            num_tasks=200,
            num_steps=optimum[-1] if optimum else None,
            inductive=False,
        )
        return experiment.scale * scores.mean

    state = training.fit(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(settings.seed),
        outer_steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        estimator=experiment.estimator,
        validate=validate,
        run_dir=folder,
        settings={"recipe": recipe, **dataclasses.asdict(settings)},
        resume=folder.exists(),
    )
    if int(state.step) < settings.outer_steps:
        return
    num_tasks = TEST_TASKS[recipe]
    scores = mj.evaluate(
        experiment.learner,
        state.meta_params,
        experiment.test,
        experiment.metric,
        key=jax.random.key(1),
        num_tasks=num_tasks,
        num_steps=optimum,
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
        "settings": dataclasses.asdict(settings) | {"data": None},
        "recipe": recipe,
        "metric": experiment.metric_name,
        "columns": experiment.columns,
        "num_test_tasks": num_tasks,
        "test_seed": 1,
        "checkpoint": "last",
        "interval": "1.96 standard deviations over tasks / sqrt(tasks), of one trained model",
        "transductive": numbers(scores),
        "inductive": numbers(scores.inductive) if scores.inductive else None,
        "training_seconds": training.read_metrics(folder)[-1]["training_seconds"],
        "machine": {
            "platform": jax.devices()[0].platform,
            "device": jax.devices()[0].device_kind,
            "cores": os.cpu_count(),
            "processor": platform.machine(),
        },
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "optax": optax.__version__,
            "flax": flax.__version__,
        },
        "date": datetime.now(UTC).date().isoformat(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{row}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({key: result[key] for key in ("row", "transductive", "inductive")}, indent=2))


def tables() -> str:
    """The results as Markdown, from the JSON files alone."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    lines = [
        "Sinusoid regression, MAML's distribution, trained with 10 shots and tested with 5: mean "
        "squared error, mean ± 95 % interval over 10,000 test tasks, and median.",
        "",
        "| | | after 1 step | 5 steps | 10 steps | training |",
        "|---|---|---|---|---|---|",
        "| Finn et al. 2017, table 2 | mean | 0.67 | 0.38 | 0.35 | |",
    ]
    names = {
        "sinusoid_paper": "metajax, the paper's settings",
        "sinusoid_recipe": "metajax, recipe",
    }
    for row, name in names.items():
        if row in results:
            score, seconds = results[row]["transductive"], results[row]["training_seconds"]
            means = [
                "diverged on some tasks" if m is None or m > 10 else f"{m:.2f} ± {i:.2f}"
                for m, i in zip(score["mean"][1:], score["interval_95"][1:], strict=True)
            ]
            lines.append(f"| {name} | mean | {' | '.join(means)} | {seconds:.0f} s |")
            medians = " | ".join("" if m is None else f"{m:.2f}" for m in score["median"][1:])
            lines.append(f"| | median | {medians} | |")
    lines += [
        "",
        "Omniglot, random split (1100/100/423 characters), rotations as in MAML, last checkpoint: "
        "accuracy in %, mean ± 95 % interval over test tasks of one trained model.",
        "",
        "| | inner steps at test | transductive | inductive | published | test tasks | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results.values():
        if result["recipe"] != "omniglot":
            continue
        settings = result["settings"]
        published = recipes.omniglot.published(Omniglot(**settings))
        best = "; ".join(f"{p.values[-1]:g} ({p.name})" for p in published)
        for i, column in enumerate(result["columns"]):
            cells = [
                f"{result[policy]['mean'][i]:.2f} ± {result[policy]['interval_95'][i]:.2f}"
                for policy in ("transductive", "inductive")
            ]
            title = f"{settings['learner']} {settings['way']}-way {settings['shot']}-shot"
            steps = column.removeprefix("step ") if "step" in column else "none"
            lines.append(
                f"| {title} | {steps} | {cells[0]} | {cells[1]} | {best} | "
                f"{result['num_test_tasks']:,} | {result['training_seconds'] / 60:.0f} min |"
            )
    return "\n".join(lines)


def write_tables(readme: Path) -> None:
    begin, end = "<!-- results: benchmarks/accuracy.py -->", "<!-- end of results -->"
    text = readme.read_text()
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    readme.write_text(f"{before}{begin}\n{tables()}\n{end}{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--tables", action="store_true", help="rewrite the tables in README.md")
    arguments = parser.parse_args()
    if arguments.row:
        run(arguments.row)
    if arguments.tables:
        write_tables(HERE.parent / "README.md")
