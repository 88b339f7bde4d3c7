"""The command line: finds the command, and turns a user's mistake into one sentence."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import tyro

from metajax.cli import (
    data,
    detect,
    evaluate,
    inspect,
    list,
    recommend,
    replay,
    resume,
    summarize,
    train,
)
from metajax.cli.machine import Machine, start
from metajax.cli.output import console, escape
from metajax.cli.subcommands import subcommands
from metajax.cli.suggestions import suggestions
from metajax.cli.version import version

COMMANDS = {
    "train": (train.Train, train.run),
    "evaluate": (evaluate.Evaluate, evaluate.run),
    "resume": (resume.Resume, resume.run),
    "recommend": (recommend.Recommend, recommend.run),
    "summarize": (summarize.Summarize, summarize.run),
    "detect": (detect.Detect, detect.run),
    "inspect": (inspect.Inspect, inspect.run),
    "replay": (replay.Replay, replay.run),
    "data": (data.Data, data.run),
    "list": (list.List, list.run),
}
"""The only list of commands: the dataclass of a command's flags, and what runs it."""

_ABOUT = "metajax: learn how to learn. Start with `metajax train sinusoid`, which needs no data."


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake of the user ends in one sentence and exit status 2."""
    words = sys.argv[1:] if args is None else args
    if words and words[0] == "--version":
        console.print(version(), markup=False)
        sys.exit(0)
    command = _parse(words)
    run = next(run for kind, run in COMMANDS.values() if type(command) is kind)
    finish(lambda: run(command), getattr(command, "machine", Machine()))


def finish(run: Callable[[], bool], machine: Machine) -> NoReturn:
    """Runs a command and ends the process: with status 0, 2 after a mistake, or 130 after Ctrl-C."""
    from metajax.train.guard import LostProcessError, NonFiniteError

    before, warnings.showwarning = warnings.showwarning, _shown
    try:
        start(machine)
        finished = run()
    except (ValueError, OSError, ModuleNotFoundError, NonFiniteError, LostProcessError) as error:
        _print(error)
        sys.exit(2)
    finally:
        warnings.showwarning = before
    sys.exit(0 if finished else 130)  # 130: stopped by Ctrl-C, as shells have it


def _print(error: Exception) -> None:
    """Prints an error. Ends one of several processes at once: JAX would wait for the others."""
    several = jax.distributed.is_initialized()
    of = f" in process {jax.process_index()}" if several else ""
    console.quiet = False
    console.print(f"[bold red]error{of}[/] {escape(str(error))}")
    if several:
        sys.stdout.flush()
        os._exit(2)


def _shown(message: Warning | str, *where: Any) -> None:
    """Prints a warning as a sentence, without the line of code that it came from."""
    del where
    console.print(f"[bold yellow]warning[/] {escape(str(message))}")


def _parse(words: Sequence[str]) -> Any:
    """The dataclass of a command; exits with a hint where the words are no command."""
    kinds = {name: kind for name, (kind, _) in COMMANDS.items()}
    try:
        return tyro.cli(
            subcommands(kinds),
            prog="metajax",
            description=f"{_ABOUT} `metajax --version` prints the version.",
            args=words,
            config=(
                tyro.conf.OmitArgPrefixes,
                tyro.conf.OmitSubcommandPrefixes,
                tyro.conf.CascadeSubcommandArgs,
            ),
        )
    except SystemExit as stopped:
        if stopped.code:
            for hint in suggestions(words, kinds):
                console.print(hint, markup=False)
        raise
