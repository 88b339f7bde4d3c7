"""Trains translators on two languages, adapts them to a third, and compares them on the same sentences.

python benchmarks/translation.py                trains what is missing, writes results/translation.json
python benchmarks/translation.py --thirds cs    one language alone

The study is in rows/translation.py. Runs and translations are kept in runs/translation/, so that it goes on
where it stopped; the result is written after every row. Step sizes and numbers of steps are chosen on held-out
pairs.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
from rows.translation import JOINT, STUDY, parent

import metajax as mj
from metajax import recipes
from metajax.metrics import bleu
from metajax.recipes import run as runs
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_judge import SCRATCH, Judged, Start, judge
from metajax.recipes.language.translation_learners import tokens_read
from metajax.recipes.language.translation_report import scores
from metajax.train import checkpoint

RUNS = Path("runs/translation")


def settings_of(third: str, seed: int, folder: Path) -> dict[str, Any]:
    """The settings of every run, joint training first; one that goes on from another names its folder."""
    shared = replace(STUDY.settings, third=third, seed=seed)
    found: dict[str, Any] = {}
    start = None
    for name, share in STUDY.bases.items():
        tokens = round(share * (shared.target_tokens or 0))
        found[name] = replace(shared, learner="joint", target_tokens=tokens, start=start)
        start = str((folder / name).resolve())
    for name, (base, own) in STUDY.after.items():
        found[name] = replace(shared, start=str((folder / base).resolve()), **own)
    for language in STUDY.thirds if STUDY.parents else ():
        if language != third:
            found[parent(language)] = replace(shared, learner="joint", languages=(language,))
    return found


def names_of(third: str) -> list[str]:
    """The names of all rows of a language."""
    return [*(name for name in settings_of(third, 0, RUNS) if name not in STUDY.bases), SCRATCH]


def trained(settings: Any, folder: Path) -> tuple[Prepared, Any]:
    """Trains a run or finishes it, and reads it."""
    experiment = recipes.build(settings)
    done = folder.exists() and checkpoint.latest(folder / "checkpoints")
    if done != experiment.settings.outer_steps:
        begun = time.perf_counter()
        runs.train(
            experiment,
            experiment.settings,
            folder,
            report_every=max(1, experiment.settings.outer_steps // 6),
            resume=(folder / "settings.json").exists(),
        )
        print(folder.name, f"{time.perf_counter() - begun:.0f} s", flush=True)
        if checkpoint.latest(folder / "checkpoints") != experiment.settings.outer_steps:
            raise SystemExit(f"{folder} was stopped; run again to go on")
    return experiment.prepared, mj.restore(folder).meta_params


def needed_by(name: str) -> list[str]:
    """The runs of joint training from which a row goes on, in order."""
    if name not in STUDY.after:
        return []
    bases = list(STUDY.bases)
    return bases[: bases.index(STUDY.after[name][0]) + 1]


def plain(name: str) -> str:
    """A row's name as that of a folder."""
    return name.replace(" ", "-").replace(",", "")


def of_row(folder: Path, name: str, size: int) -> Path:
    """The file of translations of a row."""
    return folder / f"{plain(name)}-{size}.json"


def keep(path: Path, p: Prepared, start: Start | None, size: int, seed: int) -> None:
    """Adapts a row to so many pairs, and keeps its translations."""
    begun = time.perf_counter()
    found = judge(p, start, size, seed)._asdict()
    read = 0 if start is None else tokens_read(p)
    facts = {"seconds": time.perf_counter() - begun, "tokens_before": read}
    path.with_suffix(".part").write_text(json.dumps(found | facts))
    path.with_suffix(".part").rename(path)
    print(path.stem, f"{facts['seconds']:.0f} s", flush=True)


def tables(p: Prepared, rows: Mapping[str, Mapping[int, Judged]]) -> dict[str, Any]:
    """Titles to rows to the cells of each size that is there; differences are from joint training."""
    found: dict[str, Any] = {}
    for size in sorted(STUDY.sizes):
        there = {name: [of[size]] for name, of in rows.items() if size in of}
        if JOINT not in there:
            continue
        for title, cells in scores(p, there).items():
            for name, (pair,) in cells.items():
                found.setdefault(title, {}).setdefault(name, {})[str(size)] = pair
    return found


def write(third: str, p: Prepared, folder: Path, names: Sequence[str], budget: str) -> None:
    """Writes all that is kept of one language into the result, beside the others."""
    found = {
        name: {
            size: json.loads(of_row(folder, name, size).read_text())
            for size in sorted(STUDY.sizes)
            if of_row(folder, name, size).exists()
        }
        for name in names
    }
    rows = {
        name: {
            size: Judged(**{field: one[field] for field in Judged._fields})
            for size, one in of.items()
        }
        for name, of in found.items()
        if of
    }
    facts = ("tokens_before", "rate", "steps", "tokens", "held_out", "seconds")
    result = record.read("translation") or {"rotations": {}}
    shares = {name: STUDY.bases[base] for name, (base, _) in STUDY.after.items()}
    result["settings"] = recipes.to_json(STUDY.settings) | {"bases": shares}
    result["rotations"][third] = {
        "sentences": len(p.test.sources),
        "seeds": STUDY.seeds[:1],
        "rows": list(names),
        "budget": budget,
        "signatures": bleu.signatures(),
        "tables": tables(p, rows),
        "adapted": {
            name: {size: {fact: one[fact] for fact in facts} for size, one in of.items()}
            for name, of in found.items()
        },
        **record.context(),
    }
    print(record.write("translation", result), flush=True)


def study(third: str, seed: int, sizes: Sequence[int], only: Sequence[str], budget: str) -> None:
    """Trains, adapts and compares contenders of one language."""
    folder = RUNS / f"{third}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    plans = settings_of(third, seed, folder)
    first = [*STUDY.after, SCRATCH]
    last = [name for name in plans if name not in (*first, *STUDY.bases)]
    p = recipes.build(replace(STUDY.settings, third=third, seed=seed)).prepared
    starts: dict[str, tuple[Prepared, Start | None]] = {SCRATCH: (p, None)}
    for name, size in [(n, size) for names in (first, last) for size in sizes for n in names]:
        path = of_row(folder, name, size)
        if name not in only or path.exists():
            continue
        if name not in starts:
            for base in needed_by(name):
                trained(plans[base], folder / base)
            own, params = trained(plans[name], folder / plain(name))
            starts[name] = own, Start(params, own.train)
        keep(path, *starts[name], size, seed + 1)
        write(third, p, folder, (*first, *last), budget)
    write(third, p, folder, (*first, *last), budget)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--thirds", nargs="+", choices=STUDY.thirds, default=STUDY.thirds)
    parser.add_argument("--sizes", nargs="+", type=int, default=STUDY.sizes)
    parser.add_argument("--rows", nargs="+", help="measure these alone, by their names on the page")
    parser.add_argument("--budget", default="", help="one sentence on the machine and its time")
    a = parser.parse_args()
    for language in a.thirds:
        for number in STUDY.seeds:
            study(language, number, a.sizes, a.rows or names_of(language), a.budget)
