"""Summaries: learners that are trained, and the page of what they found."""

from typing import Any, NamedTuple

import record

from metajax.recipes.language.rouge_rows import ORACLE
from metajax.recipes.language.style_scores import BEST, IDEAL
from metajax.recipes.language.summaries import Summaries
from metajax.recipes.language.summary_baselines import ADAPTED, NOT_ADAPTED, RULES, SCRATCH
from rows.table import NOT_RUN, Page, Section, lines


class Study(NamedTuple):
    """Learners that are trained on one corpus and judged on it and on others.

    settings: Of all of them.
    learners: Names of rows to what differs.
    seeds: One run of each row for each.
    on: Other corpora.
    """

    settings: Summaries
    learners: dict[str, dict[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    on: tuple[str, ...] = ("legal_summarization",)


STUDY = Study(
    Summaries(data_set="scitldr", outer_steps=1_000),
    {
        "anil": {"learner": "anil"},
        "neural_process": {"learner": "neural_process"},
        "zero_step": {"learner": "zero_step"},
    },
)
_ROWS = (*STUDY.learners, *RULES, NOT_ADAPTED, SCRATCH, ADAPTED)


def _cell(pair: list[float]) -> str:
    return f"{pair[0]:.1f} ± {pair[1]:.1f}"


def _found(result: Any) -> str:
    number = len(result["seeds"])
    return (
        f"{number} seed{'s' * (number > 1)} of each learner, which are averaged for each task or document "
        f"first. Measured with metajax {record.version_of(result)}."
    )


def in_styles() -> str:
    """Chosen sentences found in new styles."""
    result = record.read("summaries")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/summaries.py`"
    styles = result["styles"]
    first = next(name for name in STUDY.learners if name in styles["rows"])
    cells = [
        [name, _cell(styles["rows"][name]), *_apart(styles, name)]
        for name in (*_ROWS, IDEAL, BEST)
        if name in styles["rows"]
    ]
    none, best = (styles["rows"][name][0] for name in (NOT_ADAPTED, BEST))
    way = [
        f"{name} goes {100 * (styles['rows'][name][0] - none) / (best - none):.0f} %"
        for name in STUDY.learners
        if name in styles["rows"] and name != "zero_step"
    ]
    note = (
        f"{result['tasks']} new styles on test abstracts, ten labelled documents and ten queries each. Labels "
        "are drawn from a softmax, so the style itself is not always right. Of the way from the scorer that "
        f"does not adapt to the best possible one, {', '.join(way)}."
    )
    titles = ["", "found, %", f"{first} above it, style by style"]
    return f"{note} {_found(result)}\n\n{lines(titles, cells)}"


def _apart(part: Any, name: str) -> list[str]:
    pair = part["apart"].get(name)
    return ["" if pair is None else f"{pair[0]:+.2f} ± {pair[1]:.2f}"]


def in_corpora() -> str:
    """ROUGE of written summaries."""
    result = record.read("summaries")
    if result is None:
        return NOT_RUN
    parts = []
    for corpus, found in result["corpora"].items():
        cells = [
            [name, *map(_cell, found["rows"][name]), *_apart(found, name)]
            for name in (*_ROWS, ORACLE)
            if name in found["rows"]
        ]
        titles = ["", "R1", "R2", "RL", f"R1 of {next(iter(STUDY.learners))} above it, by document"]
        parts.append(f"{corpus}, {found['documents']} documents:\n\n{lines(titles, cells)}")
    note = (
        "ROUGE with stems, the best over references; one sentence. Learners and the last two logits adapt "
        "to ten draws of ten labelled documents, and a document is the mean over them. Of abstracts, supports "
        "are of the training split; of other corpora, all documents but the ten are judged, and nothing was "
        f"tuned or trained on them. {NOT_ADAPTED} is trained on the summaries of all training abstracts."
    )
    return "\n\n".join([note, *parts])


ANALYSIS = (
    "**Styles.** ANIL and the neural process go more than half of the way to the best possible scorer, and "
    "find as many sentences as a tuned logit that starts from nothing: meta-learning has not paid here. Bayes' "
    "prediction shows that there is something to gain, because it knows that few preferences are active.\n\n"
    "**Summaries.** Abstracts have one style, for which training on all of them is best. After ten documents "
    "both learners are below that scorer, and on contracts below the first sentence."
)

PAGE = Page(
    "Summaries",
    "Extractive summaries in a style that is read from ten documents. A style is a hidden preference for "
    "places, lengths, likeness to the title or cue words; it is drawn anew for every task, so that a scorer "
    "that does not adapt cannot know it, and the best possible scorer is known. A quarter of the training "
    "tasks has the written summaries of the training abstracts as its style. Corpora are the honest test: "
    "abstracts of SciTLDR, and passages of contracts. Baselines are fitted to training documents and tuned on "
    "validation tasks. Reproduce with `python benchmarks/summaries.py`.",
    (
        Section("New styles", in_styles),
        Section("Written summaries", in_corpora),
        Section("Analysis", lambda: ANALYSIS),
    ),
)
