"""Translators of a new language side by side: adapted to the same pairs, and judged on the same sentences."""

from collections.abc import Mapping
from typing import Any

from metajax.metrics import bleu
from metajax.recipes.experiment import Report, ScoreTable
from metajax.recipes.language.finetuning import AT_ONCE
from metajax.recipes.language.translate import PENALTY
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_judge import BEAM, Judged, contenders, judge
from metajax.recipes.language.translation_learners import tokens_read
from metajax.types import Params


def judged(
    p: Prepared, meta_params: Params, seed: int = 1, there: Prepared | None = None
) -> Report:
    """Returns the report of a run beside others and a network from scratch.

    Args:
      p: The prepared sentences of the run.
      meta_params: What is judged.
      seed: Of new weights, and of the order of pairs.
      there: Another language, as the vocabulary of the run writes it.
    """
    on = p if there is None else there
    rows = {
        name: [judge(on, start, number, seed) for number in on.settings.pairs]
        for name, start in contenders(p, meta_params).items()
    }
    return report(on, rows)


def report(p: Prepared, rows: Mapping[str, list[Judged]]) -> Report:
    """Returns the tables of these rows, the first of which the others are compared with."""
    s, first = p.settings, next(iter(rows))
    columns = tuple(f"{number:,} pairs" for number in s.pairs)
    signatures = bleu.signatures()
    return Report(
        f"{first} from {p.settings.third} to {p.corpus.target} on {len(p.test.sources):,} sentences of "
        f"{p.corpus.name}, trained on {', '.join(s.languages)}",
        tuple(ScoreTable(title, columns, cells, 1) for title, cells in scores(p, rows).items()),
        (
            f"{first} has read {tokens_read(p):,} tokens of translations before it adapts. All rows adapt "
            "alike: Adam on all weights, where a tenth of the pairs chooses step size and number of steps. A "
            f"step reads {AT_ONCE} rows of pairs, and {s.rehearsal} of what was trained on",
            f"Beams divide by the length to the power of {PENALTY:g}",
            f"BLEU is {signatures[0]}, chrF is {signatures[1]}",
        ),
        f"the middle of {bleu.DRAWS:,} bootstrap samples of sentences, paired in differences",
    )


def scores(p: Prepared, rows: Mapping[str, list[Judged]]) -> dict[str, dict[str, Any]]:
    """Titles to the cells of each row, one for each number of pairs."""
    references = p.test.targets
    beam, greedy = (
        {
            name: [bleu.counts(getattr(one, how), references) for one in row]
            for name, row in rows.items()
        }
        for how in ("beam", "greedy")
    )
    chrf = {
        name: tuple(bleu.chrf_with_interval(one.beam, references) for one in row)
        for name, row in rows.items()
    }
    first = next(iter(rows))

    def with_intervals(found):
        return {
            name: tuple(bleu.with_interval(bleu.bleu(one), bleu.resampled(one)) for one in row)
            for name, row in found.items()
        }

    def above(names, ours, others):
        return {
            name: tuple(
                bleu.difference(*pair) for pair in zip(ours(name), others(name), strict=True)
            )
            for name in names
        }

    others = [name for name in rows if name != first]
    return {
        f"BLEU, beam of {BEAM}": with_intervals(beam),
        f"BLEU of {first} above each row": above(
            others, lambda name: beam[first], lambda n: beam[n]
        ),
        f"BLEU of a beam of {BEAM} above greedy": above(
            rows, lambda n: beam[n], lambda n: greedy[n]
        ),
        f"chrF, beam of {BEAM}": chrf,
    }
