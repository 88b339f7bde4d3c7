"""The progress of a run: a bar where it can move, a line per report elsewhere; TensorBoard events."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """A context in which a run trains."""

    def __enter__(self) -> "Reporter": ...

    def __exit__(self, *error: object) -> None: ...

    def advance(self, step: int, loss: float | None = None) -> None:
        """Shows that the run has reached `step`."""

    def report(self, row: dict[str, Any]) -> None:
        """Shows a report."""

    def stopped(self, step: int, folder: str | None) -> None:
        """Shows that a signal ended the run at `step`."""


def reporter(outer_steps: int, show: bool, compile_seconds: float) -> Reporter:
    """A bar on a terminal or in a notebook, lines elsewhere, nothing unless `show`."""
    console = _console(show)
    moving = console.is_terminal or console.is_jupyter
    return (_Bar if moving else _Lines)(console, outer_steps, compile_seconds)


def say(text: str, show: bool) -> None:
    """Prints a line about the run."""
    _console(show).print(text, highlight=False, soft_wrap=True, markup=False)


def _console(show: bool) -> Console:
    return Console(file=cast(IO[str], _Output()), quiet=not show)


class _Output:
    """Standard output, which may be closed meanwhile: a run goes on when its terminal or pipe does not."""

    def __init__(self):
        self._file = getattr(sys.stdout, "rich_proxied_file", sys.stdout)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def events(folder: str | Path | None, tensorboard: bool) -> Iterator[list[Callable[[dict], None]]]:
    """A callback that writes reports as TensorBoard events into `folder`, if asked for.

    Raises:
      ValueError: If there is no folder.
      ModuleNotFoundError: If tensorboardX is not installed.
    """
    if not tensorboard:
        yield []
        return
    if folder is None:
        raise ValueError("fit: tensorboard=True needs a run_dir to write events into.")
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fit: tensorboard=True needs tensorboardX; pip install 'metajax[tensorboard]'."
        ) from error

    with contextlib.ExitStack() as stack:
        writers = []

        def write(row):
            if (
                not writers
            ):  # made with the first report, so that a run that never began leaves none
                writers.append(stack.enter_context(SummaryWriter(str(Path(folder) / "events"))))
            for name, value in row.items():
                if name != "step":
                    writers[0].add_scalar(name, value, row["step"])

        yield [write]


_COUNTED = ("step", "loss", "gradient_norm", "training_seconds")


def _validations(row: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in _COUNTED)


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
        parts = [
            f"step {self.step}/{self.outer_steps}",
            f"loss {row['loss']:.4f}",
            _validations(row),
            *self._speed(),
        ]
        self.console.print("  ".join(filter(None, parts)), highlight=False, soft_wrap=True)

    def rate(self) -> float:
        """Steps a second since this start; 0 before the first."""
        first, begun = self.begun or (self.step, 0.0)
        return (self.step - first) / max(time.perf_counter() - begun, 1e-9)

    def _speed(self) -> list[str]:
        """How fast it goes, and how long it still takes, once a step was taken."""
        rate = self.rate()
        left = (self.outer_steps - self.step) / rate if rate else 0
        return [f"{_short(rate)} steps/s", f"{left:.0f} s left"] if rate else []

    def stopped(self, step: int, folder: str | None) -> None:
        go_on = f"metajax resume {shlex.quote(folder)}" if folder else ""
        saved = " and is saved" if step else ", before anything was saved"
        where = f"{saved}; go on with: {go_on}" if folder else ""
        self.console.print(
            f"Stopped at step {step}{where}", highlight=False, soft_wrap=True, markup=False
        )


def _short(rate: float) -> str:
    """Such as 1,200 or 0.031."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


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
        self.bar.update(self.task, completed=step)
        if loss is not None:
            self.bar.update(self.task, rate=_short(self.rate()), loss=f"{loss:.4f}")

    def report(self, row: dict[str, Any]) -> None:
        self.bar.update(self.task, validation=_validations(row))
