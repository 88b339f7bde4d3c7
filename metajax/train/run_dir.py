"""The folder of a run: `settings.json`, `metrics.jsonl`, `checkpoints/` and a lock."""

import contextlib
import dataclasses
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax import archive
from metajax.train import checkpoint
from metajax.types import TrainState

_LOCK = ".lock"
_FIXED = {"key": "key", "key_impl": "key implementation", "meta_batch": "meta_batch"}
"""Facts of a run that a resumed run must share, and how messages call them."""


class RunDir(NamedTuple):
    """The files of a run that is training."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def start(self, settings: Any, facts: Mapping[str, Any], device: Any) -> None:
        """Writes `settings.json`, unless a run was started here before."""
        if not _settings(self.folder).exists():
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
            _write(_settings(self.folder), json.dumps(written, indent=2) + "\n")

    def report(self, row: Mapping[str, Any]) -> None:
        """Appends a row to `metrics.jsonl`."""
        with _metrics(self.folder).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def save(self, state: TrainState, window: Mapping[str, Any]) -> None:
        """Writes a checkpoint of `state`, and beside it what the next report has summed so far."""
        step = int(state.step)
        kept = self._windows()
        last = sorted(kept, key=int)[1 - checkpoint.KEPT :]
        windows = {number: kept[number] for number in last} | {str(step): window}
        _write(self.folder / "window.json", json.dumps(windows) + "\n")
        checkpoint.save(self.checkpoints, step, state)

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

    def window(self, step: int) -> Mapping[str, Any] | None:
        """What was written beside the checkpoint of `step`; None if it is lost."""
        return self._windows().get(str(step))

    def _windows(self) -> dict[str, Any]:
        path = self.folder / "window.json"
        try:
            found = json.loads(path.read_bytes())
            return {number: values for number, values in found.items() if number.isdigit()}
        except (FileNotFoundError, ValueError, AttributeError):
            return {}  # the next report then begins anew; nothing else depends on it

    def forget_after(self, step: int) -> None:
        """Drops rows of later reports, whose checkpoints were never written: they come again."""
        path = _metrics(self.folder)
        rows = [row for row in read_metrics(self.folder) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if path.exists() and path.read_bytes() != text.encode():
            _write(path, text)


@contextlib.contextmanager
def opened(
    run_dir: str | Path | None, facts: Mapping[str, Any], resume: bool
) -> Iterator[RunDir | None]:
    """Locks the folder of a new run, or that of the run to resume, and checks that it is one.

    A folder in which nothing was started is left as it was.

    Raises:
      FileExistsError: For a folder that is not empty, without `resume`.
      FileNotFoundError: For a folder without a run, with `resume`.
      ValueError: If the run was started with another key or meta_batch.
      BlockingIOError: If another process trains in the folder.
    """
    if run_dir is None:
        yield None
        return
    from filelock import FileLock, Timeout  # like rich, loaded by those who train

    folder = Path(run_dir)
    if resume:
        _same_run(folder, read_settings(folder)["fit"], facts)
    else:
        _check_empty(folder)
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BlockingIOError(
            f"{folder}: another process is training in this folder, and two would overwrite each "
            "other's checkpoints. Stop it or wait until it ends, then resume."
        ) from error
    try:
        if not resume:
            _check_empty(folder)  # another process may have been faster
        yield RunDir(folder)
    finally:
        lock.release()
        if not _settings(folder).exists():
            with contextlib.suppress(OSError):
                (folder / _LOCK).unlink(missing_ok=True)
                if not existed:
                    folder.rmdir()


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder that is empty or new.")
    if folder.exists() and any(path.name != _LOCK for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty; resume the run in it, or name another folder."
        )


def _same_run(folder: Path, written: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for name, called in _FIXED.items():
        if name in written and name in facts and written[name] != facts[name]:
            raise ValueError(
                f"{folder}: the run was started with {called}={written[name]} and would go on with "
                f"{called}={facts[name]}; give the same, or start a new run_dir."
            )


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """The reports of a run so far, oldest first; lines that are damaged or cut off are left out.

    Args:
      run_dir: The folder of the run.

    Returns:
      A list of dicts with "step", "loss", "gradient_norm", "training_seconds" and what `validate`
      returned.
    """
    path = _metrics(Path(run_dir))
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def read_settings(run_dir: str | Path) -> dict[str, Any]:
    """What `settings.json` of a run holds.

    Args:
      run_dir: The folder of the run.

    Returns:
      A dict of "settings", as they were given to `fit`; "fit", its own facts; "versions", "device"
      and "started".

    Raises:
      FileNotFoundError: If no run was started there.
      ValueError: If the file is damaged.
    """
    folder = Path(run_dir)
    path = _settings(folder)
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found["fit"], dict) or not {"settings", "versions"} <= set(found):
            raise TypeError("it lacks settings, fit or versions")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{folder}: there is no settings.json, so no run was started here; give the folder "
            "that training named when it ended."
        ) from error
    except KeyError as error:
        raise ValueError(f"{path} is damaged: it has no entry {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    return found


def plain(settings: Any) -> Any:
    """Settings as JSON holds them: dataclasses become dicts, NumPy's numbers Python's.

    Raises:
      ValueError: For a value that JSON does not hold, naming it.

    Example:
      >>> plain({"steps": np.int64(3), "folder": Path("run")})
      {'steps': 3, 'folder': 'run'}
    """

    def simple(value):
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {field.name: getattr(value, field.name) for field in fields}
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return np.asarray(value).tolist()
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"{value!r:.60} of type {type(value).__name__}")

    try:
        return json.loads(json.dumps(settings, default=simple))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"fit: settings holds {error}, which settings.json cannot hold. Give plain numbers, strings, "
            "lists, dicts or dataclasses of these."
        ) from error


def versions() -> dict[str, str | None]:
    """The versions of metajax, with its commit if that is known, and of what it computes with."""
    packages = ("metajax", "jax", "jaxlib", "optax", "flax", "numpy")
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found | {"commit": _commit(), "python": platform.python_version()}


def _commit() -> str | None:
    """The commit of a checkout, or of what was installed from a repository; None if unknown."""
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    with contextlib.suppress(Exception):  # a run must not fail because of where metajax came from
        if (root / ".git").exists():
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return done.stdout.strip() or None
        text = metadata.distribution("metajax").read_text("direct_url.json")
        return json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    return None


def _settings(folder: Path) -> Path:
    return folder / "settings.json"


def _metrics(folder: Path) -> Path:
    return folder / "metrics.jsonl"


def _write(path: Path, text: str) -> None:
    with archive.whole(path) as file:
        file.write(text.encode())
