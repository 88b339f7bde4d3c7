"""Translators of a new language side by side: adapted to the same pairs, and judged on the same sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from metajax.metrics import bleu
from metajax.recipes.experiment import Report, ScoreTable
from metajax.recipes.language.contenders import read
from metajax.recipes.language.finetuning import Adapted, fine_tuned
from metajax.recipes.language.translate import PENALTY, translate
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_learners import network, tokens_read
from metajax.types import Params

SCRATCH = "from scratch"
BEAM = 4


class Judged(NamedTuple):
    """Translations of the test sentences after adapting to some pairs.

    beam, greedy: One sentence each.
    loss, rate, steps, tokens: As in `Adapted`.
    """

    beam: list[str]
    greedy: list[str]
    loss: float
    rate: float
    steps: int
    tokens: int


def judge(p: Prepared, params: Params | None, number: int, seed: int) -> Judged:
    """Adapts to the first pairs of the third language, and translates its test sentences.

    Args:
      p: The prepared sentences.
      params: The weights at the start; None for new ones, which may read as many tokens as training did.
      number: Of pairs.
      seed: Of new weights, and of the order of pairs.
    """
    s, net = p.settings, network(p)
    adapted = fine_tuned(
        net,
        net.init(jax.random.key(seed)) if params is None else params,
        p.support(number),
        rates=s.rates,
        most_tokens=s.target_tokens if params is None else s.adapt_tokens,
        patience=s.patience,
        smoothing=s.smoothing,
        length=s.length,
        seed=seed,
    )
    return translated(p, adapted)


def translated(p: Prepared, adapted: Adapted) -> Judged:
    """Translates the test sentences with adapted weights."""
    sources = p.pieces.encode(p.test.sources)
    beam, greedy = (
        p.pieces.decode(translate(network(p), adapted.params, sources, beam=width))
        for width in (BEAM, 1)
    )
    return Judged(beam, greedy, *adapted[1:])


def contenders(p: Prepared, meta_params: Params) -> dict[str, Params | None]:
    """The weights from which a run and those beside it adapt, by name, and None for new ones."""
    found: dict[str, Params | None] = {p.settings.learner: meta_params}
    for folder in p.settings.beside:
        params, other = read(p, "beside", folder)
        found[f"{other.settings.learner} of {Path(folder).name}"] = params
    return {**found, SCRATCH: None}


def judged(p: Prepared, meta_params: Params, seed: int = 1) -> Report:
    """Returns the report of a run beside others and a network from scratch."""
    rows = {
        name: [judge(p, params, number, seed) for number in p.settings.pairs]
        for name, params in contenders(p, meta_params).items()
    }
    return report(p, rows)


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
            "alike: Adam on all weights, where a tenth of the pairs chooses step size and number of steps",
            f"Intervals are of 1,000 bootstrap samples of sentences, paired in differences; beams divide by "
            f"the length to the power of {PENALTY:g}",
            f"BLEU is {signatures[0]}, chrF is {signatures[1]}",
        ),
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
        name: tuple((bleu.chrf(one.beam, references), 0.0) for one in row)
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
