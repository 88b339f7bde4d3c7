"""Invented languages: a family with word orders of their own, so that no data are needed."""

from typing import NamedTuple

import numpy as np

from metajax.data.translations import Pairs, Translations

TARGET = "plain"
_KEPT = 0.75
"""The probability that a language of the family has the inherited word."""
_SIZES = {"noun": 24, "verb": 12, "adjective": 10, "place": 8}
_ONSETS, _VOWELS = "bdfgklmnprstvz", "aeiou"


class _Grammar(NamedTuple):
    """The order of a language.

    clause: Of subject, verb and object.
    adjective_first: Whether an adjective comes before its noun.
    place_first: Whether the place comes before the clause.
    article: The word before a noun, with its adjective; none if empty.
    """

    clause: str
    adjective_first: bool
    place_first: bool
    article: bool


_PLAIN = _Grammar("svo", True, False, True)
GRAMMARS = {
    "alpha": _Grammar("sov", True, True, False),
    "beta": _Grammar("vso", False, False, True),
    "gamma": _Grammar("osv", False, True, True),
}
"""The languages that are translated. They are a family: most of their words are inherited, and alike."""


def invented_languages(number: int = 3_000, *, others: int = 200, seed: int = 0) -> Translations:
    """Returns sentences of who does what to whom, and where, in three languages and a fourth.

    The three are a family, so that two of them help to learn the third: three quarters of the words of each
    are inherited, the others its own. Word orders are their own, and so is every word of the fourth, into
    which all are translated. A third of the nouns have an adjective, and a half of the sentences a place.

    Args:
      number: Training pairs of each language; their sentences are their own.
      others: Pairs for validation, and for test.
      seed: Of all random numbers.

    Example:
      >>> found = invented_languages(100, others=10)
      >>> found.described()  # doctest: +ELLIPSIS
      'pairs into plain for training / validation / test: 100 / 10 / 10 alpha, 100 / 10 / 10 beta, ...'
      >>> source, target = (side[0].split() for side in found.train["beta"])
      >>> len(source) == len(target)  # both have articles
      True
    """
    rng = np.random.default_rng(seed)
    taken: set[str] = set()
    inherited = _lexicon(rng, taken)
    lexicons = {TARGET: _lexicon(rng, taken)}
    lexicons |= {language: _heir(rng, inherited, taken) for language in GRAMMARS}
    seen: set[tuple] = set()
    parts = []
    for size in (number, others, others):
        part = {}
        for language, grammar in GRAMMARS.items():
            meanings = [_meaning(rng, seen) for _ in range(size)]
            sources = (_said(one, grammar, lexicons[language]) for one in meanings)
            targets = (_said(one, _PLAIN, lexicons[TARGET]) for one in meanings)
            part[language] = Pairs(tuple(sources), tuple(targets))
        parts.append(part)
    return Translations("synthetic", TARGET, *parts, words=True)


def _lexicon(rng: np.random.Generator, taken: set[str]) -> dict[str, list[str]]:
    """The words of a language by kind, all of them new."""
    sizes = {**_SIZES, "article": 1, "at": 1}
    return {kind: [_word(rng, taken) for _ in range(size)] for kind, size in sizes.items()}


def _heir(
    rng: np.random.Generator, inherited: dict[str, list[str]], taken: set[str]
) -> dict[str, list[str]]:
    """The words of a language of the family: inherited ones, and new ones."""
    return {
        kind: [word if rng.random() < _KEPT else _word(rng, taken) for word in words]
        for kind, words in inherited.items()
    }


def _word(rng: np.random.Generator, taken: set[str]) -> str:
    while True:
        syllables = [
            rng.choice(list(_ONSETS)) + rng.choice(list(_VOWELS)) for _ in range(rng.integers(2, 4))
        ]
        word = "".join(syllables)
        if word not in taken:
            taken.add(word)
            return word


def _meaning(rng: np.random.Generator, seen: set[tuple]) -> tuple:
    """A meaning that no sentence had before: subject, verb, object, and a place or None."""
    while True:
        subject, thing = (
            (
                int(rng.integers(_SIZES["noun"])),
                int(rng.integers(_SIZES["adjective"])) if rng.random() < 1 / 3 else None,
            )
            for _ in range(2)
        )
        place = int(rng.integers(_SIZES["place"])) if rng.random() < 0.5 else None
        found = subject, int(rng.integers(_SIZES["verb"])), thing, place
        if found not in seen:
            seen.add(found)
            return found


def _said(meaning: tuple, grammar: _Grammar, lexicon: dict[str, list[str]]) -> str:
    subject, verb, thing, place = meaning

    def phrase(noun, adjective):
        words = [lexicon["noun"][noun]]
        if adjective is not None:
            words.insert(0 if grammar.adjective_first else 1, lexicon["adjective"][adjective])
        return [lexicon["article"][0], *words] if grammar.article else words

    parts = {"s": phrase(*subject), "v": [lexicon["verb"][verb]], "o": phrase(*thing)}
    clause = [word for part in grammar.clause for word in parts[part]]
    where = [] if place is None else [lexicon["at"][0], lexicon["place"][place]]
    return " ".join([*where, *clause] if grammar.place_first else [*clause, *where])
