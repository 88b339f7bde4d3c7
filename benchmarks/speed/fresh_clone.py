"""How long the first command takes: a clone, a new virtual environment, installation, the main job.

python benchmarks/speed/fresh_clone.py    writes results/fresh_clone.json

The time of pip's downloads depends on the network and on its cache, so installation is apart.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder
import record


def measure() -> dict:
    """Seconds of each part."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        clone, environment = Path(folder) / "metajax", Path(folder) / "environment"
        hidden = ("METAJAX_DATA", "PYTHONPATH", "VIRTUAL_ENV")
        variables = {name: value for name, value in os.environ.items() if name not in hidden}
        variables["XDG_CACHE_HOME"] = str(Path(folder) / "cache")  # nothing compiled before
        parts = {
            "clone": ["git", "clone", "-q", str(record.HERE.parent), str(clone)],
            "environment": [sys.executable, "-m", "venv", str(environment)],
            "install": [str(environment / "bin/pip"), "install", "-q", str(clone)],
            "train sinusoid": [str(environment / "bin/metajax"), "train", "sinusoid"],
        }
        for name, command in parts.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, cwd=folder, env=variables, capture_output=True)
            seconds[name] = time.perf_counter() - started
            print(name, f"{seconds[name]:.1f} s", flush=True)
    return seconds


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    record.write("fresh_clone", {"seconds": measure(), **record.context()})
