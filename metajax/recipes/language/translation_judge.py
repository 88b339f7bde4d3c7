"""Translations of test sentences after adapting to a few pairs, by a run, by others and from scratch."""

from pathlib import Path
from typing import NamedTuple

import jax

from metajax.metrics.bleu import chrf
from metajax.recipes.language.contenders import read
from metajax.recipes.language.finetuning import Adapted, fine_tuned
from metajax.recipes.language.low_resource import Rows, unstacked
from metajax.recipes.language.token_pairs import Tokens
from metajax.recipes.language.translate import translate
from metajax.recipes.language.translation_data import Prepared
from metajax.recipes.language.translation_learners import network
from metajax.types import Params

SCRATCH = "from scratch"
BEAM = 4


class Judged(NamedTuple):
    """Translations of the test sentences after adapting to some pairs.

    beam, greedy: One sentence each.
    held_out: The chrF of greedy translations of the pairs that were held out.
    rate, steps, tokens: As in `Adapted`.
    """

    beam: list[str]
    greedy: list[str]
    held_out: float
    rate: float
    steps: int
    tokens: int


class Start(NamedTuple):
    """What adapting starts from: trained weights, and the packed pairs they were trained on, to rehearse."""

    params: Params
    trained_on: Rows


def judge(p: Prepared, start: Start | None, number: int, seed: int) -> Judged:
    """Adapts to the first pairs of the third language, and translates its test sentences.

    Args:
      p: The prepared sentences.
      start: A run; None for new weights, which may read as many tokens as training did.
      number: Of pairs.
      seed: Of new weights, and of the order of pairs.
    """
    s, net = p.settings, network(p)

    def quality(translations: Tokens, references: Tokens) -> float:
        return chrf(p.pieces.decode(translations), p.pieces.decode(references))

    adapted = fine_tuned(
        net,
        net.init(jax.random.key(seed)) if start is None else start.params,
        p.support(number),
        quality=quality,
        rates=s.rates,
        most_tokens=s.target_tokens if start is None else s.adapt_tokens,
        patience=s.patience,
        smoothing=s.smoothing,
        word_dropout=s.word_dropout,
        length=s.length,
        seed=seed,
        beside=None if start is None else unstacked(start.trained_on),
        rehearsal=s.rehearsal,
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


def contenders(p: Prepared, meta_params: Params) -> dict[str, Start | None]:
    """What a run and those beside it adapt from, by name, and None for new weights."""
    found: dict[str, Start | None] = {p.settings.learner: Start(meta_params, p.train)}
    for folder in p.settings.beside:
        params, other = read(p, "beside", folder)
        found[f"{other.settings.learner} of {Path(folder).name}"] = Start(params, other.train)
    return {**found, SCRATCH: None}
