"""Documents as arrays: what a scorer reads, and which sentences a summary asks for."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.data.documents import Document
from metajax.metrics.rouge import r1
from metajax.recipes.language.sentence_features import (
    MOST,
    NAMES,
    Reading,
    statistics,
    word_columns,
)


class Table(NamedTuple):
    """Documents `n`, each of up to `MOST` sentences.

    stats: `(n, MOST, len(NAMES))`.
    words: `(n, MOST, vocabulary)`, 0 or 1.
    exists: `(n, MOST)`, which sentences there are.
    labels: `(n, MOST)`, the sentences that come closest to the summaries, each `1 / number`; zeros
      without summaries.
    """

    stats: jax.Array
    words: jax.Array
    exists: jax.Array
    labels: jax.Array

    def inputs(self, place) -> dict[str, jax.Array]:
        """What a learner reads of the documents at these places."""
        return {name: getattr(self, name)[place] for name in ("stats", "words", "exists")}


def table(documents: Sequence[Document], how: Reading, sentences: int) -> Table:
    """Returns documents as arrays.

    Args:
      documents: At least one.
      how: How sentences are read.
      sentences: The number of sentences of a summary.
    """
    shape = len(documents), MOST
    stats = np.zeros((*shape, len(NAMES)), np.float32)
    words = np.zeros((*shape, len(how.place)), np.uint8)
    exists, labels = np.zeros(shape, bool), np.zeros(shape, np.float32)
    for i, document in enumerate(documents):
        number = min(MOST, len(document.sentences))
        stats[i, :number] = statistics(document, how)
        words[i, :number] = word_columns(document, how)
        exists[i, :number] = True
        if document.summaries:
            chosen = oracle(document, sentences)
            labels[i, chosen] = 1 / len(chosen)
    return Table(*map(jnp.asarray, (stats, words, exists, labels)))


def cut(name: str, documents: Sequence[Document]) -> tuple[str, ...]:
    """A note on documents of which the last sentences cannot be chosen; none where there are none."""
    number = sum(len(document.sentences) > MOST for document in documents)
    if not number:
        return ()
    return (
        f"{number:,} of {len(documents):,} documents of {name} have more than {MOST} sentences, of which the "
        f"first {MOST} alone can be chosen",
    )


def oracle(document: Document, sentences: int) -> list[int]:
    """The sentences of the highest ROUGE-1, added one by one as long as each helps; in their order.

    Example:
      >>> oracle(Document(("A dog ran.", "The cat sat down."), ("a cat sat down",)), 1)
      [1]
    """
    chosen: list[int] = []
    best = -1.0
    for _ in range(sentences):
        left = [i for i in range(min(MOST, len(document.sentences))) if i not in chosen]
        scores = {i: r1(extract(document, [*chosen, i]), document.summaries) for i in left}
        if not scores or max(scores.values()) <= best:
            break
        added = max(scores, key=lambda i: scores[i])
        best = scores[added]
        chosen.append(added)
    return sorted(chosen)


def extract(document: Document, chosen: Sequence[int]) -> str:
    """The text of chosen sentences, in their order."""
    return " ".join(document.sentences[i] for i in sorted(chosen))


def best_sentences(scores: np.ndarray, sentences: int) -> list[list[int]]:
    """The places of the highest scores of each row, in order; masked sentences are -inf or nan.

    Example:
      >>> import numpy as np
      >>> best_sentences(np.array([[0.1, 3.0, 2.0], [1.0, -np.inf, -np.inf]]), 2)
      [[1, 2], [0]]
    """
    found = []
    for row in scores:
        order = np.argsort(-np.nan_to_num(row, nan=-np.inf), kind="stable")[:sentences]
        found.append(sorted(int(i) for i in order if row[i] > -1e8))
    return found
