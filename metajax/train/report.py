"""What a person sees while a run trains: a bar where it can move, a line per report elsewhere."""

import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """Entered and left around the run."""

    def __enter__(self) -> "Reporter": ...

    def __exit__(self, *error: object) -> None: ...

    def advance(self, step: int, loss: float | None = None) -> None:
        """The run has reached `step`."""

    def report(self, row: dict[str, Any]) -> None:
        """A report was made."""

    def stopped(self, step: int, folder: str | None) -> None:
        """Ctrl-C ended the run at `step`."""


def reporter(outer_steps: int, show: bool, compile_seconds: float) -> Reporter:
    """A bar on a terminal or in a notebook, lines elsewhere, nothing if not to be shown."""
    console = Console(quiet=not show)
    moving = console.is_terminal or console.is_jupyter
    return (_Bar if moving else _Lines)(console, outer_steps, compile_seconds)


def _numbers(row: dict[str, Any]) -> str:
    shown = [("loss", row["loss"])]
    if "validation" in row:
        shown.append(("validation", row["validation"]))
    return "  ".join(f"{name} {value:.4f}" for name, value in shown)


class _Lines:
    def __init__(self, console: Console, outer_steps: int, compile_seconds: float):
        self.console, self.outer_steps = console, outer_steps
        self.console.print(f"compiled in {compile_seconds:.1f} s", highlight=False)
        self.begun: tuple[int, float] | None = None
        self.step = 0

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def advance(self, step: int, loss: float | None = None) -> None:
        del loss
        self.begun = self.begun or (step, time.perf_counter())
        self.step = step

    def report(self, row: dict[str, Any]) -> None:
        first, begun = self.begun or (0, time.perf_counter())
        rate = (self.step - first) / max(time.perf_counter() - begun, 1e-9)
        left = (self.outer_steps - self.step) / max(rate, 1e-9)
        self.console.print(
            f"step {self.step}/{self.outer_steps}  {_numbers(row)}  {rate:.1f} steps/s  "
            f"{left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )

    def stopped(self, step: int, folder: str | None) -> None:
        where = f" and is saved; go on with: metajax resume {folder}" if folder else ""
        self.console.print(f"Stopped at step {step}{where}", highlight=False, soft_wrap=True)


class _Bar(_Lines):
    def __init__(self, console: Console, outer_steps: int, compile_seconds: float):
        super().__init__(console, outer_steps, compile_seconds)
        self.bar = Progress(
            TextColumn("meta-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} steps/s"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[validation]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.bar.add_task("", total=outer_steps, rate="", loss="", validation="")

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def advance(self, step: int, loss: float | None = None) -> None:
        super().advance(step)
        first, begun = self.begun or (0, 0.0)
        rate = (step - first) / max(time.perf_counter() - begun, 1e-9)
        self.bar.update(self.task, completed=step)
        if loss is not None:
            self.bar.update(self.task, rate=f"{rate:.0f}", loss=f"{loss:.4f}")

    def report(self, row: dict[str, Any]) -> None:
        if "validation" in row:
            self.bar.update(self.task, validation=f"validation {row['validation']:.4f}")
