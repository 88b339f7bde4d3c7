"""How long README's first command takes: a clone, a new virtual environment, installation, the main job.

python benchmarks/fresh_clone.py           write results/fresh_clone.json and the sentence in README.md
python benchmarks/fresh_clone.py --tables  only rewrite the sentence

What pip downloads depends on the network and on its cache, so installation is apart.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def sentence() -> str:
    """The stored result as Markdown."""
    result = json.loads((record.RESULTS / "fresh_clone.json").read_text())
    seconds, machine = result["seconds"], result["machine"]
    return (
        f"On {machine['cores']} cores of an {machine['processor']}: {seconds['install']:.0f} s to install "
        f"(from pip's downloads) and {seconds['train sinusoid']:.0f} s from the command to the table."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tables", action="store_true", help="only rewrite the sentence in README.md"
    )
    if not parser.parse_args().tables:
        record.write("fresh_clone", {"seconds": measure(), **record.context()})
    record.put_into_readme("fresh_clone.py", sentence())
