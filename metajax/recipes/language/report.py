"""A learner of sentences beside its baselines, on the same frozen tasks of every test domain."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metajax.data.sentences import Sentences
from metajax.evaluation import score
from metajax.nn.models import pixels
from metajax.recipes.experiment import Report, ScoreTable, Shots
from metajax.recipes.language.baselines import BASELINES, tuned
from metajax.recipes.language.judge import Judged, judge, sources
from metajax.recipes.language.prepared import Prepared
from metajax.tasks.sentences import sentences
from metajax.types import Learner, Params, Sample

UNTRAINED = "untrained"


def rows_of(
    p: Prepared,
    candidates: Mapping[str, tuple[Learner, Params]],
    shots: Shots,
    *,
    num_tasks: int,
    seed: int = 1,
) -> dict[str, Judged]:
    """Every candidate and every baseline on the same tasks, baselines tuned on validation tasks of their size.

    Args:
      p: The prepared sentences.
      candidates: Names to learners and what they start from.
      shots: The size of a task.
      num_tasks: The number of test tasks.
      seed: Of the test tasks.

    Raises:
      ValueError: For a label with too few sentences, or a domain with too few labels.
    """
    how: Any = {"num_tasks": num_tasks, "seed": seed}
    samples = test_sources(p, p.fitted.inputs, shots)
    rows = {
        name: judge(learner, meta_params, samples, shots, **how)
        for name, (learner, meta_params) in candidates.items()
    }
    samples, val = test_sources(p, p.plain_rows, shots), val_source(p, shots)
    for name in BASELINES:
        learner, meta_params = tuned(name, pixels, val)
        rows[name] = judge(learner, meta_params, samples, shots, **how)
    return rows


def test_sources(p: Prepared, inputs: Callable[[Sentences], np.ndarray], shots: Shots):
    """Test tasks of every domain, of what `inputs` gives of sentences: the same tasks for any of them."""
    outside = inputs(p.outside) if p.outside.texts else None
    return sources(p.name, p.test, inputs(p.test), outside, shots)


def val_source(p: Prepared, shots: Shots) -> Sample:
    """Validation tasks of this size, or of as many classes as there are, for baselines."""
    return sentences(
        p.val,
        p.plain_rows(p.val),
        way=min(shots.way or 1, p.most_val_way),
        shot=shots.shot,
        query_shot=shots.query_shot,
        name=p.name,
    )


def report(p: Prepared, rows: Mapping[str, Judged], shots: Shots, first: str) -> Report:
    """Returns the tables of these rows: accuracy by domain, differences to the first row, and outsiders.

    Args:
      p: The prepared sentences.
      rows: Names to scores on the same tasks.
      shots: The size of a task.
      first: The row that the others are compared with.
    """
    ours = rows[first]
    number = sum(len(values) for values in ours.accuracy.values())
    size = f"{shots.way}-way {shots.shot}-shot"
    tables = [
        _table(f"accuracy %, {size}", {name: row.accuracy for name, row in rows.items()}),
        _table(
            f"accuracy of {first} above each row, task by task",
            {
                name: {d: ours.accuracy[d] - row.accuracy[d] for d in ours.accuracy}
                for name, row in rows.items()
                if name != first
            },
        ),
    ]
    notes = [
        "All classes of a task are of one domain, no class of which is for training",
        f"Baselines, {UNTRAINED} r2d2 among them, are tuned on validation tasks",
    ]
    if ours.auroc:
        scores = {name: row.auroc for name, row in rows.items()}
        tables.append(_table("AUROC % of queries against sentences outside of all classes", scores))
        notes.append("AUROC is that of the greatest logit, within a task")
    title = f"{first} on {number:,} tasks of {p.test.name}, {size}"
    return Report(title, tuple(tables), tuple(notes))


def pair(values: np.ndarray) -> tuple[float, float]:
    """The mean of tasks, and half its 95% interval."""
    found = score(values)
    return float(found.mean), float(found.interval)


def _table(title: str, rows: Mapping[str, Mapping[str, np.ndarray]]) -> ScoreTable:
    domains = list(next(iter(rows.values())))
    several = len(domains) > 1
    cells = {
        name: (
            *((pair(np.concatenate(list(row.values()))),) if several else ()),
            *(pair(row[domain]) for domain in domains),
        )
        for name, row in rows.items()
    }
    return ScoreTable(title, (*(("all",) if several else ()), *domains), cells, 1)
