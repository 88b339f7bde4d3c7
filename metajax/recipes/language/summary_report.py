"""A learner of styles beside its baselines: on new styles, and on written summaries."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from metajax.evaluation import Score, compare, score
from metajax.recipes.experiment import Experiment, Report, ScoreTable
from metajax.recipes.language.documents import cut, table
from metajax.recipes.language.rouge_rows import rouge_rows
from metajax.recipes.language.style_scores import BEST, IDEAL, adapting, style_shares
from metajax.recipes.language.summary_baselines import NOT_ADAPTED
from metajax.recipes.language.summary_data import Prepared, corpus_of
from metajax.types import Learner, Params


def judged(
    p: Prepared, learner: Learner, meta_params: Params, seed: int = 1, there: Prepared | None = None
) -> Report:
    """Returns the report of a learner beside its baselines.

    Args:
      p: The prepared documents of the run, on which baselines are fitted and tuned.
      learner, meta_params: What is judged.
      seed: Of the test tasks.
      there: Other documents to judge on, read as those of the run.
    """
    s, name = p.settings, p.settings.learner
    ours = {name: adapting(learner, meta_params)}
    tables = []
    if there is None:
        shares = style_shares(p, ours, seed)
        cells = {row: _pair(score(100 * values)) for row, values in shares.items()}
        tables.append(ScoreTable("chosen sentences found in new styles, %", COLUMNS, cells, 1))
        tables.append(_above("found by the learner above others, style by style", shares, name))
    judged_on = p if there is None else there
    if all(d.summaries for d in judged_on.corpus.test):
        rows = rouge_rows(p, ours, seed, there)
        cells = {
            row: tuple(_one(score(100 * scores[:, i])) for i in range(3))
            for row, scores in rows.items()
        }
        tables.append(ScoreTable("ROUGE of written summaries", ("R1", "R2", "RL"), cells, 1))
        first = {row: scores[:, 0] for row, scores in rows.items()}
        tables.append(_above("ROUGE-1 of the learner above others, by document", first, name))
    return Report(
        f"{name} from {s.shot} documents of {judged_on.corpus.name}, {s.sentences} sentences",
        tuple(tables),
        (
            f"{NOT_ADAPTED} is the scorer that does not adapt; ridges are tuned on validation tasks",
            f"{IDEAL} knows how styles are drawn; {BEST} is the best possible scorer",
            "Summaries are of test documents, adapted to ten draws of training documents; on other data, of "
            "all documents but those",
            *judged_on.corpus.notes,
        ),
    )


COLUMNS = ("found",)


def _one(found: Score) -> tuple[float, float]:
    return float(found.mean), float(found.interval)


def _pair(found: Score) -> tuple[tuple[float, float], ...]:
    return (_one(found),)


def _above(title: str, values: Mapping[str, np.ndarray], name: str) -> ScoreTable:
    ours = score(100 * values[name])
    cells = {
        row: _pair(compare(ours, score(100 * other)))
        for row, other in values.items()
        if row != name
    }
    return ScoreTable(title, ("difference",), cells, 2)


def elsewhere(p: Prepared, own: Experiment, on: str, data: str | Path | None) -> Experiment:
    """Returns the experiment of a trained learner on other documents with summaries.

    Sentences are read as those of the run: with its weights of words, and its frequent words.

    Args:
      p: The prepared documents of the run.
      own: The experiment of the run.
      on: The name of a data set, or a file.
      data: The folder of the data sets.

    Raises:
      ValueError: For documents without summaries or that the run has all seen, and as `corpus_of`.
    """
    other = corpus_of(on, data)
    known = {document.sentences for document in (*p.corpus.train, *p.corpus.val)}
    read_before = (*other.train, *other.val, *other.test)
    every = tuple(document for document in read_before if document.sentences not in known)
    if not every:
        raise ValueError(
            f"evaluate: this run was trained or validated on every document of {other.name}. Use others, or "
            "leave --on out for the run's own test documents."
        )
    if len(every) < len(read_before):
        seen = len(read_before) - len(every)
        note = (
            f"{seen:,} of {len(read_before):,} documents are left out, because the run was trained or "
            "validated on them"
        )
        other = other._replace(notes=(*other.notes, note))
    missing = sum(not document.summaries for document in every)
    if missing:
        raise ValueError(
            f"evaluate: {missing} of {len(every)} documents of {other.name} have no summary, without which "
            "nothing can be judged. Give each a summary."
        )
    if len(every) <= p.settings.shot:
        raise ValueError(
            f"evaluate: {other.name} has {len(every)} documents, but shot={p.settings.shot} are needed, and "
            "more to judge."
        )
    other = other._replace(notes=(*other.notes, *cut(other.name, every)))
    read = table(every, p.how, p.settings.sentences)
    whole = p._replace(corpus=other._replace(train=every, test=every), pool=read, judged=read)
    return replace(
        own,
        test_name=other.name,
        judge=lambda meta_params, seed: judged(p, own.learner, meta_params, seed, whole),
        prepared=None,
    )
