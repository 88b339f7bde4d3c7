"""Trains classifiers of one kind of pictures, and tests each on all the others.

python benchmarks/across.py omniglot_protonet_1s --seed 1    train (or resume, or only test) rows
python benchmarks/across.py pixels                           the baseline that others are paired with
python benchmarks/across.py colour_protonet_1s --folder DIR  also on a folder with a folder per class
python benchmarks/across.py omniglot_r2d2_1s --sizes 5w1s    of its sizes, one alone
python benchmarks/across.py                                  only write results/across.json again

Rows are in rows/across.py. Runs are kept in runs/across/ROW-SEED and go on where they stopped; so are the
values of all test tasks, and results/across.json is written after each. Nothing is selected on a target.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.across import (
    INDUCTIVE_TASKS,
    PIXELS,
    ROWS,
    SIZES,
    STEPS,
    TASKS,
    VALIDATION_TASKS,
    Trained,
    name_of,
)

import metajax as mj
from metajax import recipes
from metajax.cpu import prepare_cpu
from metajax.recipes.elsewhere import elsewhere
from metajax.recipes.experiment import Experiment
from metajax.recipes.run import train

RUNS = Path("runs/across")
QUERY_SHOT = 10
POLICIES = ("transductive", "inductive")


def settings_of(row: Trained, seed: int, data: str | None) -> Any:
    """The settings of a row's training."""
    return replace(row.settings, seed=seed, data=data, test_query_shot=QUERY_SHOT)


def trained(name: str, seed: int, data: str | None) -> Any:
    """The meta-parameters of a row, trained as far as is missing; None where training was stopped."""
    name = ROWS[name].same_training or name
    settings, folder = settings_of(ROWS[name], seed, data), RUNS / f"{name}-{seed}"
    state = train(
        recipes.build(settings),
        settings,
        folder,
        report_every=max(1, settings.outer_steps // 10),
        resume=folder.exists(),
    )
    return state.meta_params if int(state.step) == settings.outer_steps else None


def scored(
    e: Experiment, meta_params: Any, sample: Any, seed: int, tasks: int, **options: Any
) -> Any:
    """Scores on frozen tasks."""
    key = jax.random.key(seed)
    return mj.evaluate(
        e.learner, meta_params, sample, e.metric, key=key, num_tasks=tasks, **options
    )


def chosen(row: Trained, settings: Any, meta_params: Any) -> tuple[Experiment, int | None]:
    """The experiment of the inner rate, and the number of steps, that are best on validation tasks."""
    if recipes.build(settings).eval_steps is None:
        return recipes.build(settings), None
    best: tuple[float, Experiment, int] | None = None
    for rate in row.rates or (settings.inner_rate,):
        e = recipes.build(replace(settings, inner_rate=rate))
        options = {"num_steps": STEPS, "inductive": False}
        means = scored(e, meta_params, e.val, 2, VALIDATION_TASKS, **options).mean
        place = int(np.argmax(means))
        if best is None or means[place] > best[0]:
            best = float(means[place]), e, STEPS[place]
    assert best is not None
    return best[1], best[2]


def file_of(name: str, seed: int, target: str, size: str) -> Path:
    return RUNS / f"{name}-{seed}-{size}-{target}.npz"


def test(
    name: str, seed: int, data: str | None, folder: Path | None, sizes: list[str] | None
) -> None:
    """Tests a row on all targets, of all of its sizes or some, and keeps the value of every task."""
    row = ROWS[name]
    meta_params = trained(name, seed, data)
    if meta_params is None:
        raise SystemExit(f"{name}: stopped before the end of training.")
    for way, shot in row.sizes:
        targets = {target: target for target in row.targets()}
        targets |= {} if folder is None else {folder.resolve().name: str(folder)}
        size = name_of(way, shot)
        if sizes is not None and size not in sizes:
            continue
        missing = [t for t in targets if not file_of(name, seed, t, size).exists()]
        if not missing:
            continue
        settings = replace(settings_of(row, seed, data), way=way, shot=shot)
        e, steps = chosen(row, settings, meta_params)
        options = {} if steps is None else {"num_steps": steps}
        for target in missing:
            try:
                sample = elsewhere(e, targets[target], data=data).test
            except FileNotFoundError as error:
                print(f"{target} is left out: {error}", flush=True)
                continue
            found = scored(e, meta_params, sample, 1, TASKS, inductive=False, **options)
            few = scored(e, meta_params, sample, 1, INDUCTIVE_TASKS, **options)
            alone = found if few.inductive is None else few.inductive
            keep(
                file_of(name, seed, target, size),
                transductive=100 * np.asarray(found.values),
                inductive=100 * np.asarray(alone.values),
                steps=-1 if steps is None else steps,
                rate=-1.0 if steps is None else e.settings.inner_rate,
            )
            print(name, seed, size, target, 100 * found.mean, 100 * alone.mean, flush=True)
            write()


def keep(path: Path, **values: Any) -> None:
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **values)
    part.rename(path)


def kept(name: str, target: str, size: str) -> dict[int, Mapping[str, np.ndarray]]:
    """What was measured of a row, by seed."""
    pattern = f"{name}-*-{size}-{target}.npz"
    paths = {int(path.name[len(name) + 1 :].split("-")[0]): path for path in RUNS.glob(pattern)}
    return {seed: dict(np.load(path)) for seed, path in sorted(paths.items())}


def pair(values: np.ndarray) -> list[float]:
    """The mean over tasks and half its 95 % interval."""
    found = mj.score(values)
    return [float(found.mean), float(found.interval)]


def cell(
    found: Mapping[int, Mapping[str, np.ndarray]], pixels: np.ndarray | None
) -> dict[str, Any]:
    """The numbers of one row, target and size; values of a task are the mean over seeds."""
    of_task = {
        policy: np.mean([own[policy] for own in found.values()], axis=0) for policy in POLICIES
    }
    result: dict[str, Any] = {policy: pair(values) for policy, values in of_task.items()}
    result["seeds"] = {str(seed): float(own["transductive"].mean()) for seed, own in found.items()}
    result["steps"] = {str(seed): int(own["steps"]) for seed, own in found.items()}
    result["rates"] = {str(seed): float(own["rate"]) for seed, own in found.items()}
    if pixels is not None:
        result["above_pixels"] = pair(of_task["transductive"] - pixels)
    return result


def write() -> None:
    """Writes everything that is kept, beside what was written before of rows of the same settings."""
    names = {path.name.split("-")[0] for path in RUNS.glob("*.npz")}
    rows = {name: record.read_back(recipes.to_json(ROWS[name].settings)) for name in ROWS}
    old = record.read("across") or {"tasks": TASKS, "rows": {}, "cells": {}}
    same = {name for name, row in old["rows"].items() if row == rows.get(name)}
    same = same if old["tasks"] == TASKS else set()
    cells: dict[str, Any] = {
        target: {name: dict(sizes) for name, sizes in of.items() if name in same}
        for target, of in old["cells"].items()
    }
    for name in (name for name in ROWS if name in names):
        targets = {path.stem.split("-", 3)[3] for path in RUNS.glob(f"{name}-*-*-*.npz")}
        for target in sorted(targets):
            for size in (name_of(*size) for size in SIZES):
                found = kept(name, target, size)
                if not found:
                    continue
                baseline = f"{PIXELS}_colour" if ROWS[name].settings.channels == 3 else PIXELS
                pixels = kept(baseline, target, size) if name != baseline else {}
                beside = next(iter(pixels.values()))["transductive"] if pixels else None
                cells.setdefault(target, {}).setdefault(name, {})[size] = cell(found, beside)
    commits = {name: old.get("commits", {}).get(name, old.get("commit")) for name in same}
    commits |= dict.fromkeys(names, record.commit())
    rows = {name: row for name, row in rows.items() if name in names | same}
    commits = {name: commits[name] for name in rows}
    result = {"tasks": TASKS, "rows": rows, "cells": cells, "commits": commits, **record.context()}
    print(record.write("across", result), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="the folder that holds the folders of data sets")
    parser.add_argument("--folder", type=Path, help="one more target, with a folder per class")
    parser.add_argument("--sizes", nargs="+", choices=[name_of(*size) for size in SIZES])
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rows if name not in ROWS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    prepare_cpu()
    for name in arguments.rows:
        test(name, arguments.seed, arguments.data, arguments.folder, arguments.sizes)
    write()
