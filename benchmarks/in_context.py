"""Train and test learners that adapt by a forward pass, keep each as JSON, and write their tables.

python benchmarks/in_context.py linear_gaussian_transformer    train (or resume, or only test) one row
python benchmarks/in_context.py --tables                       rewrite the tables in README.md

Runs are kept in runs/in_context/ROW-SEED and go on where they stopped; results are in
results/in_context_ROW-SEED.json. The last checkpoint is the one tested.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import record

import metajax as mj
from metajax import recipes
from metajax.cli.machine import one_device_per_core
from metajax.recipes.synthetic.icl import BINS, Icl, prior_of
from metajax.recipes.vision import images, omniglot
from metajax.recipes.vision.omniglot import Omniglot

LINEAR = Icl(outer_steps=9_000)
PROCESSES = {
    f"{source}_{learner}": Icl(learner=learner, source=source, outer_rate=1e-3, outer_steps=20_000)
    for source in ("sinusoid", "gaussian_process")
    for learner in ("neural_process", "attentive_process")
}
ROWS: dict[str, Icl | Omniglot] = {
    "linear_gaussian_transformer": LINEAR,
    "linear_gaussian_prior_fitted": dataclasses.replace(
        LINEAR, learner="prior_fitted", outer_steps=4_000
    ),
    **PROCESSES,
    "gaussian_process_prior_fitted": Icl(
        learner="prior_fitted", source="gaussian_process", outer_rate=1e-3, outer_steps=4_000
    ),
    "omniglot_transformer_5w1s": Omniglot(learner="transformer", outer_steps=12_000),
    "omniglot_snail_5w1s": Omniglot(learner="snail", outer_steps=12_000),
}
TEST_TASKS = {"icl": 10_000, "omniglot": 4_000}


def run(row: str, seed: int) -> None:
    settings = dataclasses.replace(ROWS[row], seed=seed)
    recipe = recipes.name_of(settings)
    folder = Path("runs/in_context") / f"{row}-{seed}"
    experiment = recipes.build(settings)
    state = recipes.train(experiment, settings, folder, resume=folder.exists())
    if int(state.step) < settings.outer_steps:
        return
    options = {"key": jax.random.key(1), "num_tasks": TEST_TASKS[recipe]}

    def score(metric, **more):
        return mj.evaluate(
            experiment.learner, state.meta_params, experiment.test, metric, **options, **more
        )

    result = {
        "row": row,
        "seed": seed,
        "recipe": recipe,
        "settings": dataclasses.asdict(settings) | ({"data": None} if recipe == "omniglot" else {}),
        "num_test_tasks": TEST_TASKS[recipe],
        "test_seed": 1,
        "checkpoint": "last",
        "interval": "1.96 standard deviations over tasks / sqrt(tasks), of one trained model",
        **record.context(),
    }
    if isinstance(settings, Omniglot):
        scores = score(experiment.metric)
        assert scores.inductive is not None
        policies = {"transductive": scores, "inductive": scores.inductive}
        result["scores"] = {
            name: {"accuracy %": numbers(policy, scale=100.0)} for name, policy in policies.items()
        }
    else:
        result["scores"] = regression(settings, experiment, score, options)
    record.write(f"in_context_{row}-{seed}", result)
    print(json.dumps({key: result[key] for key in ("row", "scores")}, indent=2))


def regression(settings: Icl, experiment, score, options) -> dict:
    """Error, and where the predictions are distributions likelihood and coverage, beside the best."""
    metrics = {"error": experiment.metric}
    if settings.learner == "prior_fitted":
        edges = recipes.icl.edges_of(experiment.train, BINS)
        metrics |= {"nll": experiment.loss, "coverage": mj.binned_coverage(edges)}
    elif "process" in settings.learner:
        metrics |= {"nll": experiment.loss, "coverage": mj.coverage}
    found = {name: score(metric, inductive=False) for name, metric in metrics.items()}
    scores = {"ours": {name: numbers(value) for name, value in found.items()}}
    prior = prior_of(settings)
    if prior.optimum is None:
        return scores
    (optimum,) = experiment.rivals(options["key"], options["num_tasks"], None)
    best = {"error": optimum.scores}
    if settings.source == "gaussian_process":
        for name, metric in {"nll": mj.gaussian_nll, "coverage": mj.coverage}.items():
            best[name] = mj.evaluate(
                prior.optimum, (), experiment.test, metric, inductive=False, **options
            )
    ratio = float(found["error"].mean / best["error"].mean)
    regret = numbers(mj.compare(found["error"], best["error"]))
    return scores | {
        "best possible": {name: numbers(value) for name, value in best.items()},
        "error over the best": ratio,
        "regret": regret,
    }


def numbers(score, scale: float = 1.0) -> dict[str, float]:
    return {
        "mean": float(scale * score.mean),
        "interval_95": float(scale * score.interval),
        "median": float(scale * np.median(score.values)),
    }


def tables() -> str:
    """The results as Markdown, from the JSON files alone: a line for each trained model."""
    found = [json.loads(path.read_text()) for path in record.RESULTS.glob("in_context_*.json")]
    order = list(ROWS)
    found.sort(key=lambda result: (order.index(result["row"]), result["seed"]))
    regressed = [result for result in found if result["recipe"] == "icl"]
    classified = [result for result in found if result["recipe"] == "omniglot"]
    parts = []
    if regressed:
        parts.append(_regression(regressed))
    if classified:
        parts.append(_omniglot(classified))
    return "\n\n".join("\n".join(part) for part in parts)


def _regression(results) -> list[str]:
    lines = [
        "Regression by reading the support set, beside the best possible predictor of the same tasks, "
        "which knows what they are drawn from: mean ± 95 % interval over test tasks. Coverage is the "
        "share of targets within the central 95 % interval of the prediction.",
        "",
        "| tasks | learner | seed | squared error | best possible | of the best | negative "
        "log-likelihood | best possible | coverage | outer steps |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        settings, scores = result["settings"], result["scores"]
        best = scores.get("best possible", {})
        tasks = settings["source"].replace("_", " ")
        if settings["source"] == "linear_gaussian":
            tasks += f", {settings['dimension'] or 4} dimensions"
        ratio = scores.get("error over the best")
        cells = [
            f"{tasks}, {settings['shot']} shots",
            settings["learner"].replace("_", " "),
            str(result["seed"]),
            _shown(scores["ours"].get("error"), 4),
            _shown(best.get("error"), 4),
            "" if ratio is None else f"{100 * ratio:.0f} %",
            _shown(scores["ours"].get("nll"), 3),
            _shown(best.get("nll"), 3),
            _shown(scores["ours"].get("coverage"), 1, 100.0, " %"),
            f"{settings['outer_steps']:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _omniglot(results) -> list[str]:
    lines = [
        "Omniglot 5-way 1-shot by reading the support set, with the convolutions and splits of the "
        "rows above: accuracy in %, mean ± 95 % interval over test tasks.",
        "",
        "| learner | seed | transductive | inductive | published | outer steps |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        settings = Omniglot(**result["settings"])
        published = "; ".join(
            f"{p.values[-1]:g} ({p.name})"
            for p in images.published(settings, omniglot.published(settings))
        )
        cells = [
            settings.learner,
            str(result["seed"]),
            *(_shown(result["scores"][policy]["accuracy %"], 2) for policy in POLICIES),
            published,
            f"{settings.outer_steps:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


POLICIES = ("transductive", "inductive")


def _shown(score, digits: int, scale: float = 1.0, unit: str = "") -> str:
    if score is None:
        return ""
    mean, interval = scale * score["mean"], scale * score["interval_95"]
    return f"{mean:.{digits}f} ± {interval:.{digits}f}{unit}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", nargs="?", choices=list(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", action="store_true", help="rewrite the tables in README.md")
    arguments = parser.parse_args()
    if arguments.row:
        one_device_per_core()
        run(arguments.row, arguments.seed)
    if arguments.tables:
        record.put_into_readme("in_context.py", tables())
