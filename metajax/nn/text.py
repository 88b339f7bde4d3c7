"""Sentences as integers: hashed n-grams, bags of them, and a small Transformer over tokens."""

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.nn.models import Dense
from metajax.nn.normalisation import LayerNorm
from metajax.ops import attention
from metajax.ops.unit import unit_rows
from metajax.types import Model

_WORD = re.compile(r"\w+|[^\w\s]")


class TooLongError(ValueError):
    """A sentence has more n-grams than the width; `index` is its place."""

    def __init__(self, message: str, index: int):
        super().__init__(message)
        self.index = index


def ngrams(
    texts: Sequence[str],
    *,
    words: tuple[int, int] | None = (1, 2),
    chars: tuple[int, int] | None = (2, 5),
    buckets: int = 4096,
    width: int = 256,
) -> np.ndarray:
    """Returns the different hashed n-grams of sentences, `(n, width)` int32, 0 where there are no more.

    Each kind of n-gram, which is its unit and length, has buckets of its own: an n-gram of kind `k` is
    `1 + k * buckets + hash`. So `(id - 1) // buckets` is its kind. The hash is CRC-32 of its UTF-8, the
    same in every process and on every machine. Letters are folded to lower case.

    Args:
      texts: The sentences.
      words: The shortest and the longest sequence of words and marks; None for none.
      chars: Those of characters within a word, to which a space is added on either side; None for none.
      buckets: The number of ids of each kind. Different n-grams of one bucket cannot be told apart.
      width: The most n-grams of a sentence. Those that are repeated count once.

    Raises:
      TooLongError: For a sentence with more n-grams. None is ever cut off.
      ValueError: For numbers out of their range.

    Example:
      >>> ids = ngrams(["to be or not to be", "To be"], words=(1, 1), chars=None, width=5)
      >>> ids.shape, (ids[0, :2] == ids[1, :2]).all(), ids[1, 2:].tolist()
      ((2, 5), np.True_, [0, 0, 0])
      >>> ids = ngrams(["hi"], words=None, chars=(2, 3), buckets=100, width=5)  # " h", "hi", "i "; " hi", "hi "
      >>> ((ids - 1) // 100).tolist()
      [[0, 0, 0, 1, 1]]

    Reference:
      Weinberger, Dasgupta, Langford, Smola and Attenberg, ICML 2009, section 2.
      https://arxiv.org/abs/0902.2206
    """
    checks.count("ngrams", "buckets", buckets)
    checks.count("ngrams", "width", width)
    kinds = kinds_of(words, chars)
    found = np.zeros((len(texts), width), np.int32)
    for i, text in enumerate(texts):
        ids = list(dict.fromkeys(_ids(text, kinds, buckets)))
        if len(ids) > width:
            raise TooLongError(
                f"{len(ids)} n-grams do not fit in width={width}. Give a greater width, or shorten it.",
                i,
            )
        found[i, : len(ids)] = ids
    return found


def kinds_of(
    words: tuple[int, int] | None = (1, 2), chars: tuple[int, int] | None = (2, 5)
) -> tuple[tuple[str, int], ...]:
    """The kinds of n-grams in the order of their buckets: unit and length.

    Raises:
      ValueError: For lengths that are no range, or no kind at all.

    Example:
      >>> kinds_of((1, 2), (3, 3))
      (('word', 1), ('word', 2), ('char', 3))
    """
    found = []
    for unit, lengths in (("word", words), ("char", chars)):
        if lengths is None:
            continue
        first, last = lengths
        if not 1 <= first <= last:
            raise ValueError(
                f"ngrams: {unit}s={lengths} must be the shortest and the longest length, of at least 1."
            )
        found += [(unit, length) for length in range(first, last + 1)]
    if not found:
        raise ValueError("ngrams: words=None and chars=None leave nothing. Give one of them.")
    return tuple(found)


def _ids(text: str, kinds: tuple[tuple[str, int], ...], buckets: int) -> Iterator[int]:
    words = _WORD.findall(text.lower())
    for kind, (unit, length) in enumerate(kinds):
        if unit == "word":
            for i in range(len(words) - length + 1):
                yield 1 + kind * buckets + _hash(" ".join(words[i : i + length])) % buckets
        else:
            for word in words:
                for part in _characters(word, length):
                    yield 1 + kind * buckets + part % buckets


@lru_cache(maxsize=100_000)
def _characters(word: str, length: int) -> tuple[int, ...]:
    padded = f" {word} "
    return tuple(_hash(padded[i : i + length]) for i in range(len(padded) - length + 1))


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())


def inverse_frequency(ids: np.ndarray, size: int) -> np.ndarray:
    """Returns `log((1 + n) / (1 + df)) + 1` of every id, `(size,)` float32, from `n` sentences.

    Fit it on training text alone. An id that no sentence has gets the greatest value; 0, the padding, gets 0.

    Args:
      ids: `(n, width)`, 0 for padding.
      size: The number of ids, padding included.

    Example:
      >>> inverse_frequency(np.array([[1, 1, 2], [1, 0, 0]]), 4).round(2)  # 1, log(3 / 2) + 1, log 3 + 1
      array([0.  , 1.  , 1.41, 2.1 ], dtype=float32)

    Reference:
      Spaerck Jones, Journal of Documentation 28, 1972; smoothed as in scikit-learn.
    """
    number = np.zeros(size, np.int64)
    for row in ids:
        number[np.unique(row)] += 1
    found = np.log((1 + len(ids)) / (1 + number)) + 1
    found[0] = 0
    return found.astype(np.float32)


def counts(ids: jax.Array, size: int) -> jax.Array:
    """How often each sentence has each id, `(n, size)`; 0 for the padding.

    Example:
      >>> counts(jnp.array([[2, 2, 1, 0]]), 4).tolist()
      [[0.0, 1.0, 2.0, 0.0]]
    """
    rows = jnp.arange(len(ids))[:, None]
    found = jnp.zeros((len(ids), size)).at[rows, ids].add(1.0)
    return found.at[:, 0].set(0.0)


def bag(weights: Any, *, scale: float = 1.0) -> Model:
    """Returns a bag of ids, weighted, as rows of one length: TF-IDF, for example. It learns nothing.

    Args:
      weights: `(size,)`, of every id, such as `inverse_frequency`.
      scale: The length of a row.

    Returns:
      A model of ids `(n, width)` and features `(n, size)`, without parameters.

    Raises:
      ValueError: For a scale that is not above 0.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> tfidf = mj.text.bag(jnp.array([0.0, 3.0, 4.0]), scale=5.0)
      >>> tfidf.apply((), jnp.array([[1, 2], [1, 0]])).round().astype(int).tolist()
      [[0, 3, 4], [0, 5, 0]]
    """
    checks.positive("bag", "scale", scale)
    weights = jnp.asarray(weights, jnp.float32)

    def apply(params, ids):
        del params
        return scale * unit_rows(counts(ids, len(weights)) * weights[None])

    return Model(lambda key, ids: (), apply)


class Encoder(nn.Module):
    """Embeddings of tokens and places, blocks of attention, and the mean over the tokens."""

    size: int
    width: int
    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, ids, train: bool = False):
        """Ids `(n, t)` to features `(n, width)`."""
        exists = ids > 0
        start = nn.initializers.normal(0.02)
        x = nn.Embed(self.size, self.width, embedding_init=start)(ids)
        x = x + self._places(start, ids.shape[1])[None]
        drop = nn.Dropout(self.dropout, deterministic=not train)
        visible = exists[:, None, None, :]
        for _ in range(self.layers):
            y = LayerNorm()(x)
            split = (*y.shape[:2], self.heads, self.width // self.heads)
            queries, keys, values = (Dense(self.width)(y).reshape(split) for _ in range(3))
            read = attention(queries, keys, values, visible).reshape(x.shape)
            x = x + drop(Dense(self.width)(read))
            x = x + drop(Dense(self.width)(nn.relu(Dense(4 * self.width)(LayerNorm()(x)))))
        x = jnp.where(exists[..., None], LayerNorm()(x), 0)
        return jnp.sum(x, axis=1) / jnp.maximum(jnp.sum(exists, axis=1), 1)[:, None]

    def _places(self, start, length: int):
        """The embeddings of the first places, of as many as `init` has seen."""
        known = (
            self.get_variable("params", "places") if self.has_variable("params", "places") else None
        )
        most = length if known is None else len(known)
        if length > most:
            raise ValueError(
                f"token_encoder: ids have {length} places, but init has seen {most}. Cut them to {most}, or "
                "initialise with longer ids."
            )
        return self.param("places", start, (most, self.width))[:length]


def token_encoder(
    size: int, *, width: int = 64, layers: int = 2, heads: int = 4, dropout: float = 0.0
) -> Model:
    """Returns a small Transformer of tokens, whose features are the mean over them.

    Args:
      size: The number of ids, of which 0 is padding.
      width: Of the embeddings and the features.
      layers: Blocks of attention and of `4 * width` hidden units, normalised before each.
      heads: The number of attention heads, a divisor of `width`.
      dropout: The probability that an output of a block is left out while a learner adapts.

    Returns:
      A model of ids `(n, t)` and features `(n, width)`. Padding changes nothing, whatever its length, up
      to the length that `init` has seen.

    Raises:
      ValueError: If a number is below 1, `heads` does not divide `width`, or `dropout` is out of [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.text.token_encoder(10, width=8, layers=1, heads=2)
      >>> ids = jnp.array([[3, 1, 0], [2, 0, 0]])
      >>> model.apply(model.init(jax.random.key(0), ids), ids).shape
      (2, 8)

    Reference:
      Vaswani et al., NeurIPS 2017, section 3. https://arxiv.org/abs/1706.03762
    """
    size, width, layers, heads = (
        checks.count("token_encoder", name, value)
        for name, value in (("size", size), ("width", width), ("layers", layers), ("heads", heads))
    )
    if width % heads:
        raise ValueError(f"token_encoder: width={width} must be a multiple of heads={heads}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"token_encoder: dropout={dropout:g} must be at least 0 and below 1.")
    net = Encoder(size, width, layers, heads, dropout)

    def train(params, ids, key):
        return net.apply(params, ids, train=True, rngs={"dropout": key})

    return Model(net.init, net.apply, train if dropout else None)
