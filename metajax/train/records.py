"""What a run wrote of itself: settings, reports and failures, read whole or with their damage named."""

import contextlib
import dataclasses
import json
import platform
import subprocess
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax import files

SETTINGS, COPY, METRICS, WINDOW = (
    "settings.json",
    ".settings.json",
    "metrics.jsonl",
    "window.json",
)
LARGEST = 256 << 20
"""Bytes of reports that are read: a million of them."""


class Damaged(NamedTuple):
    """A line that holds no report."""

    number: int
    content: bytes
    reason: str


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """The reports of a run so far, oldest first; a warning names lines that are damaged or cut off.

    Args:
      run_dir: The folder of the run.

    Returns:
      A list of dicts with "step", "loss", "gradient_norm", "training_seconds" and what `validate`
      returned.

    Raises:
      ValueError: If `metrics.jsonl` is no regular file.
    """
    path = Path(run_dir) / METRICS
    rows, damaged = rows_of(path)
    if damaged:
        warnings.warn(f"{damage_of(path, damaged)}; left out.", stacklevel=2)
    return rows


def rows_of(path: Path) -> tuple[list[dict[str, Any]], list[Damaged]]:
    """The reports, and the lines that are none."""
    rows, damaged = [], []
    with contextlib.suppress(FileNotFoundError):
        for number, line in enumerate(files.read(path, LARGEST).split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode())
                if type(row["step"]) is not int:
                    raise TypeError
                rows.append(row)
            except UnicodeDecodeError:
                damaged.append(Damaged(number, line, "not UTF-8"))
            except (KeyError, TypeError, IndexError):
                damaged.append(Damaged(number, line, "without a step"))
            except (ValueError, RecursionError):
                damaged.append(Damaged(number, line, "not JSON, or cut off"))
    return rows, damaged


def damage_of(path: Path, damaged: list[Damaged]) -> str:
    """Says which lines of a file are damaged, and how."""
    shown = "; ".join(f"line {line.number}: {line.reason}" for line in damaged[:3])
    more = f"; and {len(damaged) - 3:,} more" if len(damaged) > 3 else ""
    count = "1 line is" if len(damaged) == 1 else f"{len(damaged):,} lines are"
    return f"{path}: {count} damaged ({shown}{more})"


def read_settings(run_dir: str | Path) -> dict[str, Any]:
    """What `settings.json` of a run holds.

    Args:
      run_dir: The folder of the run.

    Returns:
      A dict of "settings", as they were given to `fit`; "fit", its own facts; "versions", "device"
      and "started". Where the file is damaged, its copy is read, with a warning; another warning says
      that the two differ.

    Raises:
      FileNotFoundError: If no run was started there.
      ValueError: If the file is damaged, and there is no whole copy.
    """
    found, warning = whole_settings(Path(run_dir))
    if warning:
        warnings.warn(warning, stacklevel=2)
    return found


def read_failure(run_dir: str | Path) -> dict[str, Any]:
    """What a run kept of the outer step that was not finite; empty if there was none, or it is damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
        found = json.loads(files.read(Path(run_dir) / "failure.json").decode())
        return found if isinstance(found, dict) else {}
    return {}


def whole_settings(folder: Path) -> tuple[dict[str, Any], str | None]:
    """The settings from the file or its copy, and what is wrong with the file."""
    path, copy = folder / SETTINGS, folder / COPY
    other = None
    with contextlib.suppress(FileNotFoundError, ValueError):
        other = settings_in(copy)
    try:
        found = settings_in(path)
    except FileNotFoundError as error:
        if other is not None:
            return other, f"{path} is missing; its copy {copy.name} is read."
        raise FileNotFoundError(
            f"{folder}: there is no settings.json, so no run was started here; give the folder "
            "that training named when it ended."
        ) from error
    except files.DamagedError as error:
        if other is not None:
            return other, f"{error} Its copy {copy.name} is read."
        raise
    if other is None or other == found:
        return found, None
    names = ", ".join(name for name in found if other.get(name) != found[name])
    # What fit wrote of itself is nobody's to change; settings may have been.
    return {**found, "fit": other["fit"]}, (
        f"{path} was changed since the run began: {names} in it differ from {copy.name}, whose fit is read."
    )


def is_whole(path: Path) -> bool:
    """Whether a file holds settings."""
    try:
        settings_in(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def settings_in(path: Path) -> dict[str, Any]:
    """What one file of settings holds.

    Raises:
      FileNotFoundError: If there is none.
      DamagedError: If it is damaged.
    """
    try:
        found = json.loads(files.read(path).decode())
        if not isinstance(found["fit"], dict) or not {"settings", "versions"} <= set(found):
            raise TypeError("it lacks settings, fit or versions")
    except (FileNotFoundError, files.DamagedError):
        raise
    except KeyError as error:
        raise files.DamagedError(f"{path} is damaged: it has no entry {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise files.DamagedError(f"{path} is damaged: {error}.") from error
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
