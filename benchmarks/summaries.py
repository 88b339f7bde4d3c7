"""Trains learners of summaries with several seeds, and judges them beside their baselines.

python benchmarks/summaries.py             trains what is missing, writes results/summaries.json
python benchmarks/summaries.py --seeds 1   the first seed alone

The study is in rows/summaries.py. Scores of each task and document are kept in runs/summaries/, so that it goes
on where it stopped. Nothing is selected on test documents.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
from rows.summaries import STUDY

import metajax as mj
from metajax.recipes.language import summaries
from metajax.recipes.language.documents import table
from metajax.recipes.language.rouge_rows import rouge_rows
from metajax.recipes.language.style_scores import adapting, style_shares, style_tasks
from metajax.recipes.language.summary_baselines import Scorer, shares
from metajax.recipes.language.summary_data import Prepared, corpus_of, prepared
from metajax.recipes.run import estimator_of

RUNS = Path("runs/summaries")
STYLES = "styles"


def trained(p: Prepared, own: Mapping[str, Any], seed: int) -> Scorer:
    """Trains a learner, which is returned as a scorer."""
    s = replace(p.settings, seed=seed, **own)
    e = summaries.experiment(p._replace(settings=s))
    state = mj.fit(
        e.learner,
        e.objective,
        e.optimizer,
        e.train,
        key=jax.random.key(seed),
        outer_steps=s.outer_steps,
        meta_batch=s.meta_batch,
        estimator=estimator_of(e, s.meta_batch, mj.task_mesh(s.meta_batch)),
        show_progress=False,
    )
    return adapting(e.learner, state.meta_params)


def elsewhere(p: Prepared, name: str) -> Prepared:
    """Another corpus, read as that of the study."""
    other = corpus_of(name)
    every = (*other.train, *other.val, *other.test)
    read = table(every, p.how, p.settings.sentences)
    return p._replace(corpus=other._replace(train=every, test=every), pool=read, judged=read)


def scores_of(p: Prepared, others: Mapping[str, Prepared], name: str, scorer: Scorer) -> dict:
    """The scores of one learner: styles, and every corpus."""
    found = {STYLES: shares(scorer, style_tasks(p).task, p.settings.sentences)}
    found[p.corpus.name] = rouge_rows(p, {name: scorer})[name]
    for other, there in others.items():
        found[other] = rouge_rows(p, {name: scorer}, there=there)[name]
    return found


def keep(path: Path, found: Mapping[str, np.ndarray]) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    arrays: dict[str, Any] = dict(found)
    np.savez_compressed(part, **arrays)
    part.rename(path)


def train(p: Prepared, others: Mapping[str, Prepared], seeds: tuple[int, ...]) -> None:
    """Trains and judges all that is missing, baselines first."""
    for part, there in {STYLES: None, p.corpus.name: None, **others}.items():
        path = RUNS / f"baselines-{part}.npz"
        if not path.exists():
            rows = style_shares(p, {}) if part == STYLES else rouge_rows(p, {}, there=there)
            keep(path, rows)
            print("baselines", part, flush=True)
    for seed in seeds:
        for name, own in STUDY.learners.items():
            path = RUNS / f"{name}-{seed}.npz"
            if path.exists():
                continue
            begun = time.perf_counter()
            keep(path, scores_of(p, others, name, trained(p, own, seed)))
            print(name, seed, f"{time.perf_counter() - begun:.0f} s", flush=True)


def row(values: np.ndarray) -> list:
    """A mean and half its interval for each column, in percent."""
    found = mj.score(100 * values)
    pairs = np.stack([np.atleast_1d(found.mean), np.atleast_1d(found.interval)], axis=1).tolist()
    return pairs[0] if values.ndim == 1 else pairs


def part_of(part: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The rows of one table, and how far the first learner is above each, paired."""
    values = dict(np.load(RUNS / f"baselines-{part}.npz"))
    learners = {
        name: np.mean([np.load(RUNS / f"{name}-{seed}.npz")[part] for seed in seeds], axis=0)
        for name in STUDY.learners
        if all((RUNS / f"{name}-{seed}.npz").exists() for seed in seeds)
    }
    first = next(iter(learners.values()))
    values = {**learners, **values}
    apart = {}
    for name, other in values.items():
        difference = first - other
        if other is not first:
            apart[name] = row(difference if difference.ndim == 1 else difference[:, 0])
    return {
        "documents": len(first),
        "rows": {name: row(other) for name, other in values.items()},
        "apart": apart,
    }


def write(p: Prepared, seeds: tuple[int, ...]) -> None:
    """Writes the result file from what is kept."""
    styles = part_of(STYLES, seeds)
    result = {
        "tasks": styles.pop("documents"),
        STYLES: styles,
        "corpora": {corpus: part_of(corpus, seeds) for corpus in (p.corpus.name, *STUDY.on)},
        "notes": p.corpus.notes,
        "learners": STUDY.learners,
        "seeds": seeds,
        "settings": {"outer_steps": p.settings.outer_steps, "meta_batch": p.settings.meta_batch},
        **record.context(),
    }
    print(record.write("summaries", result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, help="take the first so many seeds")
    chosen = STUDY.seeds[: parser.parse_args().seeds]
    documents = prepared(STUDY.settings)
    corpora = {name: elsewhere(documents, name) for name in STUDY.on}
    train(documents, corpora, chosen)
    write(documents, chosen)
