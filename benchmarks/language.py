"""Trains learners of sentences, and judges them beside fair baselines on the same tasks.

python benchmarks/language.py intents    trains what is missing, writes results/language_intents.json

Studies are in rows/language.py. What was trained and judged is kept in runs/language/, so that a study goes
on where it stopped; a result is written after every learner. Nothing is selected on test tasks.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.language import STUDIES, TASKS, Study

import metajax as mj
from metajax import recipes
from metajax.recipes.experiment import Shots
from metajax.recipes.language.baselines import BASELINES, tuned
from metajax.recipes.language.classify import learner_of, untrained
from metajax.recipes.language.judge import Judged, judge
from metajax.recipes.language.learners import LEARNERS
from metajax.recipes.language.prepared import Prepared
from metajax.recipes.language.report import pair, test_sources, val_source
from metajax.recipes.run import estimator_of

RUNS = Path("runs/language")
SAME = 0.05
"""Points between two scores on the same tasks: other machines round otherwise."""


def label_of(size: tuple[int, int]) -> str:
    """Such as "15w5s"."""
    return f"{size[0]}w{size[1]}s"


def kept(name: str, make: Any) -> Any:
    """Arrays by name, made once."""
    path = RUNS / f"{name}.npz"
    if not path.exists():
        begun = time.perf_counter()
        found = make()
        RUNS.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path.with_suffix(".part.npz"), **found)
        path.with_suffix(".part.npz").rename(path)
        print(name, f"{time.perf_counter() - begun:.0f} s", flush=True)
    with np.load(path) as found:
        return dict(found)


def as_arrays(judged: Judged) -> dict[str, np.ndarray]:
    parts = {"accuracy": judged.accuracy, "auroc": judged.auroc}
    return {
        f"{part}/{domain}": values for part, of in parts.items() for domain, values in of.items()
    }


class Tasks:
    """The test tasks of one size of a study."""

    def __init__(self, p: Prepared, size: tuple[int, int], *, plain: bool = False):
        self.p = p
        self.shots = Shots(size[1], p.settings.test_query_shot, size[0])
        self.samples = test_sources(p, p.plain_rows if plain else p.fitted.inputs, self.shots)

    def judged(self, learner: mj.Learner, meta_params: Any, tasks: int) -> dict[str, np.ndarray]:
        return as_arrays(
            judge(learner, meta_params, self.samples, self.shots, num_tasks=tasks, seed=1)
        )


def trained(study: Study, name: str, own: Any, seed: int, size: tuple[int, int]) -> tuple[Any, Any]:
    """A learner of a study and its meta-parameters; one with an output for each class learns its own size.

    With 0 outer steps it is what training starts from.
    """
    steps = own.get("outer_steps", study.settings.outer_steps)
    settings = replace(study.settings, seed=seed, **{**own, "outer_steps": max(1, steps)})
    if LEARNERS[settings.learner].fixed_head:
        settings = replace(settings, way=size[0], shot=size[1], train_way=None)
    experiment = recipes.build(settings)
    if not steps:
        return experiment, untrained(experiment.prepared, experiment.learner)
    s = experiment.settings
    mesh = mj.task_mesh(s.meta_batch)
    fixed = LEARNERS[s.learner].fixed_head
    folder = RUNS / f"fit-{name}-{seed}{f'-{label_of(size)}' if fixed else ''}"
    state = mj.fit(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(seed),
        outer_steps=s.outer_steps,
        meta_batch=s.meta_batch,
        estimator=estimator_of(experiment, s.meta_batch, mesh),
        run_dir=folder,
        resume=(folder / "settings.json").exists(),
        settings=recipes.to_json(s),
        show_progress=False,
    )
    return experiment, state.meta_params


def of_learners(study_name: str, study: Study, name: str, seed: int, tasks: int) -> dict[str, Any]:
    """Scores of one learner and seed on every size, trained where nothing is kept."""
    own, found = study.learners[name], {}
    fixed = LEARNERS[own.get("learner", study.settings.learner)].fixed_head
    shared: list[Any] = []
    for size in study.sizes:
        if "shot" in own and own["shot"] != size[1]:
            continue
        label = label_of(size)

        def make(size=size, shared=shared):
            if fixed or not shared:
                shared[:] = trained(
                    study, f"{study_name}-{name}".replace(", ", "-"), own, seed, size
                )
            experiment, meta_params = shared
            p = experiment.prepared
            return Tasks(p, size).judged(learner_of(p, size[0]), meta_params, tasks)

        found[label] = kept(f"{study_name}-{name}-{seed}-{label}-{tasks}".replace(", ", "-"), make)
    return found


def of_baselines(study_name: str, study: Study, tasks: int) -> dict[str, dict[str, Any]]:
    """Scores of every baseline on every size."""
    prepared: list[Prepared] = []
    found: dict[str, dict[str, Any]] = {}
    for size in study.sizes:
        label = label_of(size)
        for name in BASELINES:

            def make(name=name, size=size):
                if not prepared:
                    prepared.append(recipes.build(study.settings).prepared)
                at = Tasks(prepared[0], size, plain=True)
                learner, meta_params = tuned(name, mj.pixels, val_source(prepared[0], at.shots))
                return at.judged(learner, meta_params, tasks)

            own = f"{study_name}-{name}-{label}-{tasks}".replace(", ", "-").replace(" ", "_")
            found.setdefault(name, {})[label] = kept(own, make)
    return found


def summary(rows: dict[str, list[dict[str, Any]]], best_of: list[str]) -> dict[str, Any]:
    """Means and intervals of every row of one size, and the paired difference to the best baseline."""

    def joined(name: str, part: str, domain: str | None = None) -> np.ndarray | None:
        seeds = []
        for one in rows[name]:
            of = [v for k, v in one.items() if k.startswith(f"{part}/")]
            if domain is not None:
                of = [one[f"{part}/{domain}"]]
            if not of:
                return None
            seeds.append(np.concatenate(of))
        return np.mean(seeds, axis=0)

    whole = {name: joined(name, "accuracy") for name in rows}
    best = max(best_of, key=lambda name: float(np.mean(whole[name])))  # type: ignore[arg-type]
    domains = [key.split("/")[1] for key in rows[best][0] if key.startswith("accuracy/")]
    found = {}
    for name in rows:
        ranking = joined(name, "auroc")
        values: Any = whole[name]
        found[name] = {
            "all": pair(values),
            "domains": {d: pair(joined(name, "accuracy", d)) for d in domains},  # type: ignore[arg-type]
            "difference": pair(values - whole[best]) if name != best else (0.0, 0.0),
            "auroc": None if ranking is None else pair(ranking),
            "seeds": [float(np.mean(np.concatenate([v for k, v in one.items() if "accuracy" in k])))
                      for one in rows[name]],
        }  # fmt: skip
    return {"best": best, "domains": domains, "rows": found}


def write(study_name: str, study: Study, baselines: Any, learners: Any, tasks: int) -> None:
    """Writes the result of all that is there, beside what an earlier run measured on the same tasks."""
    sizes = {}
    for size in study.sizes:
        label = label_of(size)
        rows = {n: [one[label] for one in seeds if label in one] for n, seeds in learners.items()}
        rows = {name: seeds for name, seeds in rows.items() if seeds}
        rows |= {name: [of[label]] for name, of in baselines.items()}
        sizes[label] = summary(rows, list(baselines))
    result = {
        "tasks": tasks,
        "settings": record.read_back(recipes.to_json(study.settings)),
        "learners": {name: dict(study.learners[name]) for name in learners},
        "sizes": sizes,
        "commits": {name: record.commit() for name in learners},
        **record.context(),
    }
    name = f"language_{study_name}"
    print(record.write(name, beside(record.read(name), result)), flush=True)


def beside(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Adds the learners and sizes of an earlier result that the new one lacks, if their tasks are the same.

    They are the same if what draws them is, and if the best baseline has the same score on them.
    """
    if old is None:
        return new
    if any(old[part] != new[part] for part in ("tasks", "settings")):
        print("what was measured before has other settings, and is left out", flush=True)
        return new
    sizes = {**old["sizes"], **new["sizes"]}
    learners, commits = dict(new["learners"]), dict(new["commits"])
    for label, found in new["sizes"].items():
        before, best = old["sizes"].get(label), found["best"]
        if before is None:
            continue
        a, b = (part["rows"][best]["all"][0] for part in (before, found))
        if before["best"] != best or abs(a - b) > SAME:
            print(
                f"{label}: what was measured before is of other tasks, and is left out", flush=True
            )
            continue
        kept = {n: row for n, row in before["rows"].items() if n not in found["rows"]}
        sizes[label] = {**found, "rows": {**kept, **found["rows"]}}
    for name, own in old["learners"].items():
        if name not in learners and any(name in of["rows"] for of in sizes.values()):
            learners[name] = own
            commits[name] = old.get("commits", {}).get(name, old["commit"])
    return {**new, "sizes": sizes, "learners": learners, "commits": commits}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, help="take the first so many seeds")
    parser.add_argument("--learners", nargs="+", help="train these alone")
    parser.add_argument("--sizes", nargs="+", help="such as 15w5s; by default all of the study")
    parser.add_argument("--tasks", type=int, default=TASKS)
    a = parser.parse_args()
    study = STUDIES[a.study]
    chosen = [size for size in study.sizes if a.sizes is None or label_of(size) in a.sizes]
    study = study._replace(seeds=study.seeds[: a.seeds], sizes=tuple(chosen))
    baselines = of_baselines(a.study, study, a.tasks)
    learners: dict[str, list[Any]] = {}
    for name in a.learners or study.learners:
        for seed in study.seeds:
            found = of_learners(a.study, study, name, seed, a.tasks)
            learners.setdefault(name, []).append(found)
        write(a.study, study, baselines, learners, a.tasks)


if __name__ == "__main__":
    main()
