"""Faults, inputs and sweeps, and what was measured of devices: the measured part of docs/reliability.md."""

from typing import Any

import record

from rows.devices import devices, streaming
from rows.soak import cost, soak
from rows.table import NOT_RUN, lines, measured


def faults() -> str:
    """What runs did that were killed, and runs whose files were damaged."""
    result = record.read("faults")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/faults.py`."
    cells = [
        [
            f"SIGKILL of `{name}` at random moments",
            f"{row['kills']}, of which {row['in_writes']} while a file was written",
            f"{row['runs']}",
            f"{len(row['different'])}",
        ]
        for name, row in result.get("kills", {}).items()
    ]
    parts = [lines(["fault", "injected", "runs", "runs that ended differently"], cells)]
    if "damages" in result:
        parts.append(_damages(result["damages"]))
    if "resumes" in result:
        parts.append(_resumes(result["resumes"]))
    return "\n\n".join([*parts, measured(result, "benchmarks/faults.py")])


def _damages(row: dict[str, int]) -> str:
    return (
        f"Newest checkpoints that were cut off or had one bit flipped: {row['damaged'] + row['failed']:,}. "
        f"Named, set aside, and the one before used: {row['from_the_one_before']:,}. Content unchanged, as "
        f"in the time stamps of an archive: {row['unchanged']:,}. Ended in an error: {row['failed']}. Read "
        f"in silence as other numbers: {row['silent']}."
    )


def _resumes(found: dict[str, Any]) -> str:
    files = ", ".join(f"{name} {count}" for name, count in sorted(found["files"].items()))
    return (
        f"Runs of which one file was damaged, and which a fresh process resumed to the end: {found['runs']} "
        f"({files}). Of these, {len(found['different'])} ended in an error or in other bits."
    )


def wrong_calls() -> str:
    """How wrong calls of public functions are answered."""
    result = record.read("wrong_calls")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/wrong_calls.py`."
    return (
        f"{result['calls']} wrong calls of public functions: {result['clear']} answered by an error that "
        f"says which argument is wrong, {result['obscure']} by another error, {result['silent']} "
        f"by nothing; the slowest answer took {result['longest_seconds']:.1f} s.\n\n"
        f"{measured(result, 'benchmarks/wrong_calls.py')}"
    )


def inputs() -> str:
    """What the readers did with damaged files."""
    result = record.read("fuzz")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/fuzz.py`."
    cells = [
        [
            name,
            f"{sum(row.values()):,}",
            f"{row.get('refused', 0):,}",
            f"{row.get('read', 0):,}",
            f"{sum(n for kind, n in row.items() if kind not in ('refused', 'read')):,}",
        ]
        for name, row in result["readers"].items()
    ]
    limits = result["limits"]
    note = (
        f"{result['inputs']:,} files were cut off, flipped, nested, swapped, linked or replaced by pipes and "
        f"bombs. Refused: with an error that names the file. Read: the damage left a file of this kind, and "
        "for those with checksums the same content. Bad: another error, a crash, more than "
        f"{limits['seconds']} s, more than {limits['megabytes']} MB beside what the process held, or a file "
        f"written elsewhere. Bad in all: {result['bad_inputs']:,}. The greatest memory of a reader was "
        f"{result['peak_megabytes']:,} MB."
    )
    table = lines(["reader", "inputs", "refused", "read", "bad"], cells)
    return f"{note}\n\n{table}\n\n{measured(result, 'benchmarks/fuzz.py')}"


def sweeps() -> str:
    """Sweeps against single runs: whole commands, and what one program gains for learners of some sizes."""
    result = record.read("sweeps")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/sweeps.py`."
    parts = [_command(result["command"])] if "command" in result else []
    if "rule" in result:
        parts.append(_rule(result["rule"]))
    return "\n\n".join([*parts, measured(result, "benchmarks/sweeps.py")])


def _command(row: dict[str, Any]) -> str:
    equal = row["processes_equal_to_the_bit"]
    first, *others = row["single_processor_seconds"]
    usual, own = sum(others) / len(others), row["together_processor_seconds"]
    times = (first + (row["seeds"] - 1) * usual) / own
    header = ["first single run", "another single run", f"--seeds {row['seeds']}"]
    cells = [[f"{first:,.0f}", f"{usual:,.0f}", f"{own:,.0f}"]]
    return (
        f"Processor seconds of `metajax train sinusoid --outer-steps {row['outer_steps']}`, from the command "
        f"to the table, on a machine with other work:\n\n{lines(header, cells)}\n\nThe first run compiles, "
        f"and others read its program. So {row['seeds']} runs, of which {1 + len(others)} were measured, would "
        f"take {times:.1f} times the sweep. Test scores of members and single runs differ by at most "
        f"{row['largest_relative_difference']:.1g} of themselves. Members trained as processes: {len(equal)}, "
        f"of which {sum(equal)} ended in the bits of the single run."
    )


def _rule(rows: dict[str, dict[str, float]]) -> str:
    sizes = [name for name in next(iter(rows.values())) if name.endswith("a pass")]
    cells = [
        [
            name,
            f"{row['numbers'] / 1e6:.2g}",
            f"{row['alone']:.3g}",
            *(f"{row[size]:.3g}" for size in sizes),
        ]
        for name, row in sorted(rows.items(), key=lambda pair: pair[1]["numbers"])
    ]
    header = [
        "learner",
        "million numbers a step",
        "alone",
        *(f"in one program, {size}" for size in sizes),
    ]
    return (
        "Processor time of an outer step of a member, in ms: alone, with tasks spread over all devices, and "
        "in one program of 16 members, which are spread over devices, so many at once on each.\n\n"
        f"{lines(header, cells)}"
    )


PARTS = {
    "faults": faults,
    "inputs": inputs,
    "wrong calls": wrong_calls,
    "devices": devices,
    "streaming": streaming,
    "sweeps": sweeps,
    "soak": soak,
    "cost": cost,
}
