"""Train and test the rows of README's results, keep each as JSON, and write the tables from those.

python benchmarks/accuracy.py sinusoid_paper --seed 1     train (or resume, or only test) one row
python benchmarks/accuracy.py --budget                    measure what fits into the minutes of a row
python benchmarks/accuracy.py family_anil                 then a learner of the family, eight minutes
python benchmarks/accuracy.py --tables                    rewrite the tables in README.md

Runs are kept in runs/accuracy/ROW-SEED and go on where they stopped; results are in
results/ROW-SEED.json. Nothing is selected on test tasks: the last checkpoint is the one tested.
"""

import argparse
import json
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import record

import metajax as mj
from metajax import recipes
from metajax.cli.machine import one_device_per_core
from metajax.recipes.learners import ClassifierName
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.vision import cifar_fs, images, omniglot
from metajax.recipes.vision.cifar_fs import CifarFs
from metajax.recipes.vision.omniglot import Omniglot
from metajax.train import loop as training

_LRD2 = Omniglot(
    learner="lrd2", way=20, train_way=60, meta_batch=4, outer_rate=2e-3, outer_steps=40_000,
    distortion=0.2,
)  # fmt: skip
_MIRRORED = replace(_LRD2, reflections=True, outer_steps=32_000)
ROWS = {
    "sinusoid_paper": Sinusoid(
        judged_steps=(1,),
        meta_batch=25,
        inner_rate=0.01,
        inner_clip=float("inf"),
        outer_rate=1e-3,
        warm_up=0.0,
        clip=None,
        cosine=False,
        outer_steps=70_000,
    ),
    "sinusoid_default": Sinusoid(),
    "sinusoid_recipe": Sinusoid(outer_steps=70_000),
    "omniglot_maml_5w1s_paper": Omniglot(outer_steps=14_000, distortion=0.0),
    "omniglot_maml_5w1s": Omniglot(outer_steps=20_000),
    "omniglot_maml_20w1s_slow": Omniglot(way=20, meta_batch=16, outer_steps=15_000),
    "omniglot_maml_20w1s": Omniglot(
        way=20, inner_rate=2.0, meta_batch=16, outer_rate=3e-3, outer_steps=12_000
    ),
    "omniglot_maml_5w5s": Omniglot(shot=5, meta_batch=8, outer_steps=14_000),
    "omniglot_protonet_5w1s": Omniglot(
        learner="protonet", train_way=20, meta_batch=8, outer_steps=6_000, distortion=0.0
    ),
    "omniglot_protonet_5w5s": Omniglot(
        learner="protonet", shot=5, train_way=20, meta_batch=4, outer_steps=3_000, distortion=0.0
    ),
    "omniglot_lrd2_20w1s": _LRD2,
    "omniglot_lrd2_5w1s": replace(_LRD2, way=5),
    "omniglot_lrd2_20w1s_mirrored": _MIRRORED,
    "omniglot_lrd2_5w1s_mirrored": replace(_MIRRORED, way=5),
    "omniglot_lrd2_20w1s_brief": replace(_MIRRORED, outer_steps=8_000, split_seed=0),
    "omniglot_lrd2_20w1s_mean": replace(_MIRRORED, outer_steps=48_000, split_seed=0),
}
_TO_FIVE = (1, 1, 1, 2, 3, 4, 5)
_SLOWER = Sinusoid(meta_batch=25, outer_rate=1e-3, warm_up=0.0)
SINUSOIDS = {
    "sinusoid_anil": replace(_SLOWER, learner="anil", judged_steps=_TO_FIVE),
    "sinusoid_meta_sgd": replace(_SLOWER, learner="meta_sgd", judged_steps=(1,)),
    "sinusoid_mamlpp": replace(_SLOWER, learner="mamlpp", judged_steps=(1, 2)),
    "sinusoid_alfa": replace(_SLOWER, learner="alfa", judged_steps=(1,)),
    "sinusoid_meta_curvature": replace(_SLOWER, learner="meta_curvature", judged_steps=_TO_FIVE),
    "sinusoid_cavia": replace(_SLOWER, learner="cavia", judged_steps=_TO_FIVE, clip=None),
    "sinusoid_imaml": replace(_SLOWER, learner="imaml", clip=10.0, outer_steps=10_000),
    "sinusoid_from_scratch": Sinusoid(learner="from_scratch", meta_batch=25, outer_steps=1),
}
"""The family on sine waves. Learned inner rates grow to the edge of what is stable, where the inner loop
of one task in many thousands overflows: over five steps and clipped, meta_sgd does so in outer step 650
and mamlpp in 1,946 at an outer rate of 1e-3; at 3e-4 mamlpp in 12,952, and with a schedule of 10,000
steps in 2,037 and alfa in 1,788. So they are trained on fewer steps, meta_sgd as in its paper on one. imaml
takes 32 inner steps of Adam and a pull of 5: its hypergradient does not see how the inner loop comes to its
end, so that nothing keeps the curvature below what SGD at a given rate can follow, and at rates of 0.005 to
0.02, pulls of 10 to 50, the inner loop overflowed by outer step 1,500; a pull of 2 or less does not outweigh
the negative curvature, down to -2.8 at the start, and hardly anything is learned. Even so 20,000 outer steps
end at 1.64 after the 32: the longer it trains, the less these steps suffice to come to the end."""
GLYPHS = {
    "glyphs_maml": Omniglot(source="glyphs", split="lake", outer_steps=6_000),
    "glyphs_protonet": Omniglot(
        learner="protonet", source="glyphs", split="lake", train_way=20, meta_batch=8,
        outer_steps=3_000,
    ),
}  # fmt: skip
"""Trained on invented characters alone, tested on Omniglot's evaluation alphabets."""
_SNELL = Omniglot(
    learner="protonet", way=20, train_way=60, meta_batch=4, outer_steps=6_000, distortion=0.0,
    split="vinyals", rotations="class",
)  # fmt: skip
VINYALS = {
    "vinyals_protonet_20w1s": _SNELL,
    "vinyals_protonet_20w1s_distorted": replace(_SNELL, outer_steps=12_000, distortion=0.1),
}
"""The characters of Vinyals et al., rotated ones being characters of their own."""
FAMILY = {
    f"family_{name}": Omniglot(learner=name, train_way=20, meta_batch=8)
    if name in images.EPISODIC
    else Omniglot(learner=name)
    for name in get_args(ClassifierName)
}
"""Every learner on the same characters, each for as many minutes.

Where r2d2 starts, on photographs as well, was chosen by the accuracy on validation tasks of 5-way 1-shot
after 300 outer steps. Omniglot, 64 features: ridge 1 and scale 1 90.5; scale 10 and a ridge of 6 93.6, of 25
95.5, of 100 95.4. CIFAR-FS, 256 features: ridge 1 and scale 1 34.0; scale 10 and a ridge of 30 36.3, of 100
37.3, of 300 37.6, of 1,000 36.3; a ridge of 100 and scale 3 35.9, scale 30 37.6. For lrd2 the start is no
matter: on Omniglot ridge 1 and scale 1 95.9, ridge 25 and scale 3 96.0; on CIFAR-FS 38.3, and ridge 100 and
scale 3 37.8.
"""
TWENTY = {
    f"twenty_{name}": Omniglot(learner=name, way=20, train_way=60, meta_batch=4)
    for name in ("lrd2", "protonet", "r2d2", "matching", "proto_maml", "relation")
}
"""The leading six of `FAMILY`, at 20-way, trained on tasks of 60 classes as prototypical networks are."""
CIFAR = {
    "cifar_maml": CifarFs(num_steps=5, inner_rate=0.1),
    "cifar_protonet": CifarFs(learner="protonet", train_way=20, meta_batch=1),
    "cifar_r2d2": CifarFs(learner="r2d2", train_way=20, meta_batch=1),
    "cifar_finetune": CifarFs(learner="finetune"),
    "cifar_linear_probe": CifarFs(learner="linear_probe"),
    "cifar_nearest_neighbour": CifarFs(learner="nearest_neighbour"),
}
CIFAR_5_SHOT = {
    f"{row}_5s": replace(settings, shot=5, test_query_shot=5) for row, settings in CIFAR.items()
}
"""Tested on a third of the queries: each is predicted in a batch with 25 images as well.

Not run yet: cifar_finetune_5s, whose test takes half an hour of one core.
"""
SHORTER = {
    "cifar_maml_shorter": replace(CIFAR["cifar_maml"], outer_steps=1_361),
    "cifar_r2d2_shorter": replace(CIFAR["cifar_r2d2"], outer_steps=3_815),
}
"""A quarter of the outer steps of their budget: do they fall short of their papers for want of them?"""
SAME_TRAINING = {
    "cifar_linear_probe": "cifar_finetune",
    "cifar_finetune_5s": "cifar_linear_probe_5s",
    "omniglot_lrd2_5w1s": "omniglot_lrd2_20w1s",
    "omniglot_lrd2_5w1s_mirrored": "omniglot_lrd2_20w1s_mirrored",
}
"""Rows tested on what another row has trained: training tasks and objective are the same."""
MEANS = {
    "omniglot_lrd2_20w1s_mean": (
        ("omniglot_lrd2_20w1s_mirrored", 0),
        ("omniglot_lrd2_20w1s_brief", 1),
        ("omniglot_lrd2_20w1s_brief", 2),
    ),
}
"""Rows that predict by the mean probability of several networks, each a row and a seed trained apart:
which ones was said before their mean was tested. Outer steps are those of all."""
MINUTES = (
    dict.fromkeys(FAMILY, 8.0)
    | dict.fromkeys([*TWENTY, *CIFAR_5_SHOT], 20.0)
    | dict.fromkeys(CIFAR, 30.0)
)
"""Of training on two cores with nothing else beside it."""
ALL = ROWS | SINUSOIDS | VINYALS | GLYPHS | FAMILY | TWENTY | CIFAR | CIFAR_5_SHOT | SHORTER
TEST_TASKS = {"sinusoid": 10_000, "omniglot": 4_000, "cifar_fs": 1_000}
FEWER_TEST_TASKS = 2_000
"""With more than five queries, each of which is predicted alone as well."""


def seconds_of_a_step(settings: Any) -> float:
    """How long an outer step takes on this machine, the median of the first few."""
    experiment = recipes.build(settings)
    init, update = mj.outer_step(experiment.objective, experiment.optimizer, experiment.estimator)
    key = jax.random.key(0)

    @jax.jit
    def step(state, key):
        keys = jax.random.split(key, settings.meta_batch)
        return update(state, jax.vmap(experiment.train)(keys), key)[0]

    state = init(experiment.learner.init(key, experiment.train(key).support.x))
    if not jax.tree.leaves(state.meta_params):
        return float("inf")  # a baseline that learns nothing over tasks
    state, seconds = jax.block_until_ready(step(state, key)), []
    for _ in range(10):
        started = time.perf_counter()
        state = jax.block_until_ready(step(state, key))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def budget_file() -> str:
    """Its name; read once devices have been asked for."""
    return f"budget_{jax.default_backend()}"


def budgets() -> list[dict]:
    """Measured outer steps of rows, an entry for each time and machine of measuring."""
    path = record.RESULTS / f"{budget_file()}.json"
    return json.loads(path.read_text())["measured"] if path.exists() else []


def budget(data: str | None) -> None:
    """Measure, alone on the machine, the outer steps that fit into the minutes of every row."""
    earlier, here = budgets(), record.context()
    known = {row for entry in earlier for row in entry["outer_steps"]}
    steps = {}
    for row, minutes in MINUTES.items():
        if row not in known:
            settings = replace(ALL[row], data=data)
            steps[row] = max(1, round(60 * minutes / seconds_of_a_step(settings)))
            print(row, steps[row], flush=True)
            entry = {"minutes": {r: MINUTES[r] for r in steps}, "outer_steps": steps, **here}
            record.write(budget_file(), {"measured": [*earlier, entry]})


def settings_of(row: str, seed: int, data: str | None) -> Any:
    settings = replace(ALL[row], seed=seed)
    trained = SAME_TRAINING.get(row, row)
    if trained in MINUTES:
        steps = {r: n for entry in budgets() for r, n in entry["outer_steps"].items()}
        if trained not in steps:
            raise SystemExit(f"{row} trains for {MINUTES[trained]:g} minutes: run --budget first.")
        settings = replace(settings, outer_steps=steps[trained])
    return replace(settings, data=data) if hasattr(settings, "data") else settings


def trained(row: str, seed: int, data: str | None) -> tuple[Any, float] | None:
    """A row's meta-parameters and the seconds they took; None where training was stopped."""
    settings = settings_of(row, seed, data)
    folder = Path("runs/accuracy") / f"{row}-{seed}"
    every = None
    if isinstance(settings, CifarFs) and settings.shot > 1:
        every = max(1, settings.outer_steps // 5)  # fifty validations would outlast the training
    state = recipes.train(
        recipes.build(settings), settings, folder, report_every=every, resume=folder.exists()
    )
    if int(state.step) < settings.outer_steps:
        return None
    return state.meta_params, training.read_metrics(folder)[-1]["training_seconds"]


def run(row: str, seed: int, data: str | None, beside: bool) -> None:
    settings = settings_of(row, seed, data)
    recipe = recipes.name_of(settings)
    sources = MEANS.get(row, ((SAME_TRAINING.get(row, row), seed),))
    starts, seconds = [], 0.0
    for source in sources:
        member = trained(*source, data)
        if member is None:
            return
        starts.append(member[0])
        seconds += member[1]
    experiment = recipes.build(settings)
    learner, meta_params = experiment.learner, starts[0]
    if row in MEANS:
        learner = mj.ensemble(learner, len(starts))
        meta_params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    num_tasks = TEST_TASKS[recipe]
    if isinstance(settings, Omniglot) and settings.way * settings.shot > 5:
        num_tasks = FEWER_TEST_TASKS
    scores = mj.evaluate(
        learner,
        meta_params,
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
        "trained_by": [f"{row}-{seed}" for row, seed in sources],
        "recipe": recipe,
        "settings": asdict(settings) | {"data": None},
        "metric": experiment.metric_name,
        "columns": experiment.columns,
        "num_test_tasks": num_tasks,
        "test_seed": 1,
        "checkpoint": "last",
        "interval": "1.96 standard deviations over tasks / sqrt(tasks), of "
        + ("one trained model" if len(sources) == 1 else f"the mean of {len(sources)}"),
        "transductive": numbers(scores),
        "inductive": numbers(scores.inductive) if scores.inductive else None,
        "training_seconds": round(seconds, 3),
        "training_beside_other_work": beside,
        **record.context(),
    }
    record.write(f"{row}-{seed}", result)
    print(json.dumps({key: result[key] for key in ("row", "transductive", "inductive")}, indent=2))


def tables() -> str:
    """The results as Markdown, from the JSON files alone: a line for each trained model."""
    found = [json.loads(path.read_text()) for path in sorted(record.RESULTS.glob("*-*.json"))]
    by_row = {row: [r for r in found if r.get("row") == row] for row in ALL}
    parts = [_sinusoid(by_row)]
    for title, rows in _CLASSIFICATION.items():
        results = [result for row in rows for result in by_row[row]]
        if results:
            parts.append(_accuracies(title, results))
        if results and rows is FAMILY:
            family_picture(results).savefig(record.RESULTS / "family.png", dpi=120)
            parts.append(["![Accuracy of every learner](benchmarks/results/family.png)"])
    return "\n".join("\n".join([*part, ""]) for part in parts).rstrip()


def _time(result) -> str:
    """A run that was stopped, or had to share the machine, has a time that says nothing.

    What learns nothing over tasks is given a single outer step.
    """
    seconds = result["training_seconds"]
    if result["settings"]["outer_steps"] == 1:
        return "none"
    trained = SAME_TRAINING.get(result["row"], result["row"])
    if trained in MINUTES:
        return f"{MINUTES[trained]:.0f} min"
    if result.get("training_paused") or result.get("training_beside_other_work"):
        return "shared"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _two_digits(value: float, interval: float | None = None) -> str:
    """Two places, or three for what is below a tenth."""
    places = 2 if value >= 0.1 else 3
    return f"{value:.{places}f}" + ("" if interval is None else f" ± {interval:.{places}f}")


def _percent(way: int, mean: float, interval: float) -> str:
    """A learner of which no prediction is finite gives every query the same class."""
    if interval < 1e-3 and round(mean * way) == 100:
        return "diverged"
    return f"{mean:.2f} ± {interval:.2f}"


def _sinusoid(by_row) -> list[str]:
    lines = [
        "Sinusoid regression, MAML's distribution, trained with 10 shots and tested with 5: mean "
        "squared error, mean ± 95 % interval over 10,000 test tasks, and median. A line is one "
        "trained model. Learned inner rates end at the edge of what is stable, so meta_sgd and alfa were "
        "trained on the loss after one step and mamlpp after one and two; anil, meta_curvature and cavia "
        "after one to five, `metajax train sinusoid` after one to three; imaml after the 32 of Adam that its "
        "inner loop takes. All but the rows of `metajax train sinusoid` and its 70,000 steps had an outer rate "
        "of 1e-3, no warm-up, meta-batches of 25, and inner gradients of any length, which overflow on rare "
        "tasks.",
        "",
        "| | seed | mean after 1 step | 5 steps | 10 steps | median after 1 step | 5 | 10 | training |",
        "|---|---|---|---|---|---|---|---|---|",
        "| Finn et al. 2017, table 2 | | 0.67 | 0.38 | 0.35 | | | | |",
    ]
    names = {
        "sinusoid_paper": "maml, the paper's settings",
        "sinusoid_default": "maml, `metajax train sinusoid`",
        "sinusoid_recipe": "maml, the same for 70,000 outer steps",
        **{row: settings.learner for row, settings in SINUSOIDS.items()},
    }
    for row, name in names.items():
        for result in by_row[row]:
            score = result["transductive"]
            means = [
                "diverged on some tasks" if m is None or m > 100 else _two_digits(m, i)
                for m, i in zip(score["mean"], score["interval_95"], strict=True)
            ]
            medians = ["" if m is None else _two_digits(m) for m in score["median"]]
            shown = slice(1, 4)  # after 1, 5 and 10 steps
            end = (
                f" ({means[4]} after {result['columns'][4].removeprefix('step ')})"
                if means[4:]
                else ""
            )
            seed = str(result["seed"])
            cells = [name + end, seed, *means[shown], *medians[shown], _time(result)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


_CLASSIFICATION = {
    "Omniglot, random split (1100/100/423 characters), rotations as in MAML, last checkpoint: "
    "accuracy in %, mean ± 95 % interval over test tasks. A line is one trained model, or the mean "
    "of the networks above it; some were trained on drawings distorted by small affine maps or on mirror "
    "images as well, which the papers did not have.": [row for row in ROWS if "omniglot" in row],
    "Omniglot, the split of Vinyals et al., each rotation of a character a class of its own.": VINYALS,
    "Omniglot 5-way 1-shot, every learner with as many outer steps as fit into 8 minutes on two cores; "
    "its settings are in the files, and none was tuned on these tasks; imaml's damping, reptile's "
    "mini-batches and where r2d2 starts were chosen on validation tasks.": FAMILY,
    "Omniglot 20-way 1-shot, the six learners that lead at 5-way, with as many outer steps as fit into 20 "
    "minutes on two cores; none was tuned on these tasks.": TWENTY,
    "Trained on invented characters alone (`glyphs`), tested on Omniglot's evaluation alphabets, the "
    "lake split.": GLYPHS,
    "CIFAR-FS, from a lossy copy of CIFAR-100 (JPEG of quality 85), 15 queries of each class, as many "
    "outer steps as fit into 30 minutes on two cores. Training photographs are mirrored and moved by a few "
    "pixels; tasks in an outer step were chosen on validation tasks.": CIFAR,
    "CIFAR-FS 5-shot, the same with 5 queries of each class and as many outer steps as fit into 20 minutes "
    "on two slower cores.": CIFAR_5_SHOT,
    "CIFAR-FS 1-shot, with a quarter of the outer steps, to show what four times the training is worth.": (
        SHORTER
    ),
}


def family_picture(results: list[dict]):
    """Accuracy of every learner of the same budget, both policies, the best on top."""
    from matplotlib.figure import Figure

    results = sorted(results, key=lambda r: r["transductive"]["mean"][0])
    figure = Figure(figsize=(7, 0.8 + 0.24 * len(results)), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(results))
    for policy, marker, shift in (("transductive", "o", 0.12), ("inductive", "s", -0.12)):
        axes.errorbar(
            [r[policy]["mean"][0] for r in results],
            heights + shift,
            xerr=[r[policy]["interval_95"][0] for r in results],
            fmt=marker,
            markersize=4,
            label=policy,
        )
    axes.set_yticks(heights, [r["settings"]["learner"] for r in results])
    axes.set(xlabel="accuracy %, Omniglot 5-way 1-shot", title="Eight minutes of training each")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _accuracies(title: str, results: list[dict]) -> list[str]:
    lines = [
        title,
        "",
        "| | seed | distorted | inner steps at test | transductive | inductive | published | test tasks "
        "| outer steps | training |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    if results[0]["row"] in MINUTES:
        results = sorted(results, key=lambda r: -r["transductive"]["mean"][0])
    for result in results:
        settings = result["settings"]
        kind: type[CifarFs | Omniglot] = CifarFs if result["recipe"] == "cifar_fs" else Omniglot
        known = {field.name for field in fields(kind)}
        of = kind(**{name: value for name, value in settings.items() if name in known})
        rows = cifar_fs.published(of) if isinstance(of, CifarFs) else omniglot.published(of)
        best = "; ".join(f"{p.values[-1]:g} ({p.name})" for p in images.published(of, rows))
        drawn = settings.get("source") == "omniglot"
        distortion = settings["distortion"] if drawn else 0.0
        rates = "".join(
            f", {name.replace('_', ' ')} {getattr(of, name):g}"
            for name in ("inner_rate", "outer_rate")
            if "step" in result["columns"][0] and getattr(of, name) != getattr(kind(), name)
        )
        mean = f", mean of {len(MEANS[result['row']])} networks" if result["row"] in MEANS else ""
        for i, column in enumerate(result["columns"]):
            scores = [
                _percent(of.way, result[policy]["mean"][i], result[policy]["interval_95"][i])
                for policy in ("transductive", "inductive")
            ]
            cells = [
                f"{of.learner} {of.way}-way {of.shot}-shot{rates}{mean}",
                str(result["seed"]),
                (f"{100 * distortion:.0f} %" if distortion else "no")
                + (", mirrored" if settings.get("reflections") else ""),
                column.removeprefix("step ") if "step" in column else "none",
                *scores,
                best,
                f"{result['num_test_tasks']:,}",
                f"{of.outer_steps:,}",
                _time(result),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=ALL)
    parser.add_argument("--data", help="the folder that holds the data sets' folders")
    parser.add_argument("--budget", action="store_true", help="on a machine that does nothing else")
    parser.add_argument(
        "--beside-other-work",
        action="store_true",
        help="say that the time of training is not its own",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", action="store_true", help="rewrite the tables in README.md")
    arguments = parser.parse_args()
    if arguments.budget:
        one_device_per_core()
        budget(arguments.data)
    if arguments.row:
        one_device_per_core()
        run(arguments.row, arguments.seed, arguments.data, arguments.beside_other_work)
    if arguments.tables:
        record.put_into_readme("accuracy.py", tables())
