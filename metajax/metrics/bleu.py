"""BLEU and chrF by sacrebleu, with intervals and paired differences by bootstrap."""

import json
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 1_000
"""Bootstrap samples of the sentences."""


class Counts(NamedTuple):
    """What BLEU adds up over sentences.

    matches, ngrams: `(n, 4)`, of each length: those that the reference has, and all.
    lengths: `(n, 2)`, of translation and reference, in tokens.
    """

    matches: np.ndarray
    ngrams: np.ndarray
    lengths: np.ndarray


def package():
    """Returns sacrebleu.

    Raises:
      ModuleNotFoundError: Where it is not installed, with what to install.
    """
    try:
        import sacrebleu
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "BLEU needs sacrebleu; install it with pip install 'metajax[language]'."
        ) from error
    return sacrebleu


def counts(translations: Sequence[str], references: Sequence[str]) -> Counts:
    """Returns what BLEU counts in each sentence.

    Args:
      translations: Sentences, without tokenization.
      references: One of each.

    Raises:
      ValueError: For other numbers of translations and references, or none.
      ModuleNotFoundError: Without sacrebleu.
    """
    if len(translations) != len(references) or not references:
        raise ValueError(
            f"bleu: there are {len(translations)} translations and {len(references)} references."
        )
    metric = package().BLEU(effective_order=True)
    found = [
        metric.sentence_score(translation, [reference])
        for translation, reference in zip(translations, references, strict=True)
    ]
    return Counts(
        np.array([one.counts for one in found]),
        np.array([one.totals for one in found]),
        np.array([(one.sys_len, one.ref_len) for one in found]),
    )


def bleu(found: Counts, weights: np.ndarray | None = None) -> float:
    """Returns corpus BLEU from 0 to 100.

    Args:
      found: As `counts` returns them.
      weights: `(n,)`, how often each sentence is counted; by default once.

    Example:
      >>> same = counts(["a b c d e"], ["a b c d e"])
      >>> round(bleu(same), 6)
      100.0

    Reference:
      Papineni et al., ACL 2002; Post, WMT 2018. https://aclanthology.org/W18-6319
    """
    weights = np.ones(len(found.lengths)) if weights is None else weights
    matches, ngrams, lengths = (weights @ part for part in found)
    score = package().BLEU.compute_bleu(
        [int(n) for n in matches], [int(n) for n in ngrams], int(lengths[0]), int(lengths[1])
    )
    return float(score.score)


def resampled(found: Counts, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Returns corpus BLEU of bootstrap samples, `(draws,)`, which are the same for equal numbers of sentences.

    Reference:
      Koehn, EMNLP 2004, section 3. https://aclanthology.org/W04-3250
    """
    number = len(found.lengths)
    rng = np.random.default_rng(seed)
    chances = np.full(number, 1 / number)
    return np.array([bleu(found, rng.multinomial(number, chances)) for _ in range(draws)])


def with_interval(value: float, samples: np.ndarray) -> tuple[float, float]:
    """A value with half the width of the middle 95% of its bootstrap samples.

    Example:
      >>> with_interval(3.0, np.linspace(0, 10, 1001))
      (3.0, 4.75)
    """
    low, high = np.quantile(samples, [0.025, 0.975])
    return value, float(high - low) / 2


def difference(ours: Counts, others: Counts, draws: int = DRAWS) -> tuple[float, float]:
    """How far one corpus BLEU is above another, with half its 95% interval by paired bootstrap."""
    samples = resampled(ours, draws) - resampled(others, draws)
    return with_interval(bleu(ours) - bleu(others), samples)


def chrf(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns chrF2 from 0 to 100.

    Example:
      >>> round(chrf(["a cat"], ["a cat"]), 6)
      100.0

    Reference:
      Popovic, WMT 2015. https://aclanthology.org/W15-3049
    """
    return float(package().corpus_chrf(list(translations), [list(references)]).score)


def chrf_with_interval(
    translations: Sequence[str], references: Sequence[str], draws: int = DRAWS
) -> tuple[float, float]:
    """Returns chrF2 with half its 95% interval by bootstrap, to two decimal places, as sacrebleu has them.

    Example:
      >>> chrf_with_interval(["a cat", "a dog"], ["a cat", "a dog"], draws=40)
      (100.0, 0.0)
    """
    metric = package().CHRF()
    found = metric.corpus_score(list(translations), [list(references)], n_bootstrap=draws)
    written = json.loads(found.format(signature=str(metric.get_signature()), is_json=True))
    return written["score"], written.get("confidence_var", 0.0)  # left out where all samples are 0


def signatures() -> tuple[str, str]:
    """The signatures of BLEU and chrF as sacrebleu writes them: what has to be equal for a comparison."""
    found = []
    for metric in (package().BLEU(), package().CHRF()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric.corpus_score(["a"], [["a"]])
        found.append(str(metric.get_signature()))
    return found[0], found[1]
