"""The table that all rows of few-shot image classification share."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import record

from metajax.recipes.vision import images
from metajax.recipes.vision.outer import OUTER
from metajax.recipes.vision.published import Table
from rows.table import Row, lines, not_run, training_time

TITLES = (
    *("", "seed", "distorted", "inner steps at test", "transductive", "inductive", "published"),
    *("test tasks", "outer steps", "training", "metajax"),
)
Published = Callable[[Any], Table]


def table(rows: Mapping[str, Row], published: Published, *, best_first: bool = False) -> str:
    """A line for each trained model and number of inner steps.

    Args:
      rows: Those of the table.
      published: Settings to the rows of the literature.
      best_first: Sort by transductive accuracy.
    """
    results = [(row, result) for name, row in rows.items() for result in record.of_row(name)]
    if best_first:
        results.sort(key=lambda pair: -pair[1]["transductive"]["mean"][0])
    cells = [line for row, result in results for line in _cells(row, result, published)]
    missing = {name: row for name, row in rows.items() if not record.of_row(name)}
    cells += [
        not_run(f"{_name(row, row.settings, inner_loop=True)}, `{name}`", len(TITLES))
        for name, row in missing.items()
    ]
    return lines(TITLES, cells)


def _cells(row: Row, result: Mapping[str, Any], published: Published) -> list[list[str]]:
    kind, settings = type(row.settings), result["settings"]
    known = {field.name for field in fields(kind)}
    s = kind(**{name: value for name, value in settings.items() if name in known})
    papers = images.published(s, published(s))
    best = "; ".join(f"{p.values[-1]:g} ({p.name})" for p in papers)
    return [
        [
            _name(row, s, inner_loop="step" in result["columns"][0]),
            str(result["seed"]),
            _distorted(s),
            column.removeprefix("step ") if "step" in column else "none",
            *(
                percent(s.way, result[policy]["mean"][i], result[policy]["interval_95"][i])
                if result[policy]
                else "the same"
                for policy in ("transductive", "inductive")
            ),
            best,
            f"{result['num_test_tasks']:,}",
            f"{s.outer_steps:,}",
            training_time(row, result),
            record.version_of(result),
        ]
        for i, column in enumerate(result["columns"])
    ]


def _name(row: Row, settings: Any, *, inner_loop: bool) -> str:
    """The learner and the kind of task, with inner and outer rate where they are not the defaults."""
    s, usual = settings, type(settings)()
    own = {"inner_rate": usual.inner_rate, "outer_rate": OUTER[s.outer_optimizer].rate}
    rates = "".join(
        f", {name.replace('_', ' ')} {getattr(s, name):g}"
        for name, rate in own.items()
        if inner_loop and getattr(s, name) not in (rate, None)
    )
    network = "" if s.network == usual.network else f", {s.network} of {s.filters} channels"
    mean = f", mean of {len(row.members)} networks" if row.members else ""
    return f"{s.learner} {s.way}-way {s.shot}-shot{network}{rates}{mean}"


def _distorted(settings: Any) -> str:
    drawn = getattr(settings, "source", None) == "omniglot"
    distortion = settings.distortion if drawn else 0.0
    shown = f"{100 * distortion:.0f} %" if distortion else "no"
    return shown + (", mirrored" if getattr(settings, "reflections", False) else "")


def percent(way: int, mean: float, interval: float) -> str:
    """Accuracy; a learner without finite predictions gives the same class to every query."""
    if interval < 1e-3 and round(mean * way) == 100:
        return "diverged"
    return f"{mean:.2f} ± {interval:.2f}"


POLICIES = """\
*Transductive*: the queries of a task share batch statistics, as in the papers. *Inductive*: each query is
predicted alone with the support set; "the same" where queries share nothing. Nothing was selected on test
tasks: the last checkpoint is tested. Reproduce a row with `python benchmarks/accuracy.py ROW --seed SEED`;
rows, settings, versions, machine and date are in `benchmarks/rows/` and `benchmarks/results/`."""
