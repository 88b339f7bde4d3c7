"""Sentences of the recipe of translation: by name, as tokens, and packed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metajax.data import DATASETS
from metajax.data.invented_languages import invented_languages
from metajax.data.translations import Pairs, Translations
from metajax.names import choose
from metajax.nn.seq2seq import pack
from metajax.recipes.language.low_resource import Rows, stacked
from metajax.recipes.language.pieces import Pieces, byte_pairs, whole_words
from metajax.recipes.language.split import SYNTHETIC
from metajax.recipes.language.token_pairs import Encoded, encoded


class Prepared(NamedTuple):
    """Resolved settings, sentences, and what a network reads of them.

    train, val: Packed pairs of the languages of training.
    pool: Training pairs of the third language in the order in which supports take them.
    test: Its test pairs.
    begin: Meta-parameters that training starts from, and the tokens that theirs has read; None for new ones.
    """

    settings: Any
    corpus: Translations
    pieces: Pieces
    train: Rows
    val: Rows
    pool: Encoded
    test: Pairs
    begin: tuple[Any, int] | None = None

    def support(self, number: int) -> Encoded:
        """The first so many pairs of the third language."""
        return self.pool.at(range(number))


def corpus_of(name: str, data: str | Path | None = None) -> Translations:
    """Returns translations by the name of a data set.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For an unknown name, and files that cannot be read.

    Example:
      >>> corpus_of("synthetic").target
      'plain'
    """
    named = {key: row.translations for key, row in DATASETS.items() if row.translations is not None}
    choose("translation", "data_set", name, (SYNTHETIC, *named))
    return _invented() if name == SYNTHETIC else named[name](data)


@cache
def _invented() -> Translations:
    return invented_languages()


def prepared(s: Any) -> Prepared:
    """Reads, splits and encodes the sentences of settings.

    Raises:
      ModuleNotFoundError: Without tokenizers, which invented languages do not need.
      ValueError: For unknown languages, too few pairs, and sentences that are longer than a row.
    """
    corpus = corpus_of(s.data_set, s.data)
    known = list(corpus.train)
    third = choose("translation", "third", s.third or known[-1], known)
    others = tuple(name for name in known if name != third)
    for name in s.languages or ():
        choose("translation", "languages", name, others)
    s = replace(s, third=third, languages=s.languages or others)
    order = np.random.default_rng(s.seed).permutation(len(corpus.train[third].sources))
    most = max(s.pairs)
    if most > len(order):
        raise ValueError(
            f"translation: pairs={most}, but {corpus.name} has {len(order)} training pairs of {third!r}."
        )
    pool = corpus.train[third].at(order[:most])
    pieces = _pieces(s, corpus, others, pool.at(range(min(s.pairs))))
    train, val = (
        [encoded(pieces, part[name], _where(corpus, name), s.length) for name in s.languages]
        for part in (corpus.train, corpus.val)
    )
    own = [
        encoded(pieces, part, _where(corpus, third), s.length)
        for part in (pool, corpus.test[third])
    ]
    return Prepared(
        s,
        corpus,
        pieces,
        stacked([pack(*part, length=s.length) for part in train]),
        stacked([pack(*part, length=s.length) for part in val]),
        own[0],
        corpus.test[third],
    )


def _pieces(s: Any, corpus: Translations, others: Sequence[str], support: Pairs) -> Pieces:
    """The vocabulary of the languages of training and the fewest pairs of the third, or of all words.

    These pairs are repeated until they weigh as much as another language; the third would be in single letters
    otherwise. Runs with other `languages` share the vocabulary, so that they can be compared.
    """
    if corpus.words:
        return whole_words(text for part in corpus.train.values() for side in part for text in side)
    most = max(len(corpus.train[name].sources) for name in others)
    read = [
        *(corpus.train[name] for name in others),
        *[support] * max(1, most // len(support.sources)),
    ]
    return byte_pairs([text for part in read for side in part for text in side], s.vocabulary)


def _where(corpus: Translations, language: str) -> Callable[[int, int], str]:
    sides = language, corpus.target
    return lambda i, side: f"sentence {i + 1} of {sides[side]} of {corpus.name}"
