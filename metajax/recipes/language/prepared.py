"""Sentences that are read, split and encoded, as settings ask for."""

from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.data.sentences import Sentences
from metajax.recipes.language.encoders import ENCODERS, Fitted, longest
from metajax.recipes.language.learners import LEARNERS
from metajax.recipes.language.split import Parts

_AT_ONCE = 1000


class Prepared(NamedTuple):
    """Resolved settings, sentences of disjoint classes, and an encoder that has seen those for training."""

    name: str
    settings: Any
    train: Sentences
    val: Sentences
    test: Sentences
    fitted: Fitted

    @property
    def outside(self) -> Sentences:
        """The test sentences that have no label."""
        texts = list(self.test.outside)
        return Sentences(self.test.name, texts, [""] * len(texts), [""] * len(texts))

    def plain_rows(self, found: Sentences) -> np.ndarray:
        """What baselines read of sentences, `(n, d)`: rows of length 1, computed once for all tasks."""
        plain, inputs = jax.jit(self.fitted.plain.apply), self.fitted.inputs(found)
        parts = [
            np.asarray(plain((), jax.tree.map(lambda leaf, i=i: leaf[i : i + _AT_ONCE], inputs)))
            for i in range(0, len(found.texts), _AT_ONCE)
        ]
        return np.concatenate(parts)

    @property
    def most_val_way(self) -> int:
        """The most classes that every validation domain has."""
        return least_way(self.val)


def least_way(found: Sentences) -> int:
    """The number of classes of the domain that has the fewest."""
    return min(Counter(domain for domain, _ in set(found.classes())).values())


def prepared(name: str, s: Any, parts: Parts) -> Prepared:
    """Checks the sizes of all parts, and fits the encoder to training sentences.

    Args:
      name: Of the recipe.
      s: Its settings.
      parts: The sentences.

    Raises:
      ValueError: For a label with too few sentences, a domain with too few labels, and a sentence that does
        not fit the width.
    """
    lower = "--shot or --test-query-shot"
    parts.train.with_enough(name, 2, s.shot + s.query_shot, "train_way")
    parts.val.with_enough(name, 2, s.shot + s.test_query_shot, lower=lower)
    parts.test.with_enough(name, s.way, s.shot + s.test_query_shot, lower=lower)
    if s.train_way is None:
        usual = s.way if LEARNERS[s.learner].fixed_head else max(s.way, 10)
        s = replace(s, train_way=min(usual, least_way(parts.train)))
    elif s.mixed < 1:
        parts.train.with_enough(name, s.train_way, s.shot + s.query_shot, "train_way")
    cut = ENCODERS[s.encoder].cut
    if s.outer_rate is None:
        s = replace(s, outer_rate=ENCODERS[s.encoder].rate)
    if s.width is None and cut is not None:
        everything = [*parts.train.texts, *parts.val.texts, *parts.test.texts, *parts.test.outside]
        s = replace(s, width=longest(everything, cut.least, **cut.how))
    return Prepared(name, s, *parts, ENCODERS[s.encoder].fit(name, s, parts.train))
