"""Two versions of metajax on the workloads of A to C."""

import record

from rows.table import NOT_RUN, lines


def versions() -> str:
    """How long an outer step takes, against an older commit."""
    result = record.read("versions")
    command = "`python benchmarks/speed/versions.py OLD_CHECKOUT`"
    if result is None:
        return f"{NOT_RUN}: {command}."
    cells = []
    for name, row in result["workloads"].items():
        low, high = row["ratio"]["quartiles"]
        cells.append([name, f"{row['ratio']['median']:.2f} ({low:.2f} to {high:.2f})"])
    machine = result["machine"]
    return "\n\n".join(
        [
            "Each version runs from its own checkout; turns alternate, each in a new process. Reproduce "
            f"with {command}.",
            lines(["", f"time of a step over that of {result['old_commit']} (quartiles)"], cells),
            f"{machine['processor']}, {machine['cores']} cores. Measured with metajax "
            f"{record.version_of(result)}.",
        ]
    )
