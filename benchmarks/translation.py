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
from collections.abc import Mapping
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
from metajax.recipes.language.translation_learners import tokens_read
from metajax.recipes.language.translation_report import SCRATCH, Judged, judge, scores
from metajax.train import checkpoint

RUNS = Path("runs/translation")


def settings_of(third: str, seed: int, folder: Path) -> dict[str, Any]:
    """The settings of every run, the shared one first; those that go on from it name its folder."""
    shared = replace(STUDY.settings, third=third, seed=seed)
    whole = shared.target_tokens
    base = replace(shared, learner="joint", target_tokens=round(STUDY.base * whole))
    found: dict[str, Any] = {"base": base}
    for name, own in STUDY.after_base.items():
        found[name] = replace(shared, start=str((folder / "base").resolve()), **own)
    for language in STUDY.thirds if STUDY.parents else ():
        if language != third:
            found[parent(language)] = replace(shared, learner="joint", languages=(language,))
    return found


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
    return experiment.prepared, mj.restore(folder).meta_params


def kept(path: Path, make: Any) -> Judged:
    """Translations, made once."""
    if not path.exists():
        begun = time.perf_counter()
        found = make()._asdict() | {"seconds": time.perf_counter() - begun}
        path.with_suffix(".part").write_text(json.dumps(found))
        path.with_suffix(".part").rename(path)
        print(path.stem, f"{found['seconds']:.0f} s", flush=True)
    values = json.loads(path.read_text())
    return Judged(**{name: values[name] for name in Judged._fields})


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


def write(third: str, p: Prepared, rows: Any, tokens: Mapping[str, int], budget: str) -> None:
    """Writes one language into the result, beside the others."""
    result = record.read("translation") or {"rotations": {}}
    result["settings"] = recipes.to_json(STUDY.settings) | {"base": STUDY.base}
    result["rotations"][third] = {
        "sentences": len(p.test.sources),
        "seeds": STUDY.seeds[:1],
        "tokens": dict(tokens),
        "budget": budget,
        "signatures": bleu.signatures(),
        "tables": tables(p, rows),
        "adapted": {
            name: {size: {"rate": one.rate, "steps": one.steps, "tokens": one.tokens, "loss": one.loss}
                   for size, one in of.items()}
            for name, of in rows.items()
        },
        **record.context(),
    }  # fmt: skip
    print(record.write("translation", result), flush=True)


def study(third: str, seed: int, sizes: tuple[int, ...], budget: str) -> None:
    """Trains, adapts and compares all contenders of one language."""
    folder = RUNS / f"{third}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    plans = settings_of(third, seed, folder)
    p, _ = trained(plans["base"], folder / "base")
    starts: dict[str, tuple[Prepared, Any]] = {SCRATCH: (p, None)}
    rows: dict[str, dict[int, Judged]] = {}
    first = [*STUDY.after_base, SCRATCH]
    last = [name for name in plans if name not in (*first, "base")]
    for name, size in [(n, size) for names in (first, last) for size in sizes for n in names]:
        plain = name.replace(" ", "-").replace(",", "")
        if name not in starts:
            starts[name] = trained(plans[name], folder / plain)
        path, start = folder / f"{plain}-{size}.json", starts[name]
        one = kept(path, lambda start=start, size=size: judge(*start, size, seed + 1))
        rows.setdefault(name, {})[size] = one
        tokens = {name: tokens_read(own) for name, (own, _) in starts.items() if name != SCRATCH}
        write(third, p, rows, tokens, budget)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--thirds", nargs="+", choices=STUDY.thirds, default=STUDY.thirds)
    parser.add_argument("--sizes", nargs="+", type=int, default=STUDY.sizes)
    parser.add_argument("--budget", default="", help="one sentence on the machine and its time")
    a = parser.parse_args()
    for language in a.thirds:
        for number in STUDY.seeds:
            study(language, number, tuple(a.sizes), a.budget)
