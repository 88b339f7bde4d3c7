"""`metajax replay RUN`: takes one outer step of a run again and follows its inner loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from metajax.cli.output import console, escape, show, titled


@dataclass(frozen=True)
class Replay:
    """Take one outer step of a run again, and show the norms of its inner loop step by step.

    Nothing is written.
    """

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    step: int | None = None
    """The outer step; by default the one that was not finite, or else the newest checkpoint's."""
    task: int | None = None
    """The index of the task to follow; by default the one at fault, or else the one whose loss is
    greatest."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""
    trust: bool = False
    """Import and call the function that --vectors named when the run was trained."""


def run(command: Replay) -> bool:
    """Takes the step and prints its numbers."""
    from metajax import checks
    from metajax.recipes.run import replayed

    step = None if command.step is None else checks.count("replay", "step", command.step, least=0)
    found = replayed(command.run, step, data=command.data, trust=command.trust)
    step, failure = found.step, found.failure
    if found.inner is None and command.task is not None:
        raise ValueError("replay: a pretrained learner has no inner loop. Leave --task out.")
    whole = "finite" if step.good else f"not finite, first in {step.array or 'the loss'}"
    console.print(
        f"outer step {step.step:,}: loss {step.loss:.6g}, gradient norm {step.gradient_norm:.6g}; the "
        f"state after it is {escape(whole)}"
    )
    if failure.get("step") == step.step:
        console.print(escape(str(failure.get("reason"))))
    if found.inner is not None:
        _show_task(command, found.inner, failure if failure.get("step") == step.step else {})
    return True


def _show_task(command: Replay, inner: Any, failure: dict[str, Any]) -> None:
    """Prints the inner loop of the task that was asked for, at fault, or worst."""
    from metajax import checks

    losses = inner.query_loss[-1]
    task, at_fault = command.task, failure.get("task")
    if task is None:
        worst = int(np.argmax(np.where(np.isfinite(losses), losses, np.inf)))
        task = at_fault if isinstance(at_fault, int) and 0 <= at_fault < len(losses) else worst
    if checks.count("replay", "task", task, least=0) >= len(losses):
        raise ValueError(f"replay: task={task} must be less than meta_batch={len(losses)}.")
    columns = ("inner step", "support loss", "query loss", "norm of the adapted", "change")
    table = titled(f"Task {task} of {len(losses)}", columns, words=0)
    for number, values in enumerate(zip(*inner, strict=True)):
        row = (f"{value[task]:.6g}" for value in values)
        table.add_row(str(number), *row)
    show(table)
