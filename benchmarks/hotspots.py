"""Where an outer step's time goes: the compiled operations of workloads A, B and C, by kind.

python benchmarks/hotspots.py             write results/hotspots_PLATFORM.json and the table in README.md

Times are those of XLA's own profiler, summed over threads, so they add up to more than the clock's.
"""

import collections
import re
import tempfile
from pathlib import Path

import record
from contestants import CONTESTANTS
from workloads import WORKLOADS, arrays

STEPS = {"A": 500, "B": 5, "C": 1}
KINDS = {
    "convolutions and products": ("convolution", "dot"),
    "sums": ("reduce",),
    "patches, transposes and copies": ("concatenate", "transpose", "copy", "pad", "slice"),
}
"""What an operation is called after: the first of these that it, or what is fused in it, contains."""
REST = "element by element"


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

    w = WORKLOADS[workload]
    racer = CONTESTANTS["metajax"](w, arrays(w))
    racer.steps(1)
    program = racer.many.lower(racer.state, racer.tasks, 1).compile().as_text()
    kind_of, steps = kinds(program), STEPS[workload]
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


def tables() -> str:
    """The stored profiles as Markdown."""
    import json

    lines = ["| | operations in a step | " + " | ".join([*KINDS, REST]) + " |", "|---" * 6 + "|"]
    for path in sorted(record.RESULTS.glob("hotspots_*.json")):
        for name, found in json.loads(path.read_text())["workloads"].items():
            total = sum(found["ms_by_kind"].values())
            shares = [found["ms_by_kind"].get(kind, 0) / total for kind in (*KINDS, REST)]
            cells = " | ".join(f"{100 * share:.0f} %" for share in shares)
            lines.append(f"| {name} | {found['operations']:,.0f} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    context = record.context()
    result = {**context, "workloads": {name: measure(name) for name in WORKLOADS}}
    record.write(f"hotspots_{context['machine']['platform']}", result)
    record.put_into_readme("hotspots.py", tables())


if __name__ == "__main__":
    main()
