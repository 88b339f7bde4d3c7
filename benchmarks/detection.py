"""Trains detectors of composed scenes, and judges them on scenes and on blood cells beside their baselines.

python benchmarks/detection.py train     trains what is missing, in runs/detection/
python benchmarks/detection.py scenes    writes results/detection_scenes.json
python benchmarks/detection.py cells     writes results/detection_cells.json, of as many draws as are kept
python benchmarks/detection.py again --seed 1    trains and judges the learner once more, on scenes

The study is in rows/detection.py. Every row is kept in runs/detection/, so that it goes on where it stopped.
Nothing is selected on test tasks or test pictures. BCCD is read from METAJAX_DATA or --data, as published or as
`bccd_from_copy.py` writes it.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.detection import (
    BLOB_TASKS,
    CORRELATION_TASKS,
    FINE,
    LEARNERS,
    OURS,
    SCRATCH_STEPS,
    SCRATCH_TASKS,
    SHOTS,
    TRAINED,
)

import metajax as mj
from metajax import recipes
from metajax.data import bccd
from metajax.recipes.run import restore, train
from metajax.recipes.vision import detection_scores as scored
from metajax.recipes.vision.adapting import (
    MIRRORED,
    SCRATCH,
    TIE,
    TIMES,
    Setting,
    of_blobs,
    row_of,
    rows_for,
)
from metajax.recipes.vision.canvas import canvas
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


def train_all(chosen: list[str]) -> None:
    """Trains learners of the study that have no complete run: all of them, or those that are chosen."""
    for name, own in LEARNERS.items():
        if chosen and name not in chosen:
            continue
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


def settings_of(settings: Any) -> dict[str, Any]:
    """Settings as they are kept, without the folder of the data."""
    found = recipes.to_json(settings)
    return record.read_back({key: value for key, value in found.items() if key != "data"})


def before(name: str, **same: Any) -> dict[str, Any]:
    """What an earlier run measured with the same settings, of which rows that are missing here stay."""
    old = record.read(name)
    if old is None:
        return {}
    if any(old.get(key) != value for key, value in same.items()):
        print(f"{name}: what was measured before has other settings, and is left out", flush=True)
        return {}
    return old


def commits_of(old: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The commit of each row; those that are named were measured with this one."""
    known = dict.fromkeys(old.get("rows", ()), old.get("commit")) | old.get("commits", {})
    return known | dict.fromkeys(names, record.commit())


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
    """Judges rows on frozen scenes: those that are chosen or kept, of learners whose run is here."""
    e = recipes.build(TRAINED)
    test, shape = e.test, jax.eval_shape(e.test, jax.random.key(0)).support.x
    new = e.learner.init(jax.random.key(0), np.zeros(shape.shape, np.float32))
    fine = {"num_tasks": SCRATCH_TASKS, "num_steps": SCRATCH_STEPS}
    rows: dict[str, Callable[[], np.ndarray]] = {
        UNTRAINED: lambda: scored.measured(e.learner, new, test),
        CORRELATION: lambda: scored.correlated(test, num_tasks=CORRELATION_TASKS),
        BLOBS: lambda: scored.of_blobs(test, num_tasks=BLOB_TASKS),
        SCRATCH: lambda: scored.measured(fresh(e.learner), (), test, **fine),
    }
    run, plain = trained(OURS), plain_run()
    if run is not None:
        rows[OURS] = lambda: scored.measured(run.learner, run.meta_params, test)
    if plain is not None:
        rows[FINE] = lambda: scored.measured(plain.learner, plain.meta_params, test, **fine)
    found = {
        name: kept(f"scenes/{name}", lambda row=row: {"ap": row()})["ap"]
        for name, row in rows.items()
        if not chosen or name in chosen or file_of(f"scenes/{name}").exists()
    }
    settings = settings_of(TRAINED)
    old = before("detection_scenes", tasks=scored.TASKS, settings=settings)
    seed, ours = of_seed(found)
    apart = {
        name: above({OURS: ours[: len(values)], name: values}, OURS)[name]
        for name, values in found.items()
        if ours is not None and name != OURS
    }
    result = {
        "columns": scored.COLUMNS,
        "tasks": scored.TASKS,
        "rows": old.get("rows", {}) | cells(found),
        "numbers": old.get("numbers", {}) | {name: len(values) for name, values in found.items()},
        "above": old.get("above", {}) | apart,
        "above_of_seed": old.get("above_of_seed", {}) | dict.fromkeys(apart, seed),
        "more": old.get("more", {}) | more(found),
        "step": old.get("step", 0) if run is None else run.step,
        "seeds": old.get("seeds", {}),
        "settings": settings,
        "commits": commits_of(old, found),
        **record.context(),
    }
    print(record.write("detection_scenes", result))


def of_seed(found: Mapping[str, np.ndarray]) -> tuple[int, np.ndarray | None]:
    """The values of the learner, task by task, of the first seed that is kept here."""
    if OURS in found:
        return 0, found[OURS]
    for path in sorted(RUNS.glob(f"scenes-{OURS}-*.npz")):
        return int(path.stem.rsplit("-", 1)[1]), np.load(path)["ap"]
    return 0, None


def again(seed: int) -> None:
    """Trains the learner with another seed, and judges it on the same scenes."""
    name, settings = f"{OURS}-{seed}", replace(TRAINED, seed=seed)
    e, folder = recipes.build(settings), RUNS / f"{OURS}-{seed}"
    state = train(e, settings, folder, report_every=500, resume=folder.exists())
    if int(state.step) != settings.outer_steps:
        raise SystemExit(f"{folder} was stopped; run again to go on")
    values = kept(
        f"scenes/{name}", lambda: {"ap": scored.measured(e.learner, state.meta_params, e.test)}
    )["ap"]
    old = before("detection_scenes", tasks=scored.TASKS, settings=settings_of(TRAINED))
    found = {"row": cells({name: values})[name], "more": more({name: values})[name]}
    seeds = old.get("seeds", {}) | {str(seed): found | {"commit": record.commit()}}
    print(record.write("detection_scenes", old | {"seeds": seeds}))


def measured(row: Any, c: Any, shot: int, draws: int) -> dict[str, np.ndarray]:
    """What was chosen for each class, and the precision of every draw."""
    best, values = row_of(row, c, shot, draws)
    return {"chosen": np.array([(steps, *how) for steps, how in best]), "ap": values}


def cells_of(data: Path | None, draws: int) -> None:
    """Judges every row on blood cells whose run is here."""
    c, run, plain = canvas(bccd.load(data)), trained(OURS), plain_run()
    named = {} if run is None else rows_for(run.experiment, run.meta_params)
    if plain is not None:
        named["plain"] = rows_for(plain.experiment, plain.meta_params)["plain"]
    settings = settings_of(TRAINED)
    same = {
        "draws": draws,
        "settings": settings,
        "rates": [times * TRAINED.inner_rate for times in TIMES],
        "mirrored": list(MIRRORED),
        "tie": TIE,
    }
    old = before("detection_cells", **same)
    found: dict[str, dict[str, Any]] = dict(old.get("shots", {}))
    for shot in SHOTS:
        own = found.setdefault(str(shot), {})
        for name, row in named.items():
            every = kept(
                f"cells/{name}-{shot}-{draws}",
                lambda row=row, shot=shot: measured(row, c, shot, draws),
            )
            chosen = [
                {"steps": steps, "rate": times * TRAINED.inner_rate, "mirrored": bool(mirrored)}
                for steps, times, mirrored in every["chosen"].tolist()
            ]
            own[name] = of_row(every["ap"][:, :, 0]) | {"chosen": chosen}
            if name == OURS:
                own[f"{name}, no step"] = of_row(every["ap"][:, :, 1])
        asked = [[Setting(i, shot, d) for d in range(draws)] for i in range(len(c.names))]
        blob = kept(
            f"cells/{BLOBS}-{shot}-{draws}",
            lambda asked=asked: {
                "ap": np.array([[of_blobs(c, at) for at in own] for own in asked])
            },
        )
        own[BLOBS] = of_row(blob["ap"])
        result = {
            "columns": [f"{name}, AP{least}" for name in c.names for least in (50, 75)],
            **same,
            "pictures": len(c.subsets["test"]),
            "shots": found,
            "step": old.get("step", 0) if run is None else run.step,
            "commits": commits_of(old, [*named, BLOBS]),
            **record.context(),
        }
        print(record.write("detection_cells", result), flush=True)


def of_row(values: np.ndarray) -> dict[str, Any]:
    """Means and intervals over draws of AP50 and AP75 of each class, and every draw."""
    by_draw = np.moveaxis(values, 0, 1).reshape(values.shape[1], -1)
    score = mj.score(by_draw)
    return {
        "mean": np.asarray(score.mean).tolist(),
        "interval": np.asarray(score.interval).tolist(),
        "draws": by_draw.tolist(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=("train", "scenes", "cells", "again"))
    parser.add_argument("--data", type=Path, help="the folder that holds bccd/")
    parser.add_argument("--rows", nargs="*", default=[], help="of train and scenes; by default all")
    parser.add_argument("--draws", type=int, default=10, help="draws of the support")
    parser.add_argument("--seed", type=int, default=1, help="of again")
    arguments = parser.parse_args()
    if arguments.stage == "again":
        again(arguments.seed)
    elif arguments.stage == "train":
        train_all(arguments.rows)
    elif arguments.stage == "scenes":
        scenes(arguments.rows)
    else:
        cells_of(arguments.data, arguments.draws)
