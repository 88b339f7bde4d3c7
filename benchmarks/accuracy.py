"""Trains and tests one row of a page of results, and keeps it as JSON.

python benchmarks/accuracy.py sinusoid_paper --seed 1    train (or resume, or only test) one row
python benchmarks/accuracy.py --budget                   measure the steps that fit into a row's minutes
python benchmarks/accuracy.py family_anil                then a row that trains for 8 minutes
python benchmarks/tables.py                              write the tables

Rows are in benchmarks/rows/. Runs are kept in runs/accuracy/ROW-SEED and go on where they stopped;
results are in results/ROW-SEED.json. Nothing is selected on test tasks: the last checkpoint is tested.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import record
from rows.table import Row
from tables import PAGES

import metajax as mj
from metajax import recipes
from metajax.cpu import prepare_cpu
from metajax.recipes.run import estimator_of, train

ROWS: dict[str, Row] = {
    name: row
    for page in PAGES.values()
    for section in page.sections
    for name, row in section.rows.items()
}


def seconds_of_a_step(settings: Any) -> float:
    """How long an outer step takes on this machine, the median of the first few."""
    experiment = recipes.build(settings)
    mesh = mj.task_mesh(settings.meta_batch)
    estimator = estimator_of(experiment, settings.meta_batch, mesh)
    init, update = mj.outer_step(experiment.objective, experiment.optimizer, estimator)
    init_key, task_key, update_key = jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def step(state, key):
        tasks = mj.tasks.batch(experiment.train, key, settings.meta_batch)
        return update(state, tasks, update_key)[0]

    tasks = mj.tasks.batch(experiment.train, task_key, settings.meta_batch)
    meta_params = experiment.learner.init(init_key, jax.tree.map(lambda a: a[0], tasks.support.x))
    if not jax.tree.leaves(meta_params):
        return float("inf")  # a baseline that learns nothing over tasks
    state, seconds = init(meta_params, tasks, update_key), []
    for _ in range(11):
        started = time.perf_counter()
        state = jax.block_until_ready(step(state, task_key))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


def budget_file() -> str:
    """The name of the file of measured steps, one for each platform."""
    return f"budget_{jax.default_backend()}"


def budgets() -> list[dict[str, Any]]:
    """Measured outer steps of rows, an entry for each time and machine."""
    return (record.read(budget_file()) or {"measured": []})["measured"]


def budget(data: str | None) -> None:
    """Measures, alone on the machine, the outer steps that fit into the minutes of every row."""
    earlier, here = budgets(), record.context()
    known = {name for entry in earlier for name in entry["outer_steps"]}
    steps: dict[str, int] = {}
    minutes = {
        name: row.minutes
        for name, row in ROWS.items()
        if row.minutes is not None and row.same_training is None
    }
    for name in (name for name in minutes if name not in known):
        seconds = seconds_of_a_step(replace(ROWS[name].settings, data=data))
        steps[name] = max(1, round(60 * minutes[name] / seconds))
        print(name, steps[name], flush=True)
        entry = {"minutes": {n: minutes[n] for n in steps}, "outer_steps": steps, **here}
        record.write(budget_file(), {"measured": [*earlier, entry]})


def settings_of(name: str, seed: int, data: str | None) -> Any:
    """The settings of a row, with the outer steps that were measured for its minutes."""
    row = ROWS[name]
    settings, trained = replace(row.settings, seed=seed), row.same_training or name
    minutes = ROWS[trained].minutes
    if minutes is not None:
        steps = {n: count for entry in budgets() for n, count in entry["outer_steps"].items()}
        if trained not in steps:
            raise SystemExit(f"{name} trains for {minutes:g} minutes: run --budget first.")
        settings = replace(settings, outer_steps=steps[trained])
    return replace(settings, data=data) if hasattr(settings, "data") else settings


def trained(name: str, seed: int, data: str | None) -> tuple[Any, float] | None:
    """A row's meta-parameters and the seconds of its training; None where training was stopped."""
    settings, reports = settings_of(name, seed, data), ROWS[name].reports
    folder = Path("runs/accuracy") / f"{name}-{seed}"
    state = train(
        recipes.build(settings),
        settings,
        folder,
        report_every=None if reports is None else max(1, settings.outer_steps // reports),
        resume=folder.exists(),
    )
    if int(state.step) < settings.outer_steps:
        return None
    reported = (folder / "metrics.jsonl").read_text().splitlines()
    return state.meta_params, json.loads(reported[-1])["training_seconds"]


def run(name: str, seed: int, data: str | None, beside: bool) -> None:
    """Trains what a row is made of, tests it, and writes its file."""
    row, settings = ROWS[name], settings_of(name, seed, data)
    members = row.members or ((row.same_training or name, seed),)
    starts, seconds = [], 0.0
    for member in members:
        found = trained(*member, data)
        if found is None:
            return
        starts.append(found[0])
        seconds += found[1]
    experiment = recipes.build(settings)
    learner, meta_params = experiment.learner, starts[0]
    if row.members:
        learner = mj.ensemble(learner, len(starts))
        meta_params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    models = "one trained model" if not row.members else f"the mean of {len(starts)}"
    result = {
        "row": name,
        "seed": seed,
        "trained_by": [f"{name}-{seed}" for name, seed in members],
        "recipe": recipes.name_of(settings),
        "settings": asdict(experiment.settings) | ({"data": None} if data else {}),
        "num_test_tasks": row.test_tasks,
        "test_seed": 1,
        "checkpoint": "last",
        "interval": f"Student's t times the standard deviation over tasks / sqrt(tasks), of {models}",
        **row.measure(experiment, learner, meta_params, row.test_tasks),
        "training_seconds": round(seconds, 3),
        "training_beside_other_work": beside,
        **record.context(),
    }
    print(record.write(f"{name}-{seed}", result).read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("row", nargs="?", choices=ROWS, metavar="ROW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="the folder that holds the folders of data sets")
    parser.add_argument("--budget", action="store_true", help="on a machine that does nothing else")
    parser.add_argument(
        "--beside-other-work", action="store_true", help="record that other work shared the machine"
    )
    arguments = parser.parse_args()
    prepare_cpu()
    if arguments.budget:
        budget(arguments.data)
    if arguments.row:
        run(arguments.row, arguments.seed, arguments.data, arguments.beside_other_work)
