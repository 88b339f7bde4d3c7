"""Trains learners of ratings on several splits and seeds, and judges them beside fair baselines.

python benchmarks/recommendation.py films    trains what is missing, writes results/recommendation_films.json
python benchmarks/recommendation.py speed    users a second, catalogues, reading

Studies are in rows/recommendation.py. Predictions are kept in runs/recommendation/, so that a study goes on
where it stopped. Nothing is selected on test users.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.recommendation import SPLITS, STUDIES, Study

import metajax as mj
from metajax.data import movietweetings
from metajax.recipes.recommendation import inputs, ratings
from metajax.recipes.recommendation.baselines import BASELINES, FAIR
from metajax.recipes.recommendation.fair import support_residuals
from metajax.recipes.recommendation.judge import Judged, Predict, absolute_error, judge
from metajax.recipes.recommendation.prepared import Prepared, prepared, ratings_of
from metajax.recipes.recommendation.report import predicted
from metajax.recipes.recommendation.setting import Setting
from metajax.recipes.run import estimator_of

RUNS = Path("runs/recommendation")
SHARES = np.linspace(0, 1, 11)


def parts_of(study: Study, split: int, table: Any) -> dict[str, Prepared]:
    """The prepared ratings of each scenario of a split."""
    return {
        name: prepared(replace(study.settings, split_seed=split, **own), table)
        for name, own in study.scenarios.items()
    }


def trained(study: Study, parts: dict[str, Prepared], learner: str, seed: int) -> dict[str, Any]:
    """Trains a learner, and returns its predictions of validation and test tasks of every scenario."""
    first = next(iter(parts.values()))
    own = replace(first.settings, learner=learner, seed=seed, **study.learners[learner])
    experiment = ratings.experiment(first._replace(settings=own))
    mesh = mj.task_mesh(own.meta_batch)
    state = mj.fit(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(seed),
        outer_steps=own.outer_steps,
        meta_batch=own.meta_batch,
        estimator=estimator_of(experiment, own.meta_batch, mesh),
        show_progress=False,
    )
    found = {}
    for name, p in parts.items():
        read = p._replace(known=first.known)
        predict = predicted(read, experiment.learner, state.meta_params)
        for part in ("val", "test"):
            tasks = getattr(p.split, part)
            for k in p.split.supports:
                found[f"{name}/{part}/{k}"] = predict(tasks, k).astype(np.float32)
    return found


def kept(study_name: str, split: int, learner: str, seed: int) -> Path:
    return RUNS / f"{study_name}-{split}-{learner}-{seed}.npz"


def train(study_name: str, study: Study, table: Any) -> None:
    """Trains all that has no predictions yet."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for seed in study.seeds:
        for split in SPLITS:
            missing = [n for n in study.learners if not kept(study_name, split, n, seed).exists()]
            parts = parts_of(study, split, table) if missing else {}
            for learner in missing:
                begun = time.perf_counter()
                found = trained(study, parts, learner, seed)
                path = kept(study_name, split, learner, seed)
                np.savez_compressed(path.with_suffix(".part.npz"), **found)
                path.with_suffix(".part.npz").rename(path)
                print(
                    study_name,
                    split,
                    learner,
                    seed,
                    f"{time.perf_counter() - begun:.0f} s",
                    flush=True,
                )


def stored(found: Any, scenario: str, p: Prepared) -> Predict:
    """Predictions that were kept, as a function of tasks."""
    return lambda tasks, k: found[f"{scenario}/{'val' if tasks is p.split.val else 'test'}/{k}"]


def mean_of(several: list[Predict]) -> Predict:
    return lambda tasks, k: np.mean([predict(tasks, k) for predict in several], axis=0)


def blended(p: Prepared, first: Predict, second: Predict) -> Predict:
    """The weighted mean of two predictions, the weight of each number of ratings tuned on validation users."""
    scale, val = p.ratings.scale, p.split.val
    share = {
        k: min(
            SHARES,
            key=lambda w, k=k: absolute_error(
                scale, w * first(val, k) + (1 - w) * second(val, k), val
            ),
        )
        for k in p.split.supports
    }
    return lambda tasks, k: share[k] * first(tasks, k) + (1 - share[k]) * second(tasks, k)


def oracles(p: Prepared) -> dict[str, Predict]:
    """Predictions that know query ratings: the best bias of the user, and also the best slope."""

    def apart(tasks):
        base = p.known.mean + p.known.item_bias(tasks.query_item)
        return base, tasks.query_rating - base

    def bias(tasks, k):
        base, left = apart(tasks)
        given = support_residuals(p.known, p.split, tasks)[:, :k]
        return base + np.nanmean(np.concatenate([left, given], axis=1), axis=1)[:, None]

    def genres(tasks, k):
        base, left = apart(tasks)
        rated = ~np.isnan(left)
        bias = np.nanmean(left, axis=1)[:, None]
        design = p.ratings.features[tasks.query_item] * rated[..., None]
        right = np.einsum("tqa,tq->ta", design, np.where(rated, left - bias, 0))
        gram = np.einsum("tqa,tqb->tab", design, design) + 10 * np.eye(design.shape[-1])
        taste = np.linalg.solve(gram, right[..., None])[..., 0]
        return base + bias + np.einsum("ta,tqa->tq", taste, p.ratings.features[tasks.query_item])

    return {"the user's own mean of queries and supports": bias, "and a taste of genres": genres}


def rows_of(
    study_name: str, study: Study, scenario: str, split: int, p: Prepared
) -> Iterator[tuple[str, list[Predict]]]:
    """Every row of a table, with a prediction for each seed."""
    setting = Setting(p.ratings, p.split, p.known)
    fair = BASELINES[FAIR](setting)
    means = {}
    for learner in study.learners:
        files = [kept(study_name, split, learner, seed) for seed in study.seeds]
        each = [stored(np.load(file), scenario, p) for file in files if file.exists()]
        if len(each) < len(study.seeds):
            raise SystemExit(
                f"{study_name}: {learner} is not trained on split {split} with every seed."
            )
        means[learner] = mean_of(each)
        yield learner, each
    if len(study.learners) > 1:
        if len(study.seeds) > 1:
            yield f"neural_process, mean of {len(study.seeds)}", [means["neural_process"]]
        both = mean_of([means["neural_process"], means["ridge"]])
        yield "neural_process and ridge, mean", [both]
        yield f"the same with {FAIR}, tuned weight", [blended(p, both, fair)]
    for name, fit in BASELINES.items():
        yield name, [fit(setting)]


def pooled(
    found: list[tuple[int, Judged]], value: Callable[[Judged], dict], k: int
) -> dict[int, float]:
    """The mean of each user over seeds and splits."""
    sums: dict[int, list[float]] = {}
    for _, judged in found:
        for user, number in zip(judged.users.tolist(), value(judged)[k], strict=True):
            sums.setdefault(user, []).append(float(number))
    return {user: float(np.mean(numbers)) for user, numbers in sums.items()}


def summary(rows: dict[str, list[tuple[int, Judged]]], supports) -> dict[str, Any]:
    """Means and intervals over users of every row, and the paired difference to the fair baseline."""
    measures = {
        "mae": lambda judged: judged.absolute,
        "mse": lambda judged: judged.squared,
        "ndcg": lambda judged: judged.ranking,
    }
    fair = {k: pooled(rows[FAIR], measures["mae"], k) for k in supports} if FAIR in rows else None
    out: dict[str, Any] = {}
    for name, found in rows.items():
        row: dict[str, list[float]] = {}
        for k in supports:
            by = {m: pooled(found, value, k) for m, value in measures.items()}
            scores = {m: mj.score(list(values.values())) for m, values in by.items()}
            root = float(scores["mse"].mean) ** 0.5
            pairs = {
                "mae": (scores["mae"].mean, scores["mae"].interval),
                "rmse": (root, scores["mse"].interval / (2 * root)),
                "ndcg": (scores["ndcg"].mean, scores["ndcg"].interval),
            }
            if fair is not None:
                apart = mj.score([by["mae"][user] - fair[k][user] for user in fair[k]])
                pairs["difference"] = apart.mean, apart.interval
            for measure, (mean, interval) in pairs.items():
                row.setdefault(measure, []).append(float(mean))
                row.setdefault(f"{measure}_interval", []).append(float(interval))
        out[name] = row
    return out


def write(study_name: str, study: Study, table: Any) -> None:
    """Judges everything that is kept, and writes the result of a study."""
    rows: dict[str, dict[str, list]] = {name: {} for name in study.scenarios}
    known: dict[str, dict[str, list]] = {name: {} for name in study.scenarios}
    strengths: dict[str, list] = {name: [] for name in study.scenarios}
    for split in SPLITS:
        for scenario, p in parts_of(study, split, table).items():
            strengths[scenario].append(p.known.shrinkage._asdict())
            for name, several in rows_of(study_name, study, scenario, split, p):
                judged = [
                    judge(p.ratings.scale, one, p.split.test, p.split.supports) for one in several
                ]
                rows[scenario].setdefault(name, []).extend((split, one) for one in judged)
            for name, one in oracles(p).items():
                judged = judge(p.ratings.scale, one, p.split.test, p.split.supports)
                known[scenario].setdefault(name, []).append((split, judged))
            print(study_name, scenario, split, "judged", flush=True)
    supports = study.settings.supports
    result = {
        "scenarios": {
            scenario: {
                "users": len({u for _, judged in found[FAIR] for u in judged.users.tolist()}),
                "supports": supports,
                "rows": summary(found, supports),
                "oracles": summary(known[scenario], supports),
                "shrinkage": strengths[scenario],
            }
            for scenario, found in rows.items()
        },
        "learners": {name: dict(own) for name, own in study.learners.items()},
        "splits": SPLITS,
        "seeds": study.seeds,
        "settings": {
            "data_set": study.settings.data_set,
            "outer_steps": study.settings.outer_steps,
        },
        **record.context(),
    }
    print(record.write(f"recommendation_{study_name}", result))


def complete(study_name: str, study: Study, table: Any) -> None:
    """Adds the baselines that a result lacks, on the same tasks, and trains nothing.

    Raises:
      SystemExit: If the fair baseline does not come out as it is in the result.
    """
    result = record.read(f"recommendation_{study_name}")
    if result is None:
        raise SystemExit(f"{study_name}: there is no result to complete.")
    added: dict[str, dict[str, list[tuple[int, Judged]]]] = {name: {} for name in study.scenarios}
    for split in SPLITS:
        for scenario, p in parts_of(study, split, table).items():
            have = result["scenarios"][scenario]["rows"]
            for name in (FAIR, *(one for one in BASELINES if one not in have)):
                fit = BASELINES[name](Setting(p.ratings, p.split, p.known))
                judged = judge(p.ratings.scale, fit, p.split.test, p.split.supports)
                added[scenario].setdefault(name, []).append((split, judged))
            print(study_name, scenario, split, "judged", flush=True)
    for scenario, rows in added.items():
        found, have = summary(rows, study.settings.supports), result["scenarios"][scenario]["rows"]
        if not np.allclose(found[FAIR]["mae"], have[FAIR]["mae"], atol=1e-6):
            raise SystemExit(
                f"{study_name}: {FAIR} is another than in the result; judge all again."
            )
        learned = {name: row for name, row in have.items() if name not in BASELINES}
        every = {**found, **have}
        result["scenarios"][scenario]["rows"] = learned | {n: every[n] for n in BASELINES}
    new = sorted({name for rows in added.values() for name in rows if name != FAIR})
    result["added"] = {"rows": new, "commit": record.commit()}
    print(record.write(f"recommendation_{study_name}", result))


def speed() -> None:
    """Measures adaptation, scoring and reading."""
    begun = time.perf_counter()
    table = movietweetings.load()
    cold = time.perf_counter() - begun
    begun = time.perf_counter()
    table = movietweetings.load()
    warm = time.perf_counter() - begun
    rows = {
        "100,000 ratings read": f"{warm:.2f} s (the first time, polars loaded too, {cold:.2f} s)"
    }
    shrinkage = (1.0, 2.0, 3.0, 25.0, 0.0, 25.0, 1.0)
    p = prepared(
        ratings.Ratings(data_set="movietweetings", shrinkage=shrinkage, split_seed=0), table
    )
    items = inputs.table(table, p.known)
    task = inputs.frozen_tasks(items, p.known, p.split, p.split.test, 10)
    catalogue = inputs.described(
        items,
        np.arange(len(table.items)),
        items.total,
        items.number,
        np.ones(len(table.items), bool),
    )
    for name in ("ridge", "neural_process", "anil"):
        learner = ratings.experiment(p._replace(settings=replace(p.settings, learner=name))).learner
        support = jax.tree.map(lambda leaf: leaf[0], task.support)
        meta_params = learner.init(jax.random.key(0), support.x)

        def served(meta_params, support, x, learner=learner):
            def one(support):
                return learner.predict(learner.adapt(meta_params, support, jax.random.key(0)), x)[
                    :, 0
                ]

            return jax.lax.map(one, support, batch_size=32)

        def adapted(meta_params, support, learner=learner):
            def one(support):
                return learner.adapt(meta_params, support, jax.random.key(0))

            states = jax.vmap(one)(support)
            return jax.tree.map(lambda leaf: leaf.sum(), states)  # of which nothing is left out

        many = jax.tree.map(
            lambda leaf: jax.numpy.tile(leaf[:512], (2, *[1] * (leaf.ndim - 1))), task.support
        )
        number = len(many.y)
        seconds = timed(jax.jit(adapted), meta_params, many)
        rows[f"{name}: users adapted a second"] = f"{number / seconds:,.0f}"
        seconds = timed(
            jax.jit(served), meta_params, jax.tree.map(lambda leaf: leaf[:64], many), catalogue
        )
        rows[f"{name}: users a second, the whole catalogue scored"] = f"{64 / seconds:,.0f}"
        sizes = []
        for times in (1, 10):
            more = jax.tree.map(
                lambda leaf, n=times: jax.ShapeDtypeStruct((64 * n, *leaf.shape[1:]), leaf.dtype),
                many,
            )
            compiled = jax.jit(served).lower(meta_params, more, catalogue).compile()
            analysis = compiled.memory_analysis()
            assert analysis is not None
            sizes.append(analysis.temp_size_in_bytes / 2**20)
        rows[f"{name}: memory for 64 and 640 users"] = f"{sizes[0]:.0f} and {sizes[1]:.0f} MB"
    result = {"rows": rows, "items": len(table.items), **record.context()}
    print(record.write("recommendation_speed", result).read_text())


def timed(function, *arguments) -> float:
    """The median seconds of a compiled call."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=[*STUDIES, "speed"])
    parser.add_argument("--judge", action="store_true", help="train nothing")
    parser.add_argument("--complete", action="store_true", help="add baselines that a result lacks")
    parser.add_argument("--seeds", type=int, help="take the first so many seeds")
    arguments = parser.parse_args()
    if arguments.study == "speed":
        speed()
    else:
        chosen = STUDIES[arguments.study]
        chosen = chosen._replace(seeds=chosen.seeds[: arguments.seeds])
        everything = ratings_of(chosen.settings.data_set)
        if arguments.complete:
            complete(arguments.study, chosen, everything)
        else:
            if not arguments.judge:
                train(arguments.study, chosen, everything)
            write(arguments.study, chosen, everything)
