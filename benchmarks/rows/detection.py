"""Few-shot detection: detectors that are trained on scenes, and the page of what they find."""

from typing import Any

import numpy as np
import record

from metajax.recipes.vision.adapting import SCRATCH, STEPS, TIE
from metajax.recipes.vision.detection import Detection
from metajax.recipes.vision.detection_report import BLOBS, CORRELATION, UNTRAINED, above
from rows import across
from rows.table import NOT_RUN, Page, Section, lines, measured, version_of

TRAINED = Detection(source="omniglot", outer_steps=5_000)
LEARNERS: dict[str, dict[str, Any]] = {"conditioned": {}, "plain": {"learner": "plain"}}
SHOTS = (5, 1, 10)
SCRATCH_TASKS, SCRATCH_STEPS = 30, 60
BLOB_TASKS, CORRELATION_TASKS = 150, 200
"""Tasks that the slow baselines are measured on, the first of all."""
OURS, FINE = "conditioned", "plain, fine-tuned"


def _cell(mean: float, interval: float) -> str:
    return f"{mean:.1f} ± {interval:.1f}"


def _signed(mean: float, interval: float) -> str:
    return f"{mean:+.1f} ± {interval:.1f}"


def _training(result: Any) -> str:
    """How far the run has come."""
    step, whole = result["step"], result["settings"]["outer_steps"]
    if step == whole:
        return f"{step:,} outer steps of 8 tasks."
    return (
        f"{step:,} of {whole:,} outer steps of 8 tasks, where the run was stopped before its rate had "
        "fallen to 0."
    )


def in_scenes() -> str:
    """Every row on frozen scenes."""
    result = record.read("detection_scenes")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/detection.py train scenes`"
    rows = []
    for name in ("conditioned", FINE, SCRATCH, BLOBS, CORRELATION, UNTRAINED):
        if name not in result["rows"]:
            rows.append([name, NOT_RUN, "", "", "", ""])
            continue
        pairs = [_cell(*pair) for pair in result["rows"][name]]
        apart = result["above"].get(name)
        shown = "" if apart is None else f"{_signed(*apart[0])}; {_signed(*apart[2])}"
        seed = result.get("above_of_seed", {}).get(name, 0)
        shown += f" (seed {seed})" if shown and seed else ""
        tasks = result["numbers"][name]
        rows.append([name if tasks == result["tasks"] else f"{name}, {tasks} tasks", *pairs, shown])
        if name == OURS:
            rows += [
                [f"{name}, seed {seed}", *(_cell(*pair) for pair in found["row"]), ""]
                for seed, found in sorted(result.get("seeds", {}).items())
            ]
    titles = ["", *result["columns"], "AP50 of conditioned above it, task by task: one; five"]
    five = [_signed(*pair) for pair in result["more"]["conditioned"]]
    note = (
        "Scenes are composed on the device: 96 x 96 pixels, 3 to 6 characters, 1 to 3 of them targets, four "
        "kinds of distractors, clutter and noise. AP is COCO's, with 101 recall points, and in each picture a "
        "detection takes the best free box; means and 95 % intervals, by Student's t, are over tasks. "
        f"Reproduce with `python benchmarks/detection.py STAGE`. {result['tasks']} frozen test tasks of four "
        f"query scenes, characters of Omniglot's evaluation alphabets, which no training saw. "
        f"Trained with seed 0 where no other is named; {_training(result)} "
        f"{SCRATCH} is the same network with new weights, after {SCRATCH_STEPS} steps on the support; {FINE} "
        "is the same network trained on all scenes without exemplars, and then fine-tuned. Five exemplars "
        f"are above one by {five[0]} AP50 and {five[1]} AP75, task by task. Measured with metajax "
        f"{version_of(result)}."
    )
    return f"{note}\n\n{lines(titles, rows)}"


def _ways(result: Any, name: str, chosen: list[Any]) -> str:
    """How a row adapts to each class, in words."""
    kinds = [column.split(",")[0] for column in result["columns"][::2]]
    own = [
        f"{kind} {way['steps']} steps of {way['rate']:g}{' on mirror images' * way['mirrored']}"
        for kind, way in zip(kinds, chosen, strict=True)
    ]
    return f"{name}: {', '.join(own)}"


def in_cells() -> str:
    """Every row on blood cells."""
    result = record.read("detection_cells")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/detection.py cells`"
    parts = []
    for shot in sorted(map(str, SHOTS), key=int):
        found = result["shots"].get(shot)
        if found is None:
            parts.append(f"{shot} annotated pictures: {NOT_RUN}.")
            continue
        rows = []
        for name in ("conditioned", "conditioned, no step", "plain", SCRATCH, BLOBS):
            if name not in found:
                rows.append([name, NOT_RUN, *[""] * (len(result["columns"]) - 1)])
                continue
            row = found[name]
            pairs = [_cell(*pair) for pair in zip(row["mean"], row["interval"], strict=True)]
            rows.append([name, *pairs])
        judged = {name: np.array(row["draws"]) for name, row in found.items()}
        rows += [
            [f"conditioned above {name}", *(_signed(*pair) for pair in pairs)]
            for name, pairs in above(judged, OURS).items()
            if name in (SCRATCH, "plain")
        ]
        head = f"{shot} annotated picture{'s' * (shot != '1')}:"
        ways = [
            _ways(result, name, row["chosen"]) for name, row in found.items() if "chosen" in row
        ]
        parts.append(
            f"{head}\n\n{lines(['', *result['columns']], rows)}\n\nChosen: {'; '.join(ways)}."
        )
    note = (
        "Adapting pays: a detector that has never seen a cell finds three quarters of the red ones and nine "
        "tenths of the white ones after five pictures. conditioned is above the same network from scratch on "
        "every class and number of pictures. It is above the detector that was trained without exemplars on "
        "red cells from five pictures on, and on platelets with ten. On white cells that detector is level at "
        "five pictures and ahead at one and ten, and its boxes fit better; blobs of colour find them best, the "
        "only large and violet things. "
        f"{result['draws']} draws of annotated training pictures, judged on all {result['pictures']} test "
        "pictures of BCCD, which are reduced to 160 x 120, and again by 2 until the median support box is no "
        "larger than a character in scenes; and to the direction of colour in which the support boxes differ "
        "most from what is around them (Fisher's discriminant). Intervals are over draws, by Student's t. "
        f"Steps, of {', '.join(map(str, STEPS))}, the inner rate, and whether the support's mirror images are "
        f"read, too, are those of the greatest AP75 within {TIE:g} point of the greatest AP50 on 24 validation "
        "pictures, "
        "for each row and class. plain is the detector that was trained on all scenes without exemplars. The "
        "copy that was read has half of the published resolution, in JPEG of quality 80. Lines of conditioned "
        "above another row are paired by draw. Measured with metajax "
        f"{version_of(result)}."
    )
    return "\n\n".join([note, *parts])


def speed() -> str:
    """Compiling, composing and an outer step."""
    result = record.read("detection_speed")
    script = "benchmarks/detection_speed.py"
    if result is None:
        return f"{NOT_RUN}: `python {script}`"
    step, draw = (result[part] for part in ("step_s", "draw_s"))
    machine = result["machine"]
    return (
        f"An outer step of {result['tasks']} tasks with {result['scenes']} scenes, on {result['devices']} "
        f"devices of one core, {machine['processor']}: {step[1]:.2f} s ({step[0]:.2f} to {step[2]:.2f}, "
        f"quartiles), {result['scenes_a_second']:.0f} scenes a second, after {result['first_step_s']:.0f} s "
        "for the first step, with compiling. Composing its scenes takes "
        f"{draw[1] * 1e3:.0f} ms ({draw[0] * 1e3:.0f} to {draw[2] * 1e3:.0f}), in one compiled call, and "
        f"{result['first_draw_s']:.1f} s the first time. Peak memory of the process: {result['peak_mb']:.0f} "
        f"MB, and {result['peak_mb_before']:.0f} before the first step. {measured(result, script)}"
    )


PAGE = Page(
    "Pictures: other kinds, and finding things",
    "Few-shot classification of one kind of pictures by a learner of another, and few-shot detection: boxes of "
    "a thing in new pictures, from one to ten that show it.",
    (
        across.SECTION,
        Section("Composed scenes", in_scenes),
        Section("Blood cells", in_cells),
        Section("Speed of a step", speed),
    ),
)
