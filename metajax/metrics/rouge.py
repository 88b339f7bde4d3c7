"""ROUGE: how far the words of a summary are those of a reference."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from metajax.metrics.porter import stem


class Rouge(NamedTuple):
    """F-scores of single words, pairs of words, and the longest common subsequence, from 0 to 1."""

    r1: float
    r2: float
    rl: float


def words_of(text: str) -> list[str]:
    """The words of a text, stemmed where they have more than three letters.

    Example:
      >>> words_of("We propose 2 models.")
      ['we', 'propos', '2', 'model']
    """
    return [stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]


def rouge(summary: str, references: Sequence[str]) -> Rouge:
    """Returns each F-score against the reference for which it is best, as in SciTLDR.

    Args:
      summary: A text.
      references: At least one.

    Returns:
      The numbers of rouge-score with its stemmer.

    Raises:
      ValueError: Without a reference.

    Example:
      >>> found = rouge("the cat sat", ["the cat ran", "dogs"])
      >>> round(found.r1, 3), found.r2, round(found.rl, 3)
      (0.667, 0.5, 0.667)

    Reference:
      Lin, Text Summarization Branches Out 2004, sections 2 and 3. https://aclanthology.org/W04-1013
    """
    if not references:
        raise ValueError("rouge: references=() must hold at least one text.")
    own = words_of(summary)
    each = [_pair(own, words_of(reference)) for reference in references]
    return Rouge(*(max(scores) for scores in zip(*each, strict=True)))


def r1(summary: str, references: Sequence[str]) -> float:
    """The first of the three F-scores alone, which is the fastest.

    Example:
      >>> round(r1("the cat sat", ["the cat ran", "dogs"]), 3)
      0.667
    """
    own = Counter(words_of(summary))
    others = [Counter(words_of(reference)) for reference in references]
    return max(_f((own & other).total(), own.total(), other.total()) for other in others)


def _pair(own: list[str], other: list[str]) -> Rouge:
    def overlap(n: int) -> float:
        ours, theirs = (_grams(words, n) for words in (own, other))
        return _f((ours & theirs).total(), ours.total(), theirs.total())

    return Rouge(overlap(1), overlap(2), _f(_common(own, other), len(own), len(other)))


def _grams(words: list[str], n: int) -> Counter:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def _f(common: int, own: int, other: int) -> float:
    return 2 * common / (own + other) if common else 0.0


def _common(own: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence."""
    before = [0] * (len(other) + 1)
    for word in own:
        now = [0]
        for j, theirs in enumerate(other):
            now.append(before[j] + 1 if word == theirs else max(before[j + 1], now[j]))
        before = now
    return before[-1]
