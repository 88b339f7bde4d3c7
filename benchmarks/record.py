"""What every benchmark writes beside its numbers, and how its result is read back."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = (
    *("metajax", "jax", "jaxlib", "optax", "flax", "equinox", "numpy"),
    *("torch", "higher", "torchopt", "jaxopt"),
)


def context() -> dict[str, Any]:
    """The machine, versions, commit and date of a measurement."""
    import jax

    device = jax.devices()[0]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": {
            "platform": device.platform,
            "device": device.device_kind,
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
        },
        "versions": versions,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def commit() -> str | None:
    """The commit of this checkout, with a plus where files differ from it; None outside of git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(HERE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no", "--", "../metajax")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def version_of(result: Mapping[str, Any]) -> str:
    """The version of metajax that a result was measured with, as tables print it.

    Example:
      >>> version_of({"versions": {"metajax": "0.2.0"}, "commit": "1234567"})
      '0.2.0 (1234567)'
      >>> version_of({"versions": {"jax": "0.10.2"}})
      'before 0.2'
    """
    measured, at = result["versions"].get("metajax"), result.get("commit")
    if measured is None:
        return "before 0.2"
    return measured if at is None else f"{measured} ({at})"


def read_back(value: Any) -> Any:
    """What is read where this was written: tuples are lists there.

    Example:
      >>> read_back({"size": (5, 1)})
      {'size': [5, 1]}
    """
    return json.loads(json.dumps(value))


def write(name: str, result: Mapping[str, Any]) -> Path:
    """Keeps a result as `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def read(name: str) -> dict[str, Any] | None:
    """The result of this name, or None if it was not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def read_all(pattern: str) -> dict[str, dict[str, Any]]:
    """Results by name whose names match a pattern such as `speed_*`, in order."""
    paths = sorted(RESULTS.glob(f"{pattern}.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def of_row(row: str) -> list[dict[str, Any]]:
    """Results of a row, one for each seed."""
    return [
        result for name, result in read_all(f"{row}-*").items() if name.rpartition("-")[0] == row
    ]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
