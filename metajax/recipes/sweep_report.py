"""What a sweep found: where its members are, the cell that validation tasks chose, and its test scores."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metajax import files, recipes
from metajax.recipes.experiment import Experiment
from metajax.recipes.sweep import Cell, Plan
from metajax.train import checkpoint
from metajax.train.records import read_failure, read_metrics, read_settings
from metajax.train.sweep import best_cell, over_seeds

EVALUATION = "evaluation.json"
INTERVAL = (
    "half of a 95% interval of the mean over seeds: Student's t of one degree of freedom less than there are "
    "finite seeds, times their standard deviation over the square root of their number"
)
SELECTION = (
    "the {best} mean over seeds on validation tasks, among the cells with the fewest diverged seeds; the cell "
    "was chosen before its members were compared on test tasks, and the scores below are of this cell alone"
)

Scores = dict[str, dict[str, list[float]]]
"""Means by the title of their table and the name of their row."""


class State(NamedTuple):
    """Where a member is.

    step: Of its newest checkpoint; 0 without one.
    validation: The last number on validation tasks; nan without one, or where the member diverged.
    diverged: The outer step that was not finite; None without one.
    is_over: Whether it has come to its end, or diverged.
    """

    step: int
    validation: float
    diverged: int | None
    is_over: bool


def state_of(folder: Path) -> State:
    """Reads where a member is from its folder, whose resolved settings hold the number of its outer steps."""
    step = checkpoint.latest(folder / "checkpoints") or 0
    try:
        outer_steps = read_settings(folder)["settings"]["outer_steps"]
    except FileNotFoundError:  # not begun
        return State(0, float("nan"), None, False)
    failed = read_failure(folder).get("step")
    if isinstance(failed, int) and step == failed < outer_steps:
        return State(step, float("nan"), failed, True)
    rows = read_metrics(folder) if step else []
    last = rows[-1] if rows else {}
    found = last.get("validation") if last.get("step") == outer_steps else None
    validation = float("nan") if found is None else float(found)
    return State(step, validation, None, step >= outer_steps and found is not None)


def states(found: Plan, folder: Path) -> list[list[State]]:
    """Those of the members of every cell."""
    return [[state_of(folder / name) for name in found.folders(cell)] for cell in found.cells]


def chosen(found: Plan, of_cells: Sequence[Sequence[State]], higher_is_better: bool) -> Cell | None:
    """The cell that validation tasks choose; None if every member has diverged."""
    validation = [[state.validation for state in cell] for cell in of_cells]
    best = best_cell(validation, higher_is_better=higher_is_better)
    return None if best is None else found.cells[best]


def scores_in(path: Path) -> tuple[list[str], Scores]:
    """The columns and the scores of `evaluation.json`: those of the learner are in the first row.

    Raises:
      FileNotFoundError: If the member was not tested.
      ValueError: If the file is damaged.
    """
    with files.naming(path):
        read = json.loads(files.read(path).decode())
        tables = read["tables"] if "tables" in read else {"": _rows(read)}
        found = {
            title: {name: [_number(n) for n in row["mean"]] for name, row in rows.items()}
            for title, rows in tables.items()
        }
        return list(read["columns"]), found


def _rows(read: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row for name, row in read.items() if isinstance(row, dict) and "mean" in row}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)  # JSON has no nan


def summary(found: Plan, folder: Path, e: Experiment, how: str) -> dict[str, Any]:
    """What `summary.json` holds.

    Args:
      found: The sweep.
      folder: Its folder, in which the members of the chosen cell are tested.
      e: The experiment of the chosen cell, or of any.
      how: How members were trained.
    """
    of_cells = states(found, folder)
    best = chosen(found, of_cells, e.higher_is_better)
    facts: dict[str, Any] = {
        "recipe": recipes.name_of(found.settings),
        "settings": recipes.to_json(found.settings),
        "seeds": list(found.seeds),
        "how": how,
        "metric": e.metric_name,
        "interval": INTERVAL,
    }
    if found.grid:
        facts["selection"] = SELECTION.format(best="highest" if e.higher_is_better else "lowest")
    facts["cells"] = [
        _cell(found, cell, own, cell == best)
        for cell, own in zip(found.cells, of_cells, strict=True)
    ]
    if best is not None:
        facts["test"] = _test(found, best, folder, e)
    return facts


def _cell(found: Plan, cell: Cell, own: Sequence[State], is_chosen: bool) -> dict[str, Any]:
    pairs = list(zip(found.seeds, own, strict=True))
    return {
        "settings": {name: _plain(value) for name, value in cell.values.items()},
        "folder": cell.name,
        "chosen": is_chosen,
        "diverged": {
            str(seed): state.diverged for seed, state in pairs if state.diverged is not None
        },
        "validation": _over_seeds({seed: [state.validation] for seed, state in pairs}),
    }


def _test(found: Plan, cell: Cell, folder: Path, e: Experiment) -> dict[str, Any]:
    """The scores of a cell's members on the same test tasks; a diverged one has none."""
    paths = {
        seed: folder / name / EVALUATION
        for seed, name in zip(found.seeds, found.folders(cell), strict=True)
    }
    read = {seed: scores_in(path) for seed, path in paths.items() if path.exists()}
    columns, first = next(iter(read.values()))
    tables = {
        title: {
            row: _over_seeds(
                {
                    seed: own[title][row]
                    for seed, (_, own) in read.items()
                    if row in own.get(title, {})
                }
            )
            for row in rows
        }
        for title, rows in first.items()
    }
    return {"source": e.test_name, "columns": columns, "tables": tables}


def _over_seeds(values: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    over = over_seeds(list(values.values()))
    return {
        "seeds": {str(seed): [_plain(n) for n in row] for seed, row in values.items()},
        "mean": [_plain(n) for n in over.mean],
        "interval": [_plain(n) for n in over.interval],
        "number": over.number.tolist(),
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it, which holds no number that is not finite."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
