"""What a page of results is made of: rows that are trained and tested, and the tables they fill."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import record

import metajax as mj
from metajax.recipes.experiment import Experiment

NOT_RUN = "not run"


def both_policies(
    experiment: Experiment, learner: mj.Learner, meta_params: Any, num_tasks: int
) -> dict[str, Any]:
    """Tests the experiment's metric after each of its numbers of inner steps.

    Returns:
      Mean, interval and median over tasks whose queries are predicted together ("transductive") and,
      where they depend on each other, one by one ("inductive").
    """
    scores = mj.evaluate(
        learner,
        meta_params,
        experiment.test,
        experiment.metric,
        key=jax.random.key(1),
        num_tasks=num_tasks,
        num_steps=experiment.eval_steps,
        inductive=experiment.inductive,
    )

    def numbers(score):
        return {
            "mean": finite(experiment.scale * score.mean),
            "interval_95": finite(experiment.scale * score.interval),
            "median": finite(experiment.scale * np.median(score.values, axis=0)),
        }

    return {
        "metric": experiment.metric_name,
        "columns": experiment.columns,
        "transductive": numbers(scores),
        "inductive": numbers(scores.inductive) if scores.inductive else None,
    }


@dataclass(frozen=True)
class Row:
    """One model to train and test.

    settings: Of a recipe, with its default seed.
    test_tasks: The number of test tasks.
    minutes: Of training on two cores with nothing else beside it, from which the number of outer
      steps follows; None for the number in the settings.
    same_training: The row whose trained model is tested, because training is the same.
    members: Rows and seeds whose mean probability predicts; each is trained apart.
    reports: How often training validates, in all; None for the loop's own choice.
    measure: What is tested: `(experiment, learner, meta_params, num_tasks)` to entries of the result.
    """

    settings: Any
    test_tasks: int
    minutes: float | None = None
    same_training: str | None = None
    members: tuple[tuple[str, int], ...] = ()
    reports: int | None = None
    measure: Callable[..., dict[str, Any]] = both_policies


class Section(NamedTuple):
    """One part of a page.

    title: Its heading.
    text: Writes its Markdown from the result files.
    rows: Those that `accuracy.py` trains.
    pictures: Each file name to a function that draws the figure from the result files.
    """

    title: str
    text: Callable[[], str]
    rows: Mapping[str, Row] = MappingProxyType({})
    pictures: Callable[[], Mapping[str, Callable[[], Any]]] = dict


class Page(NamedTuple):
    """A page of `docs/results`: a title, a paragraph, and sections."""

    title: str
    intro: str
    sections: tuple[Section, ...]

    def markdown(self) -> str:
        """The page as it is kept."""
        parts = [f"# {self.title}", GENERATED, self.intro]
        for section in self.sections:
            parts += [f"## {section.title}", section.text()]
        return "\n\n".join(parts) + "\n"


GENERATED = "<!-- Written by `python benchmarks/tables.py`; change benchmarks/rows/ instead. -->"


def lines(titles: Iterable[str], rows: Iterable[Iterable[str]], *, names: int = 1) -> str:
    """A table in Markdown, and below it the names of rows of which nothing was run.

    Args:
      titles: of the columns.
      rows: of cells; one that was not run has nothing but "not run" after its name.
      names: how many columns a name takes.

    Example:
      >>> print(lines(["a", "b"], [["1", "2"], ["3", "not run"]]))
      | a | b |
      |---|---|
      | 1 | 2 |
      <BLANKLINE>
      Not run: 3.
    """
    titles, rows = list(titles), [list(row) for row in rows]
    missing = [row for row in rows if NOT_RUN in row and set(row[names:]) <= {NOT_RUN, ""}]
    measured = [row for row in rows if row not in missing]
    head = [_line(titles), "|" + "---|" * len(titles)]
    parts = ["\n".join([*head, *map(_line, measured)])] if measured or not missing else []
    if missing:
        parts.append(f"Not run: {'; '.join(' '.join(row[:names]) for row in missing)}.")
    return "\n\n".join(parts)


def not_run(name: str, columns: int) -> list[str]:
    """The cells of a row that is declared and has no result."""
    return [name, NOT_RUN, *[""] * (columns - 2)]


def version_of(result: Mapping[str, Any]) -> str:
    """The version that was measured, and parts that were measured with another commit."""
    apart: dict[str, list[str]] = {}
    for part, commit in result.get("commits", {}).items():
        if commit != result["commit"]:
            apart.setdefault(commit, []).append(part)
    others = [f"{' and '.join(parts)} at {commit}" for commit, parts in apart.items()]
    return "; ".join([record.version_of(result), *others])


def measured(result: Mapping[str, Any], script: str) -> str:
    """The sentence below a table: the version that was measured, and how to repeat it."""
    return f"Measured with metajax {version_of(result)}; reproduce with `python {script}`."


def finite(values: Any) -> list[float | None]:
    """Numbers for JSON, which has neither infinity nor nan."""
    return [float(v) if np.isfinite(v) else None for v in np.atleast_1d(values)]


def training_time(row: Row, result: Mapping[str, Any]) -> str:
    """The time of training; none where nothing is learned over tasks, which takes one outer step.

    A run that was stopped or shared the machine has a time that says nothing.
    """
    seconds = result["training_seconds"]
    if result["settings"]["outer_steps"] == 1:
        return "none"
    if row.minutes is not None:
        return f"{row.minutes:.0f} min"
    if result.get("training_paused") or result.get("training_beside_other_work"):
        return "shared"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
