"""Where the time and memory of an outer step go: the compiled operations of each workload, by kind.

python benchmarks/speed/hotspots.py    writes results/hotspots_PLATFORM.json

Times are those of XLA's own profiler, summed over threads, so they add up to more than the clock's.
Memory is that of a process which reads back what another one compiled.
"""

import argparse
import collections
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import record
from contestants import contestant
from rows.speed import KINDS, PROFILED, REST, WORKLOADS
from workloads import MALLOC, arrays

SECONDS = 1.0
"""Of the steps that are profiled; one step at least."""


def kinds(program: str) -> dict[str, str]:
    """The kind of every operation of a compiled program, by its name."""
    bodies = dict(re.findall(r"\n%([\w.\-]+) [^\n]*\{\n(.*?)\n\}", program, re.DOTALL))
    found = {}
    for line in program.splitlines():
        named = re.match(r"\s+(?:ROOT )?%(\S+) = (?:\(.*?\)|\S+) ([\w\-]+)\(", line)
        if not named or named[2] in ("while", "call", "conditional"):
            continue
        calls = re.search(r"calls=%([\w.\-]+)", line)
        # A fusion that XLA wrote is named after what is in it; one for its library of kernels is not.
        inside = bodies.get(calls[1], "") if calls and "ynn" in named[1] else ""
        words = " ".join([named[1], named[2], *re.findall(r" ([\w\-]+)\(", inside)])
        kinds_of = (kind for kind, known in KINDS.items() if any(word in words for word in known))
        found[named[1]] = next(kinds_of, REST)
    return found


def measure(workload: str) -> dict:
    """Milliseconds of an outer step by kind, summed over threads, and how many operations it has."""
    import jax

    racer = _racer(workload)
    racer.steps(1)  # compiles
    begun = time.perf_counter()
    racer.steps(1)
    steps = min(500, max(1, round(SECONDS / (time.perf_counter() - begun))))
    program = racer.many.lower(racer.state, racer.tasks, 1).compile().as_text() or ""
    kind_of = kinds(program)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            racer.steps(steps)
        (trace,) = Path(folder).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(trace)).planes
        events = [event for plane in planes for line in plane.lines for event in line.events]
    spent, count = collections.Counter(), 0
    for event in events:
        if event.name in kind_of:
            spent[kind_of[event.name]] += event.duration_ns / 1e6 / steps
            count += 1
    return {"ms_by_kind": dict(spent), "operations": count / steps}


def memory(workload: str) -> dict:
    """Megabytes at the peak before there is a program, with it, and of its temporaries on all devices."""
    import jax

    racer = _racer(workload)
    before = _peak_mb()
    program = racer.many.lower(racer.state, racer.tasks, 1).compile()
    analysis = program.memory_analysis()
    assert analysis is not None
    return {
        "libraries_and_data_mb": before,
        "with_program_mb": _peak_mb(),
        "temporaries_mb": analysis.temp_size_in_bytes * jax.device_count() / 2**20,
    }


def apart(workload: str) -> dict:
    """Both in processes of their own: how many devices there are differs. The first one compiles."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": folder, "GLIBC_TUNABLES": MALLOC}
        for part in PARTS:
            command = [sys.executable, __file__, "--part", part, workload]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found[part] = json.loads(done.stdout)
    return {**found["time"], "memory": found["memory"]}


PARTS = {"time": measure, "memory": memory}


def _racer(workload: str):
    w = WORKLOADS[workload]
    return contestant(w, "metajax")(w, arrays(w))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        part, workload = arguments.part
        print(json.dumps(PARTS[part](workload)))
        return
    context = record.context()
    result = {**context, "workloads": {name: apart(name) for name in PROFILED}}
    record.write(f"hotspots_{context['machine']['platform']}", result)


if __name__ == "__main__":
    main()
