"""Members of a sweep as processes of their own, each as `metajax train` would train it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from metajax.cli.output import console, escape
from metajax.cpu import ONE_THREAD
from metajax.train.guard import interruptible

LOG = "log.txt"
STOPPED = 130
_CODE = "import sys; from metajax.cli.sweep import member; member(*sys.argv[1:])"
_POLL_SECONDS = 0.1


class Ended(NamedTuple):
    """A member whose process has ended, with its exit status."""

    name: str
    status: int


def train(
    folder: Path, names: Sequence[str], processes: int, arguments: tuple[str, ...]
) -> Iterator[Ended]:
    """Trains the members of these names, some at a time, and yields each when its process ends.

    After Ctrl-C or SIGTERM those that run are told to save and to end, and no more are started.

    Args:
      folder: Of the sweep, with its `sweep.json`.
      names: The folders of the members inside it.
      processes: How many run at once.
      arguments: What their code is given besides.
    """
    waiting, running = list(names), {}
    with interruptible() as interrupted:
        while waiting or running:
            while waiting and len(running) < processes and not interrupted.is_set():
                name = waiting.pop(0)
                running[name] = _started(folder, name, arguments)
            if interrupted.is_set():
                waiting = []
                for process in running.values():
                    process.send_signal(signal.SIGTERM)
                for name, process in running.items():
                    yield Ended(name, process.wait())
                return
            over = [name for name, process in running.items() if process.poll() is not None]
            for name in over:
                yield Ended(name, running.pop(name).returncode)
            time.sleep(0 if over else _POLL_SECONDS)


def _started(folder: Path, name: str, arguments: tuple[str, ...]) -> subprocess.Popen:
    """Starts the process of a member, whose output goes into a file beside its folder."""
    path = folder / f"{name}.{LOG}"
    path.parent.mkdir(parents=True, exist_ok=True)
    # A member asks for its devices itself, as it would alone.
    own = {
        key: value for key, value in os.environ.items() if (key, value) != ("XLA_FLAGS", ONE_THREAD)
    }
    with path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _CODE, str(folder), name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=own,
            start_new_session=True,  # Ctrl-C reaches the sweep, which tells its members
        )


def last_line(folder: Path, name: str) -> str:
    """What a member said last."""
    path = folder / f"{name}.{LOG}"
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1].removeprefix("error ") if lines else "it said nothing"


def tell(ended: Ended, done: int, number: int, seconds: float) -> None:
    """Prints how a member ended."""
    how = {0: "came to its end", STOPPED: "was stopped and is saved"}.get(
        ended.status, f"ended with status {ended.status}"
    )
    console.print(f"{escape(ended.name)} {how}: {done} of {number} members in {seconds:.0f} s")
