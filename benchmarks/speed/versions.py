"""Two versions of metajax on the workloads of the speed benchmark, taking turns in one run.

python benchmarks/speed/versions.py OLD_CHECKOUT [--workload A B C] [--rounds 7]

Each version runs from its own checkout, with its own code for the workloads. Every turn is a new process,
because two processes of the same program can differ by a tenth. Compilation is excluded: it happens in the
first step. The result is the ratio of each turn of the new version to the turn of the old one beside it,
with its median and quartiles.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import record
from rows.speed import TUNED, WORKLOADS
from workloads import MALLOC

SECONDS_PER_TURN = 3.0


class Version:
    """A checkout's process, seen from here; it answers a JSON line for each line it reads."""

    def __init__(self, checkout: Path, workload: str, cache: str):
        scripts = (checkout / "benchmarks" / place for place in ("speed/speed.py", "speed.py"))
        script = next(path for path in scripts if path.is_file())
        command = [sys.executable, str(script), "--serve", "metajax", "--workload", workload]
        own = {
            "PYTHONPATH": str(checkout),
            "JAX_COMPILATION_CACHE_DIR": cache,
            "GLIBC_TUNABLES": MALLOC,
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | own
        )
        self.compile_s = self.seconds(1)
        self.per_turn = max(1, round(SECONDS_PER_TURN / self.seconds(1)))

    def seconds(self, steps: int) -> float:
        """How long so many outer steps take."""
        assert self.process.stdin and self.process.stdout
        print("steps", steps, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process stopped with status {self.process.wait()}")
        return json.loads(line)["seconds"]

    def turn(self) -> float:
        """Seconds of an outer step; one step before it brings back what the system took."""
        self.seconds(1)
        return self.seconds(self.per_turn) / self.per_turn

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def race(old: Path, new: Path, workload: str, rounds: int) -> dict:
    """Turns of both versions on a workload, in alternating order."""
    checkouts, compile_s = {"old": old, "new": new}, {}
    turns: dict[str, list[float]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as cache:
        for name, checkout in checkouts.items():  # a process that has compiled is not timed
            version = Version(checkout, workload, cache)
            compile_s[name] = version.compile_s
            version.end()
        for i in range(rounds):
            for name in ("old", "new") if i % 2 else ("new", "old"):
                version = Version(checkouts[name], workload, cache)
                turns[name].append(version.turn())
                version.end()
    ratios = np.array(turns["new"]) / np.array(turns["old"])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    print(f"{workload}: new/old {middle:.3f} ({low:.3f} to {high:.3f})", flush=True)
    return {
        "title": WORKLOADS[workload].title,
        "seconds": turns,
        "ratio": {"median": middle, "quartiles": [low, high], "turns": ratios.tolist()},
        "first_step_s": compile_s,
    }


def commit_of(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, help="a checkout of the older version")
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=list(TUNED))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    here = Path(__file__).parents[2]
    result: dict = {"old_commit": commit_of(arguments.old), "workloads": {}}
    for name in arguments.workload:
        result["workloads"][name] = race(arguments.old.resolve(), here, name, arguments.rounds)
        record.write("versions", {**record.context(), **result})
