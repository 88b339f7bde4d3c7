"""The folder of a run: `settings.json`, `metrics.jsonl`, `checkpoints/` and a lock."""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from metajax import files
from metajax.train import checkpoint, saved
from metajax.train.records import (
    COPY,
    LARGEST,
    METRICS,
    SETTINGS,
    WINDOW,
    damage_of,
    is_whole,
    read_settings,
    rows_of,
    versions,
    whole_settings,
)
from metajax.types import TrainState

_LOCK = ".lock"
_FIXED = {"key": "key", "key_impl": "key implementation", "meta_batch": "meta_batch"}
"""Facts of a run that a resumed run must share, and how messages call them."""


class RunDir:
    """The files of a run that is training.

    folder: Where they are.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._identity = _identity(folder / _LOCK)
        self._settings = b""
        self._keep([])

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def start(self, settings: Any, facts: Mapping[str, Any], device: Any, resume: bool) -> None:
        """Writes `settings.json` and its copy, or mends what is damaged of them in a run to resume."""
        if resume:
            written = whole_settings(self.folder)[0]
        else:
            written = {
                "settings": settings,
                "fit": facts,
                "versions": versions(),
                "device": {
                    "platform": device.platform,
                    "kind": device.device_kind,
                    "number": device.client.device_count(),
                },
                "started": datetime.now(UTC).isoformat("T", "seconds"),
            }
        self._settings = (json.dumps(written, indent=2) + "\n").encode()
        self._write_settings(self.folder, mend=resume)

    def _write_settings(self, folder: Path, mend: bool) -> None:
        for path in (folder / SETTINGS, folder / COPY):
            if mend and path.exists():
                if is_whole(path):
                    continue
                path.rename(path.with_name(path.name + checkpoint.ASIDE))
            files.write_text(path, self._settings.decode())

    def report(self, row: Mapping[str, Any]) -> None:
        """Appends a row to `metrics.jsonl`.

        Raises:
          OSError: If it cannot be written.
        """
        line = self._add(row["step"], json.dumps(row))
        self._check_there()
        files.append_line(self.folder / METRICS, line)

    def save(self, state: TrainState, window: Mapping[str, Any]) -> None:
        """Writes a checkpoint of `state`, and beside it what the next report has summed so far.

        Raises:
          OSError: If it cannot be written.
        """
        self._check_there()
        step = int(state.step)
        kept = self._windows()
        last = sorted(kept, key=int)[1 - checkpoint.KEPT :]
        windows = {number: kept[number] for number in last}
        windows[str(step)] = {**window, "reports": self._sum_before(step)}
        files.write_text(self.folder / WINDOW, json.dumps(windows) + "\n")
        checkpoint.save(self.checkpoints, step, state)

    def fail(self, facts: Mapping[str, Any], task: Any) -> None:
        """Keeps what is known of a step that was not finite, and its task."""
        with contextlib.suppress(OSError, ValueError):  # the error of the step is the one to raise
            if task is not None:
                saved.save(self.folder / "failure.npz", task)
            files.write_json(self.folder / "failure.json", facts)

    def _keep(self, rows: Iterable[tuple[int, str]]) -> None:
        """Keeps these reports alone, each with its step."""
        self._rows: list[tuple[int, str]] = []
        self._sum = self._sum_before_last = hashlib.sha256()
        for step, line in rows:
            self._add(step, line)

    def _add(self, step: int, line: str) -> str:
        """Keeps a report, and adds it to the digest, so that a checkpoint need not read all of them."""
        self._sum_before_last = self._sum.copy()
        self._sum.update(("\n" * bool(self._rows) + line).encode())
        self._rows.append((step, line))
        return line

    def _sum_before(self, step: int) -> str:
        """A digest of the reports before a step; at most one, the last, is of the step itself."""
        reported = bool(self._rows) and self._rows[-1][0] == step
        return (self._sum_before_last if reported else self._sum).hexdigest()

    def _check_there(self) -> None:
        if self._identity is not None and _identity(self.folder / _LOCK) != self._identity:
            raise FileNotFoundError(
                f"{self.folder} was deleted, moved or replaced while the run was training."
            )

    def rescue(self, state: TrainState, window: Mapping[str, Any]) -> Path | None:
        """Writes the whole run elsewhere, after its folder could not be written.

        Returns:
          The new folder, beside that of the run or among the temporary files; None if there is no room.
        """
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state) if hasattr(leaf, "nbytes"))
        for above in (self.folder.absolute().parent, Path(tempfile.gettempdir())):
            place = None
            with contextlib.suppress(OSError):
                if shutil.disk_usage(above).free < 2 * size:
                    continue
                place = _new_folder(above, f"{self.folder.absolute().name}-rescued")
                self._write_settings(place, mend=False)
                other = RunDir(place)
                other._keep(self._rows)
                for _, line in self._rows:
                    files.append_line(place / METRICS, line)
                other.save(state, window)
                return place
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)
        return None

    def restore(self, like: TrainState | None) -> tuple[checkpoint.Restored | None, list[str]]:
        """The newest whole checkpoint, or None before there is any, and what there is to say.

        Damaged checkpoints are set aside; reports of later steps are dropped, because they come again.

        Raises:
          ValueError: If no checkpoint is whole, or there is something else in their place.
        """
        if self.latest() is None:
            said = [
                *self.forget_after(-1),
                f"{self.folder}: there is no checkpoint yet, so the run starts anew.",
            ]
            return None, said
        found, said = checkpoint.newest(self.checkpoints, like), []
        for step, sentence in found.damaged.items():
            aside = checkpoint.set_aside(self.checkpoints, step)
            said.append(
                f"{sentence} It is kept as {aside.name}, and the run goes on from step {found.step}."
            )
        if self.window(found.step) is None:
            said.append(
                f"{self.folder / WINDOW} holds no sums of step {found.step}; the next report begins anew."
            )
        return found, said + self.forget_after(found.step)

    def latest(self) -> int | None:
        """The step of the newest checkpoint, or None.

        Raises:
          ValueError: If there is something else in place of checkpoints.
        """
        step = checkpoint.latest(self.checkpoints)
        if step is None and self.checkpoints.is_dir() and any(self.checkpoints.glob("[!.]*")):
            raise ValueError(
                f"{self.checkpoints} holds no checkpoint that this version of metajax reads; go on with "
                "the version that wrote them, or start a new run_dir."
            )
        return step

    def has_reported(self, step: int) -> bool:
        """Whether the report of a step was written before the run was resumed."""
        return any(own == step for own, _ in self._rows)

    def window(self, step: int) -> Mapping[str, Any] | None:
        """What was written beside the checkpoint of `step`; None if it is lost."""
        return self._windows().get(str(step))

    def _windows(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError, RecursionError):
            found = json.loads(files.read(self.folder / WINDOW))
            return {step: window for step, window in found.items() if _is_window(step, window)}
        return {}  # the next report then begins anew; nothing else depends on it

    def forget_after(self, step: int) -> list[str]:
        """Drops rows of later reports, which come again, and sets damaged lines aside.

        Returns:
          A sentence on what is damaged or lost.
        """
        path = self.folder / METRICS
        rows, damaged = rows_of(path)
        self._keep((row["step"], json.dumps(row)) for row in rows if row["step"] <= step)
        said = []
        if damaged:
            aside = path.with_name(path.name + checkpoint.ASIDE)
            before = files.read(aside, LARGEST) if files.is_regular(aside) else b""
            with files.whole(aside) as file:
                file.write(before + b"".join(line.content + b"\n" for line in damaged))
            said.append(f"{damage_of(path, damaged)}; kept in {aside.name}.")
        text = "".join(f"{line}\n" for _, line in self._rows)
        if path.exists() and files.read(path, LARGEST) != text.encode():
            files.write_text(path, text)
        written = (self.window(step) or {}).get("reports")
        if self._rows and not damaged and written not in (None, self._sum_before(step)):
            said.append(f"{path}: the reports before step {step} are not those that were written.")
        if not self._rows and step > 0:
            every = whole_settings(self.folder)[0]["fit"].get("report_every")
            if isinstance(every, int) and 0 < every <= step:
                said.append(f"{path} holds no report up to step {step}; they are lost.")
        return said


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same path; None if there is none."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _new_folder(above: Path, name: str) -> Path:
    for number in range(1, 1000):
        place = above / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            place.mkdir()
            return place
    raise FileExistsError(f"{above / name} is taken")


def _is_window(step: Any, window: Any) -> bool:
    sums = window.get("window") if isinstance(window, dict) else None
    numbers = [*sums, window.get("seconds")] if isinstance(sums, list) else []
    plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    return step.isascii() and step.isdigit() and len(numbers) == 4 and plain


@contextlib.contextmanager
def opened(
    run_dir: str | Path | None, facts: Mapping[str, Any], resume: bool
) -> Iterator[RunDir | None]:
    """Locks the folder of a new run, or that of the run to resume, and then checks that it is one.

    A folder in which nothing was started is left as it was.

    Raises:
      FileExistsError: For a folder that is not empty, without `resume`; files of a run that has no
        checkpoint yet are replaced.
      FileNotFoundError: For a folder without a run, with `resume`.
      ValueError: If the run was started with another key or meta_batch.
      BlockingIOError: If another process trains in the folder.
      OSError: For a folder that cannot be written.
    """
    if run_dir is None:
        yield None
        return
    folder = Path(run_dir)
    if resume and not folder.is_dir():
        read_settings(folder)  # raises: a lock needs a folder
    existed = folder.exists()
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file; name a folder that is empty or new.")
    lock = locked(folder)
    try:
        if resume:
            _same_run(folder, read_settings(folder)["fit"], facts)
        else:
            _check_empty(folder)
        yield RunDir(folder)
    finally:
        if not (folder / SETTINGS).exists():
            with contextlib.suppress(OSError):  # while it is locked, so that nobody else has it
                (folder / _LOCK).unlink(missing_ok=True)
                if not existed:
                    folder.rmdir()
        lock.release()


def locked(folder: Path) -> Any:
    """The lock of a folder, which is made if there is none.

    Raises:
      BlockingIOError: If another process holds it.
      OSError: If the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # like rich, loaded by those who train

    while True:
        lock = FileLock(folder / _LOCK)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout as error:
            raise BlockingIOError(
                f"{folder}: another process is training in this folder, and two would overwrite each "
                "other's checkpoints. Stop it or wait until it ends, then resume."
            ) from error
        except (OSError, NotImplementedError) as error:
            if isinstance(error, FileNotFoundError | FileExistsError) and not _is_taken(folder):
                continue  # another process has just made the folder, or left it as it was before
            reason = getattr(error, "strerror", None) or error
            kind = type(error) if isinstance(error, OSError) else OSError
            raise kind(
                f"{folder} cannot be written ({reason}); name a folder that can as run_dir."
            ) from error
        held = getattr(getattr(lock, "_context", None), "lock_file_fd", None)
        named = _identity(folder / _LOCK)
        status = None if held is None else os.fstat(held)
        if named is not None and (status is None or (status.st_dev, status.st_ino) == named):
            return lock
        lock.release()  # it was removed by the process that held it before


def _is_taken(path: Path) -> bool:
    """Whether something is there that is no folder; asked once, because others make and remove it."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


_TRIES = ".filelock-"
"""How the names of files begin by which filelock finds out what the disk can do, for a moment."""
_OF_NO_CHECKPOINT = {_LOCK, SETTINGS, COPY, WINDOW}
"""What a run leaves that was stopped before its first checkpoint."""


def _check_empty(folder: Path) -> None:
    def is_trace(path):
        if path.name == "checkpoints" and path.is_dir():
            return all(map(_is_part, path.iterdir()))
        return path.name in _OF_NO_CHECKPOINT or _is_part(path)

    paths = [path for path in folder.iterdir() if not path.name.startswith(_TRIES)]
    if not all(map(is_trace, paths)):
        raise FileExistsError(
            f"{folder} is not empty; resume the run in it, or name another folder."
        )
    for path in paths:
        if path.name != _LOCK and path.is_file():
            path.unlink()


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(files.PART)


def _same_run(folder: Path, written: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for name, called in _FIXED.items():
        if name in written and name in facts and written[name] != facts[name]:
            raise ValueError(
                f"{folder}: the run was started with {called}={written[name]} and would go on with "
                f"{called}={facts[name]}; give the same, or start a new run_dir."
            )
