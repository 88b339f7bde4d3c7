"""Trains detectors of composed scenes, and judges them on scenes and on blood cells beside their baselines.

python benchmarks/detection.py train     trains what is missing, in runs/detection/
python benchmarks/detection.py scenes    writes results/detection_scenes.json
python benchmarks/detection.py cells     writes results/detection_cells.json, of as many draws as are kept

The study is in rows/detection.py. Every row is kept in runs/detection/, so that it goes on where it stopped.
Nothing is selected on test tasks or test pictures. BCCD is read from METAJAX_DATA or --data, as published or as
`bccd_from_copy.py` writes it.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.detection import (
    BLOB_TASKS,
    CORRELATION_TASKS,
    LEARNERS,
    SCRATCH_STEPS,
    SCRATCH_TASKS,
    SHOTS,
    TRAINED,
)

import metajax as mj
from metajax import recipes
from metajax.data import bccd
from metajax.recipes.run import Run, restore, train
from metajax.recipes.vision import detection_scores as scored
from metajax.recipes.vision.adapting import SCRATCH, Setting, of_blobs, row_of, rows_for
from metajax.recipes.vision.canvas import Canvas, canvas
from metajax.recipes.vision.detection_report import (
    BLOBS,
    CORRELATION,
    UNTRAINED,
    above,
    cells,
    more,
)
from metajax.recipes.vision.detectors import fresh

RUNS = Path("runs/detection")


def train_all() -> None:
    """Trains every learner of the study that has no complete run."""
    for name, own in LEARNERS.items():
        settings = replace(TRAINED, **own)
        train(
            recipes.build(settings),
            settings,
            RUNS / name,
            report_every=150,
            resume=(RUNS / name).exists(),
        )


def trained(name: str) -> Any:
    """A run at its newest checkpoint, or None; pages say where it has not come to its end."""
    if not (RUNS / name / "settings.json").exists():
        return None
    return restore(RUNS / name)


def plain_run() -> Any:
    """The baseline's run, or None before it has come to its end: half trained, it would be unfair."""
    run = trained("plain")
    return run if run is not None and run.step == TRAINED.outer_steps else None


def conditioned() -> Any:
    """The run that the study is about."""
    run = trained("conditioned")
    if run is None:
        raise SystemExit("The study is not trained: run `python benchmarks/detection.py train`.")
    return run


def settings_of(run: Run) -> dict[str, Any]:
    """The settings of a run, without the folder of its data."""
    return {key: value for key, value in recipes.to_json(run.settings).items() if key != "data"}


def file_of(name: str) -> Path:
    return RUNS / f"{name.replace('/', '-').replace(' ', '_')}.npz"


def kept(name: str, measure: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What was measured before, or is now."""
    path = file_of(name)
    if not path.exists():
        found: dict[str, Any] = measure()
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **found)
        part.rename(path)
        means = {key: np.mean(value, 0).tolist() for key, value in found.items() if np.ndim(value)}
        print(name, means, flush=True)
    return dict(np.load(path))


def scenes(chosen: list[str]) -> None:
    """Judges rows on frozen scenes: all of them, or those that are chosen and those that are kept."""
    run = conditioned()
    e, test = run.experiment, run.experiment.test
    shape = jax.eval_shape(test, jax.random.key(0)).support.x
    new = e.learner.init(jax.random.key(0), np.zeros(shape.shape, np.float32))
    rows = {
        "conditioned": lambda: scored.measured(run.learner, run.meta_params, test),
        UNTRAINED: lambda: scored.measured(e.learner, new, test),
        CORRELATION: lambda: scored.correlated(test, num_tasks=CORRELATION_TASKS),
        BLOBS: lambda: scored.of_blobs(test, num_tasks=BLOB_TASKS),
        SCRATCH: lambda: scored.measured(
            fresh(e.learner), (), test, num_tasks=SCRATCH_TASKS, num_steps=SCRATCH_STEPS
        ),
    }
    plain = plain_run()
    if plain is not None:
        rows["plain, fine-tuned"] = lambda: scored.measured(
            plain.learner,
            plain.meta_params,
            test,
            num_tasks=SCRATCH_TASKS,
            num_steps=SCRATCH_STEPS,
        )
    found = {
        name: kept(f"scenes/{name}", lambda row=row: {"ap": row()})["ap"]
        for name, row in rows.items()
        if not chosen or name in chosen or file_of(f"scenes/{name}").exists()
    }
    ours = found["conditioned"]
    apart = {
        name: above({"conditioned": ours[: len(values)], name: values}, "conditioned")[name]
        for name, values in found.items()
        if values is not ours
    }
    result = {
        "columns": scored.COLUMNS,
        "tasks": scored.TASKS,
        "rows": cells(found),
        "numbers": {name: len(values) for name, values in found.items()},
        "above": apart,
        "more": more(found),
        "step": run.step,
        "settings": settings_of(run),
        **record.context(),
    }
    print(record.write("detection_scenes", result))


def cells_of(data: Path | None, draws: int) -> None:
    """Judges every row on blood cells."""
    run = conditioned()
    c = canvas(bccd.load(data))
    named = rows_for(run.experiment, run.meta_params)
    plain = plain_run()
    if plain is not None:
        named["plain"] = rows_for(plain.experiment, plain.meta_params)["plain"]
    found: dict[str, dict[str, Any]] = {}
    for shot in SHOTS:
        for name, row in named.items():
            every = kept(
                f"cells/{name}-{shot}-{draws}",
                lambda row=row, shot=shot: dict(
                    zip(("steps", "ap"), map(np.array, row_of(row, c, shot, draws)), strict=True)
                ),
            )
            found.setdefault(str(shot), {})[name] = of_row(every["ap"][:, :, 0]) | {
                "steps": int(every["steps"])
            }
            if name == "conditioned":
                found[str(shot)][f"{name}, no step"] = of_row(every["ap"][:, :, 1])
        settings = [[Setting(i, shot, d) for d in range(draws)] for i in range(len(c.names))]
        blob = kept(
            f"cells/{BLOBS}-{shot}-{draws}",
            lambda settings=settings: {
                "ap": np.array([[of_blobs(c, at) for at in own] for own in settings])
            },
        )
        found[str(shot)][BLOBS] = of_row(blob["ap"])
        write_cells(c, run, draws, found)


def of_row(values: np.ndarray) -> dict[str, Any]:
    """Means and intervals over draws of AP50 and AP75 of each class, and every draw."""
    by_draw = np.moveaxis(values, 0, 1).reshape(values.shape[1], -1)
    score = mj.score(by_draw)
    return {
        "mean": np.asarray(score.mean).tolist(),
        "interval": np.asarray(score.interval).tolist(),
        "draws": by_draw.tolist(),
    }


def write_cells(c: Canvas, run: Run, draws: int, found: dict[str, Any]) -> None:
    """Writes what is measured so far."""
    result = {
        "columns": [f"{name}, AP{least}" for name in c.names for least in (50, 75)],
        "draws": draws,
        "pictures": len(c.subsets["test"]),
        "shots": found,
        "step": run.step,
        "settings": settings_of(run),
        **record.context(),
    }
    print(record.write("detection_cells", result), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("train", "scenes", "cells"))
    parser.add_argument("--data", type=Path, help="the folder that holds bccd/")
    parser.add_argument("--rows", nargs="*", default=[], help="rows of scenes; by default all")
    parser.add_argument("--draws", type=int, default=10, help="draws of the support")
    arguments = parser.parse_args()
    if arguments.stage == "train":
        train_all()
    elif arguments.stage == "scenes":
        scenes(arguments.rows)
    else:
        cells_of(arguments.data, arguments.draws)
