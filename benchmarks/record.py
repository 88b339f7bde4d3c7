"""What every benchmark writes beside its numbers, and where its tables go."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "torch", "higher", "torchopt")


def context() -> dict:
    """Machine, versions and date."""
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
        "date": datetime.now(UTC).date().isoformat(),
    }


def write(name: str, result: dict) -> Path:
    """Keep a result as `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def put_into_readme(script: str, text: str) -> None:
    """Replace what stands between the two comments of a script in README.md."""
    begin, end = f"<!-- results: benchmarks/{script} -->", f"<!-- end of {script} -->"
    before, rest = README.read_text().split(begin)
    _, after = rest.split(end)
    README.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
