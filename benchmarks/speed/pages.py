"""What an outer step gains by huge pages: times and peaks by what glibc is told.

python benchmarks/speed/pages.py [--workload D F H] [--rounds 7]

Every way is a process of its own, one device a core; turns alternate in one run. Compilation is excluded.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import record
from rows.pages import WAYS
from rows.speed import WORKLOADS
from speed import SECONDS_PER_TURN, Racer
from workloads import MALLOC

TUNABLES = {"default": None, "huge": "glibc.malloc.hugetlb=1", "benchmarks": MALLOC}
"""GLIBC_TUNABLES of each way."""
assert TUNABLES.keys() == WAYS.keys()


def race(workload: str, rounds: int) -> dict:
    """Seconds of an outer step in every turn, and the peak of memory, of each way."""
    with tempfile.TemporaryDirectory() as cache:
        racers = {
            way: Racer("metajax", workload, cache, malloc=malloc)
            for way, malloc in TUNABLES.items()
        }
        found: dict[str, dict] = {way: {"turns": []} for way in racers}
        for racer in racers.values():
            racer.ask("steps", 1)
            once = min(racer.ask("steps", 1)["seconds"] for _ in range(3))
            racer.per_turn = max(1, round(SECONDS_PER_TURN / once))
        for _ in range(rounds):
            for way, racer in racers.items():
                racer.ask("steps", 1)  # brings back what the system took in others' turns
                answer = racer.ask("steps", racer.per_turn)
                found[way]["turns"].append(answer["seconds"] / racer.per_turn)
                found[way]["peak_mb"] = answer["peak_mb"]
        for racer in racers.values():
            racer.end()
    first = np.array(found["default"]["turns"])
    for way, row in found.items():
        ratios = first / np.array(row["turns"])
        row["times_faster"] = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
        print(workload, way, row["times_faster"], f"{row['peak_mb']:.0f} MB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=["D", "F", "H"])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    workloads = {}
    for name in arguments.workload:
        workloads[name] = race(name, arguments.rounds)
        record.write("pages", {**record.context(), "workloads": workloads})


if __name__ == "__main__":
    main()
