"""The table of test scores, and its copy in JSON."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.table import Table

from metajax import files
from metajax.cli.output import cell, console, escape, plain, show, titled
from metajax.evaluation import Evaluation, Score, evaluate
from metajax.recipes.experiment import Baseline, Experiment


def test(
    experiment: Experiment,
    step: int,
    meta_params: Any,
    path: Path,
    *,
    num_tasks: int | None,
    seed: int,
    mesh: Mesh,
) -> None:
    """Measures meta-parameters on test tasks, prints a table, and writes it as JSON.

    Args:
      experiment: With the test tasks.
      step: The outer step of the meta-parameters.
      meta_params: Of the experiment's learner.
      path: The JSON file.
      num_tasks: The number of test tasks; None for the experiment's own.
      seed: Of the test tasks.
      mesh: The devices that tasks are spread over.
    """
    if experiment.judge is not None:
        _judged(experiment, step, meta_params, path, num_tasks=num_tasks, seed=seed)
        return
    e, number = experiment, experiment.test_tasks if num_tasks is None else num_tasks
    scores = measured(e, meta_params, number, seed, mesh)
    baselines = baselines_of(e, number, seed, mesh)
    files.write_json(path, facts_of(e, step, number, seed, scores, baselines))
    show(_table(e, step, number, scores, baselines))
    _notes(e, scores, baselines)


def measured(e: Experiment, meta_params: Any, number: int, seed: int, mesh: Mesh) -> Evaluation:
    """Scores of meta-parameters on test tasks."""
    return evaluate(
        e.learner,
        meta_params,
        e.test,
        e.metric,
        key=jax.random.key(seed),
        num_tasks=number,
        num_steps=e.eval_steps,
        inductive=e.inductive,
        mesh=mesh,
    )


def baselines_of(e: Experiment, number: int, seed: int, mesh: Mesh) -> tuple[Baseline, ...]:
    """Scores of the baselines on the same test tasks."""
    if e.baselines is None:
        return ()
    with console.status("measuring baselines"):
        return e.baselines(jax.random.key(seed), number, e.eval_steps, mesh)


def facts_of(
    e: Experiment,
    step: int,
    number: int,
    seed: int,
    scores: Evaluation,
    baselines: tuple[Baseline, ...],
) -> dict[str, Any]:
    """What `evaluation.json` holds."""
    facts: dict[str, Any] = {"step": step, "num_tasks": number, "seed": seed, "source": e.test_name}
    if e.shots is not None:
        facts |= e.shots._asdict()
    facts["columns"] = e.columns
    rows = {name: _numbers(e, score) for name, score in _rows(scores).items()}
    return facts | rows | {baseline.name: _numbers(e, baseline.scores) for baseline in baselines}


def _judged(
    e: Experiment, step: int, meta_params: Any, path: Path, *, num_tasks: int | None, seed: int
) -> None:
    """Prints the tables of an experiment's own report, and writes them as JSON.

    Raises:
      ValueError: For a number of tasks, which are frozen.
    """
    if num_tasks is not None:
        raise ValueError("evaluate: the test tasks of this run are frozen. Leave --num-tasks out.")
    assert e.judge is not None
    with console.status("measuring the learner and its baselines"):
        report = e.judge(meta_params, seed)
    tables = {
        scores.title: {
            name: {"mean": plain([m for m, _ in pairs]), "interval": plain([h for _, h in pairs])}
            for name, pairs in scores.rows.items()
        }
        for scores in report.tables
    }
    facts = {"step": step, "seed": seed, "source": e.test_name, "title": report.title}
    columns = report.tables[0].columns
    how = {"interval": report.interval}
    files.write_json(path, facts | how | {"columns": columns, "tables": tables})
    console.print(f"[bold]metajax: {escape(report.title)}, outer step {step:,}[/]")
    for scores in report.tables:
        table = titled(escape(scores.title), ["", *scores.columns])
        for name, pairs in scores.rows.items():
            table.add_row(escape(name), *(cell(scores.digits, *pair) for pair in pairs))
        show(table)
    for note in (f"±: half of a 95% interval, {report.interval}", *report.notes):
        console.print(f"[dim]{escape(note)}.[/]")


def _rows(scores: Evaluation) -> dict[str, Evaluation | Score]:
    if scores.inductive is None:
        return {"metajax": scores}
    return {"transductive": scores, "inductive": scores.inductive}


def _scaled(e: Experiment, score: Evaluation | Score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, the interval and the median over tasks, each one number per column."""
    values = np.asarray(score.values)
    if score.mask is not None:
        values = values[np.asarray(score.mask)]
    parts = (score.mean, score.interval, np.median(values, axis=0))
    mean, interval, median = (np.atleast_1d(e.scale * np.asarray(part)) for part in parts)
    return mean, interval, median


def _numbers(e: Experiment, score: Evaluation | Score) -> dict[str, list[float | None]]:
    names = ("mean", "interval", "median")
    return {name: plain(part) for name, part in zip(names, _scaled(e, score), strict=True)}


def _table(e: Experiment, step: int, number: int, scores: Evaluation, baselines) -> Table:
    table = titled(_title(e, step, number), ["", *e.columns])

    def add(name: str, score: Evaluation | Score) -> None:
        mean, interval, _ = _scaled(e, score)
        table.add_row(name, *(cell(e.digits, *pair) for pair in zip(mean, interval, strict=True)))

    for name, score in _rows(scores).items():
        add("mean" if name == "metajax" else name, score)
    if scores.inductive is None:
        table.add_row("median", *(cell(e.digits, median) for median in _scaled(e, scores)[2]))
    for baseline in baselines:
        add(f"[dim]{baseline.name}[/]", baseline.scores)
    for row in e.published:
        shown = ["" if value is None else f"{value:g}" for value in row.values]
        table.add_row(f"[dim]{row.name}[/]", *shown)
    return table


def _title(e: Experiment, step: int, number: int) -> str:
    size = ""
    if e.shots is not None:
        way = "" if e.shots.way is None else f"{e.shots.way}-way "
        size = f", {way}{e.shots.shot}-shot"
    return f"metajax: {e.metric_name} on {number:,} new tasks of {e.test_name}{size}, outer step {step:,}"


def _notes(e: Experiment, scores: Evaluation, baselines: tuple[Baseline, ...]) -> None:
    console.print("±: half of a 95% interval over tasks, Student's t times the standard error.")
    if scores.num_empty:
        console.print(f"{scores.num_empty:,} tasks without queries are left out.")
    notes = [(baseline.name, baseline.note) for baseline in baselines]
    for name, note in notes + [(row.name, row.protocol) for row in e.published]:
        console.print(f"[dim]{name}: {note}.[/]")
    if e.inductive:
        console.print(
            "[dim]transductive: the queries of a task share batch statistics; inductive: each "
            "query is predicted alone with the support set.[/]"
        )
