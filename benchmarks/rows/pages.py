"""Memory pages: what a step gains if they are huge."""

import record

from rows.table import lines, not_run

WAYS = {
    "default": "as glibc has it",
    "huge": "huge pages",
    "benchmarks": "huge pages and few heaps, as all benchmarks have it",
}


def memory_pages() -> str:
    """Time of an outer step by what glibc is told."""
    what = (
        "Outer steps of the networks above, one device a core, in processes that differ in "
        "[what glibc is told](../speed.md); turns alternate. Reproduce with "
        "`python benchmarks/speed/pages.py`."
    )
    titles = ("", "memory", "ms an outer step", "times faster (quartiles)", "peak memory, MB")
    result = record.read("pages")
    if result is None:
        return f"{what}\n\n{lines(titles, [not_run('', len(titles))])}"
    cells = []
    for workload, ways in result["workloads"].items():
        for way, shown in WAYS.items():
            row = ways[way]
            low, middle, high = row["times_faster"]
            turns = sorted(row["turns"])
            step = f"{1e3 * turns[len(turns) // 2]:.3g}"
            ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
            cells.append([workload, shown, step, ratio, f"{row['peak_mb']:.0f}"])
    machine = f"{result['machine']['processor']}, {result['machine']['cores']} cores."
    where = f"{machine} Measured with metajax {record.version_of(result)}."
    return "\n\n".join([what, lines(titles, cells), where])
