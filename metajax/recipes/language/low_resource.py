"""Tasks of few pairs of a language that has many: packed rows, and the loss of their tokens."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.nn.seq2seq import END, Packed, smoothed
from metajax.types import Examples, Sample, Task


class Rows(NamedTuple):
    """Packed pairs of several languages.

    packed: `(languages, rows, length)`; languages with fewer rows are padded.
    numbers: `(languages,)`, the rows that each has.
    tokens: The tokens of a target row, on average.
    """

    packed: Packed
    numbers: jax.Array
    tokens: float


class Labels(NamedTuple):
    """The tokens that are to be predicted, `(n, length)`, and the pair each belongs to, 0 for padding."""

    token: Any
    segment: Any


def stacked(parts: Sequence[Packed]) -> Rows:
    """Returns packed pairs of several languages as one.

    Example:
      >>> from metajax.nn.seq2seq import pack
      >>> rows = stacked([pack([[5], [6]], [[7], [8]], length=2), pack([[9]], [[9]], length=2)])
      >>> rows.packed.source.shape, rows.numbers.tolist(), rows.tokens
      ((2, 2, 2), [2, 1], 2.0)
    """
    numbers = [len(part.source) for part in parts]
    most = max(numbers)

    def padded(*leaves):
        return jnp.stack([np.pad(leaf, ((0, most - len(leaf)), (0, 0))) for leaf in leaves])

    total = sum(int((part.segment > 0).sum()) for part in parts)
    return Rows(jax.tree.map(padded, *parts), jnp.array(numbers), total / sum(numbers))


def unstacked(rows: Rows) -> Packed:
    """Returns the packed pairs of all languages, one language after the other, without padding.

    Example:
      >>> from metajax.nn.seq2seq import pack
      >>> rows = stacked([pack([[5], [6]], [[7], [8]], length=2), pack([[9]], [[9]], length=2)])
      >>> unstacked(rows).source[:, 0].tolist()
      [5, 6, 9]
    """
    exists = np.arange(rows.packed.source.shape[1]) < np.asarray(rows.numbers)[:, None]
    return jax.tree.map(lambda leaf: np.asarray(leaf)[exists], rows.packed)


def examples(packed: Packed) -> Examples:
    """Rows as examples: what a model reads, without the labels, and the labels."""
    return Examples(packed._replace(label=None), Labels(packed.label, packed.segment))


def noisy(packed: Packed, key: jax.Array, share: float) -> Packed:
    """Hides a share of the words of translations, and gives rows a seed for the dropout of a network.

    What follows a hidden word must then be read from the source, where few pairs would have it learned by
    heart. Labels, and the tokens before and after a sentence, stay as they are.

    Args:
      packed: Rows of pairs.
      key: Random key.
      share: The probability that a word is hidden from the network that is to go on with it, from 0 to
        below 1.

    Example:
      >>> from metajax.nn.seq2seq import pack
      >>> packed = pack([[5] * 30], [[6] * 30], length=32)
      >>> found = noisy(packed, jax.random.key(0), 0.5).target
      >>> 0 < int((found == 6).sum()) < 30, int(found[0, 0])
      (True, 1)

    Reference:
      Bowman et al., CoNLL 2016, section 3.1. https://aclanthology.org/K16-1002
    """
    hidden = jax.random.bernoulli(key, share, packed.target.shape) & (packed.target > END)
    seed = jax.random.bits(jax.random.fold_in(key, 1), packed.target.shape[:1])
    return packed._replace(target=jnp.where(hidden, 0, packed.target), seed=seed)


def low_resource(
    rows: Rows, *, support: int, query: int, word_dropout: float | None = None
) -> Sample:
    """Returns a source of tasks: some rows of one language, and others of it as queries.

    Args:
      rows: Of the languages; each is drawn as often as any other.
      support, query: Numbers of rows, which are disjoint.
      word_dropout: The share of the words of translations that `noisy` hides; None for rows as they are.

    Raises:
      ValueError: For a language with too few rows.

    Reference:
      Gu, Wang, Chen, Cho and Li, EMNLP 2018, section 3.1. https://aclanthology.org/D18-1398
    """
    least = int(rows.numbers.min())
    if least < support + query:
        raise ValueError(
            f"translation: support={support} and query={query} need {support + query} rows of every language, "
            f"but one has {least}. Use fewer, or a smaller length."
        )

    def sample(key):
        language_key, row_key, word_key = jax.random.split(key, 3)
        language = jax.random.randint(language_key, (), 0, len(rows.numbers))
        noise = jax.random.uniform(row_key, (rows.packed.source.shape[1],))
        missing = jnp.arange(len(noise)) >= rows.numbers[language]
        _, chosen = jax.lax.top_k(jnp.where(missing, -1.0, noise), support + query)
        own = jax.tree.map(lambda leaf: leaf[language, chosen], rows.packed)
        own = own if word_dropout is None else noisy(own, word_key, word_dropout)
        parts = (slice(support), slice(support, None))
        return Task(*(examples(jax.tree.map(lambda leaf, at=at: leaf[at], own)) for at in parts))

    return sample


class TokenLoss(NamedTuple):
    """The cross-entropy of the tokens of each row, `(n,)`, with smoothed labels; 0 for empty rows."""

    smoothing: float

    def __call__(self, logits: jax.Array, labels: Labels) -> jax.Array:
        """Logits `(n, length, vocabulary)` and `Labels` to means over the tokens of each row."""
        return _mean(smoothed(logits, labels.token, self.smoothing), labels)


def tokens_right(logits: jax.Array, labels: Labels) -> jax.Array:
    """The share of tokens that are the most probable one, of each row, `(n,)`."""
    return _mean(jnp.argmax(logits, axis=-1) == labels.token, labels)


def _mean(values: jax.Array, labels: Labels) -> jax.Array:
    exists = labels.segment > 0
    return jnp.where(exists, values, 0).sum(axis=-1) / jnp.maximum(exists.sum(axis=-1), 1)
