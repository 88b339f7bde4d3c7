"""Nearest neighbours with a learned metric and a learned k, whose error rate has no derivative."""

from dataclasses import dataclass

import record

from rows.table import Page, Section, lines, not_run

SHOTS = (1, 5)
TEST_TASKS, VALIDATION_TASKS = 2_000, 1_000


@dataclass(frozen=True)
class Training:
    """How one metric is learned; `pairs` of perturbations, or 0 for the gradient."""

    outer_steps: int
    meta_batch: int
    rate: float
    pairs: int = 0
    sigma: float = 0.0
    k: float = 1.0


TRAININGS = {
    "evolution": Training(outer_steps=120, meta_batch=8, rate=0.02, pairs=32, sigma=0.05, k=1.4),
    "gradient": Training(outer_steps=250, meta_batch=8, rate=0.02, k=5.0),
}
"""Chosen by validation at 1 shot, used at both."""
NAMES = {
    "plain": "plain",
    "evolution": "by evolution, on the error rate",
    "gradient": "by gradient, on votes by distance",
}


def text() -> str:
    """The table from the result file."""
    result = record.read("knn_omniglot")
    if result is None:
        return "Not run: `python benchmarks/knn_omniglot.py`."
    note = (
        f"k nearest neighbours of Omniglot's pixels, {result['way']}-way, random split: accuracy in %, mean ± "
        f"95 % interval over {result['test_tasks']:,} test tasks, the same for all. A 7 x 7 filter, the weight "
        "of every pixel, and k are learned, and compared with the best plain k. Settings were chosen on "
        "validation tasks. How much of the gain a fixed blur would bring was not measured. Measured with "
        f"metajax {record.version_of(result)}."
    )
    found = {(row["name"], row["shot"]): row for row in result["rows"]}
    titles = ["", "shot", "accuracy", "gain over plain, task by task"]
    cells = []
    for shot in SHOTS:
        for name, shown in NAMES.items():
            row = found.get((name, shot))
            if row is None:
                cells.append(not_run(f"{shown}, {shot}-shot", len(titles)))
                continue
            gain = f"{row['gain']:.1f} ± {row['gain_interval']:.1f}" if "gain" in row else ""
            accuracy = f"{row['mean']:.1f} ± {row['interval']:.1f}"
            cells.append([shown, str(shot), accuracy, gain])
    return f"{note}\n\n{lines(titles, cells)}"


PAGE = Page(
    "Without derivatives",
    "By evolution the objective is the error rate itself, of counted votes. By gradient it is the "
    "cross-entropy of votes by distance, because counted votes have no derivative. Reproduce with "
    "`python benchmarks/knn_omniglot.py`.",
    (Section("Nearest neighbours", text),),
)
