"""A sequence-to-sequence Transformer that reads several sentences in one row."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.types import Model, Params

BEGIN, END = 1, 2
"""The tokens before and after a sentence; 0 is padding."""


class Packed(NamedTuple):
    """Pairs of sentences in rows, `(rows, length)`; pairs of a row have segments 1, 2, ..., and padding 0.

    source, source_segment: Tokens of sources, each with `END`.
    target: Tokens of targets, each after `BEGIN`.
    label: The token that follows each of `target`.
    segment: Of `target` and `label`.
    seed: `(rows,)`, of what dropout leaves out of each row; None where nothing is left out.
    """

    source: Any
    source_segment: Any
    target: Any
    label: Any
    segment: Any
    seed: Any = None


def pack(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], length: int = 128
) -> Packed:
    """Packs pairs of sentences into rows, each pair into the first row that has room for it.

    Args:
      sources, targets: Tokens above 2, the same number of sentences.
      length: The length of a row.

    Raises:
      ValueError: For other numbers of sources and targets, a pair that is longer than a row, and tokens
        below 3.

    Example:
      >>> packed = pack([[5, 6], [7]], [[8], [9, 9]], length=6)
      >>> packed.source.tolist(), packed.source_segment.tolist()
      ([[5, 6, 2, 7, 2, 0]], [[1, 1, 1, 2, 2, 0]])
      >>> packed.target.tolist(), packed.label.tolist()
      ([[1, 8, 1, 9, 9, 0]], [[8, 2, 9, 9, 2, 0]])
    """
    if len(sources) != len(targets):
        raise ValueError(f"pack: there are {len(sources)} sources and {len(targets)} targets.")
    rows: list[list[int]] = []
    room = np.full((len(sources), 2), length)  # of each row, for sources and targets
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        sizes = len(source) + 1, len(target) + 1
        if max(sizes) > length:
            raise ValueError(
                f"pack: pair {i} has {len(source)} and {len(target)} tokens, but length={length} takes "
                f"{length - 1}. Leave it out."
            )
        if min((*source, *target), default=3) < 3:
            raise ValueError(f"pack: pair {i} has a token below 3; 0, 1 and 2 are reserved.")
        row = int(np.argmax((room[: len(rows) + 1] >= sizes).all(axis=1)))
        if row == len(rows):
            rows.append([])
        rows[row].append(i)
        room[row] -= sizes
    tokens = (name for name in Packed._fields if name != "seed")
    found = Packed(**{name: np.zeros((len(rows), length), np.int32) for name in tokens})
    for r, row in enumerate(rows):
        at, to = 0, 0
        for number, i in enumerate(row, 1):
            source, target = list(sources[i]), list(targets[i])
            own, other = slice(at, at + len(source) + 1), slice(to, to + len(target) + 1)
            found.source[r, own], found.source_segment[r, own] = [*source, END], number
            found.target[r, other], found.label[r, other] = [BEGIN, *target], [*target, END]
            found.segment[r, other] = number
            at, to = own.stop, other.stop
    return found


def positions(segment: jax.Array) -> jax.Array:
    """The place of each token in its sentence, `(rows, length)`.

    Example:
      >>> positions(jnp.array([[1, 1, 2, 2, 0]])).tolist()
      [[0, 1, 0, 1, 0]]
    """
    place = jnp.broadcast_to(jnp.arange(segment.shape[-1]), segment.shape)
    before = jnp.pad(segment, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    first = jnp.where(segment != before, place, 0)
    return place - jax.lax.cummax(first, axis=1)


def smoothed(logits: jax.Array, labels: jax.Array, smoothing: float = 0.1) -> jax.Array:
    """Cross-entropy with smoothed labels, for each token, without rows as wide as the vocabulary.

    `logsumexp(z) - (1 - smoothing) z_label - smoothing mean(z)`.

    Args:
      logits: `(..., vocabulary)`.
      labels: `(...)`, integers.
      smoothing: The probability that is spread over the vocabulary.

    Example:
      >>> logits = jnp.log(jnp.array([0.5, 0.25, 0.25]))
      >>> round(float(smoothed(logits, jnp.array(0), 0.0)), 4)
      0.6931

    Reference:
      Szegedy et al., CVPR 2016, section 7. https://arxiv.org/abs/1512.00567
    """
    total = jax.nn.logsumexp(logits, axis=-1)
    return total - (1 - smoothing) * _of(logits, labels) - smoothing * logits.mean(axis=-1)


@jax.custom_jvp
def _of(logits, labels):
    """The logit of each label."""
    return jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


@_of.defjvp
def _of_jvp(primals, tangents):
    # The derivative of a gather fills an array as large as the logits; this one joins that of the rest.
    (logits, labels), (change, _) = primals, tangents
    here = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return _of(logits, labels), jnp.sum(jnp.where(here, change, 0), axis=-1)


class Memory(NamedTuple):
    """What decoding reads of sources: keys and values of each layer `(rows, m, heads, d)`, and segments."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    segment: jax.Array


class Cache(NamedTuple):
    """What decoding token by token keeps of targets: `(rows, length, heads, d)` for each layer."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


class Seq2seq(NamedTuple):
    """A Transformer before and after a source is read; normalised before each layer, as in GPT-2.

    vocabulary, width, heads, layers: Sizes; as many layers for sources as for targets.
    dropout: The probability that a number is left out, of rows with a seed.
    """

    vocabulary: int
    width: int = 256
    heads: int = 4
    layers: int = 2
    dropout: float = 0.0

    def init(self, key: jax.Array, x: Any = None) -> Params:
        """The weights; the embedding of tokens is that of the output, too."""
        del x
        w, keys = self.width, iter(jax.random.split(key, 1 + 16 * self.layers))

        def dense(rows, columns):
            return jax.random.normal(next(keys), (rows, columns)) * rows**-0.5

        def attention():
            return {name: dense(w, w) for name in ("q", "k", "v", "out")}

        def layer(*parts):
            norms = {f"norm_{name}": _norm(w) for name in (*parts, "mlp")}
            mlp = {"up": dense(w, 4 * w), "bias": jnp.zeros(4 * w), "down": dense(4 * w, w)}
            return {**{name: attention() for name in parts}, **norms, "mlp": mlp}

        embedding = jax.random.normal(next(keys), (self.vocabulary, w)) * w**-0.5
        return {
            "embedding": embedding,
            "encoder": [layer("self") for _ in range(self.layers)],
            "decoder": [layer("self", "cross") for _ in range(self.layers)],
            "norm_source": _norm(w),
            "norm_target": _norm(w),
        }

    def encode(
        self, params: Params, source: jax.Array, segment: jax.Array, seed: jax.Array | None = None
    ) -> Memory:
        """Reads sources `(rows, m)`."""
        drop = self._dropping(seed, 0)
        x = drop(self._embed(params, source, positions(segment)))
        visible = _same(segment, segment)
        for layer in params["encoder"]:
            normed = _normalise(layer["norm_self"], x)
            own = (self._heads(normed @ layer["self"][name]) for name in ("k", "v"))
            x += drop(self._attend(layer["self"], normed, *own, visible))
            x += drop(_mlp(layer, x))
        x = _normalise(params["norm_source"], x)
        keys, values = (
            tuple(self._heads(x @ layer["cross"][name]) for layer in params["decoder"])
            for name in ("k", "v")
        )
        return Memory(keys, values, segment)

    def decode(
        self,
        params: Params,
        memory: Memory,
        target: jax.Array,
        segment: jax.Array,
        seed: jax.Array | None = None,
    ) -> jax.Array:
        """Logits of the token that follows each of `target`, `(rows, n, vocabulary)`."""
        length = target.shape[1]
        seen = _same(segment, segment) & jnp.tril(jnp.ones((1, length, length), bool))
        drop = self._dropping(seed, 1)
        x = drop(self._embed(params, target, positions(segment)))
        for i, layer in enumerate(params["decoder"]):
            normed = _normalise(layer["norm_self"], x)
            own = (self._heads(normed @ layer["self"][name]) for name in ("k", "v"))
            x += drop(self._attend(layer["self"], normed, *own, seen))
            x += drop(self._cross(layer, x, memory, i, segment))
            x += drop(_mlp(layer, x))
        return _normalise(params["norm_target"], x) @ params["embedding"].T

    def apply(self, params: Params, x: Packed) -> jax.Array:
        """Logits for packed pairs, `(rows, length, vocabulary)`."""
        memory = self.encode(params, x.source, x.source_segment, x.seed)
        return self.decode(params, memory, x.target, x.segment, x.seed)

    def model(self) -> Model:
        """The Transformer as a model of packed pairs."""
        return Model(self.init, self.apply)

    def cache(self, rows: int, length: int) -> Cache:
        """An empty cache for targets of up to `length` tokens, one in each row."""
        shape = rows, length, self.heads, self.width // self.heads
        empty = tuple(jnp.zeros(shape) for _ in range(self.layers))
        return Cache(empty, empty)

    def step(
        self, params: Params, memory: Memory, cache: Cache, token: jax.Array, place: jax.Array | int
    ) -> tuple[jax.Array, Cache]:
        """Logits `(rows, vocabulary)` after one more token `(rows,)` of each target, at `place`."""
        ones = jnp.ones((len(token), 1), jnp.int32)
        x = self._embed(params, token[:, None], place * ones)
        seen = (jnp.arange(cache.keys[0].shape[1]) <= place)[None, None]
        keys, values = [], []
        for i, layer in enumerate(params["decoder"]):
            normed = _normalise(layer["norm_self"], x)
            for name, old, new in (("k", cache.keys, keys), ("v", cache.values, values)):
                own = self._heads(normed @ layer["self"][name])
                new.append(jax.lax.dynamic_update_slice_in_dim(old[i], own, place, axis=1))
            x += self._attend(layer["self"], normed, keys[-1], values[-1], seen)
            x += self._cross(layer, x, memory, i, ones)
            x += _mlp(layer, x)
        logits = _normalise(params["norm_target"], x)[:, 0] @ params["embedding"].T
        return logits, Cache(tuple(keys), tuple(values))

    def _dropping(self, seed: jax.Array | None, part: int) -> Callable[[jax.Array], jax.Array]:
        """Dropout of one row after the other, with other numbers left out at each call."""
        if seed is None or not self.dropout:
            return lambda x: x
        first = jax.vmap(lambda own: jax.random.fold_in(jax.random.key(own), part))(seed)
        places = count()

        def drop(x):
            place = next(places)

            def kept(key):
                return jax.random.bernoulli(
                    jax.random.fold_in(key, place), 1 - self.dropout, x.shape[1:]
                )

            return jnp.where(jax.vmap(kept)(first), x / (1 - self.dropout), 0)

        return drop

    def _embed(self, params, tokens, place):
        half = self.width // 2
        rates = 10_000.0 ** (-jnp.arange(half) / half)
        angles = place[..., None] * rates[None, None]
        waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        return params["embedding"][tokens] * self.width**0.5 + waves

    def _heads(self, x):
        return x.reshape(*x.shape[:-1], self.heads, self.width // self.heads)

    def _attend(self, weights, x, keys, values, visible):
        queries = self._heads(x @ weights["q"])
        scores = jnp.einsum("bnhd,bmhd->bhnm", queries, keys) * queries.shape[-1] ** -0.5
        weight = jax.nn.softmax(jnp.where(visible[:, None], scores, -1e9))
        found = jnp.einsum("bhnm,bmhd->bnhd", weight, values)
        return found.reshape(x.shape) @ weights["out"]

    def _cross(self, layer, x, memory, i, segment):
        normed = _normalise(layer["norm_cross"], x)
        visible = _same(segment, memory.segment)
        return self._attend(layer["cross"], normed, memory.keys[i], memory.values[i], visible)


def seq2seq(
    vocabulary: int, width: int = 256, *, heads: int = 4, layers: int = 2, dropout: float = 0.0
) -> Seq2seq:
    """Returns a Transformer from sentences to sentences, with tied embeddings.

    Args:
      vocabulary: The number of tokens, `BEGIN` and `END` and the padding among them.
      width: Of each token; a multiple of `2 * heads`.
      heads: The number of attention heads.
      layers: For sources, and again for targets.
      dropout: The probability that a number of an embedding, or of what a layer adds to it, is left out of a
        row that has a `seed`.

    Raises:
      ValueError: For sizes that do not fit.

    Example:
      >>> net = seq2seq(20, 8, heads=2, layers=1)
      >>> x = pack([[5, 6], [7]], [[8], [9, 9]], length=6)
      >>> net.apply(net.init(jax.random.key(0)), x).shape
      (1, 6, 20)

    Reference:
      Vaswani et al., NeurIPS 2017, sections 3 and 5.4. https://arxiv.org/abs/1706.03762
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"seq2seq: dropout={dropout:g} must be at least 0 and below 1.")
    for name, value in (("width", width), ("heads", heads), ("layers", layers)):
        checks.count("seq2seq", name, value)
    checks.count("seq2seq", "vocabulary", vocabulary, least=4)
    if width % (2 * heads):
        raise ValueError(
            f"seq2seq: width={width} must be a multiple of 2 * heads={2 * heads}, for pairs of waves."
        )
    return Seq2seq(vocabulary, width, heads, layers, dropout)


def _norm(width: int) -> dict[str, jax.Array]:
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def _normalise(weights, x):
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
    normed = (x - mean) * jax.lax.rsqrt(variance + 1e-6)
    return normed * weights["scale"][None, None] + weights["bias"][None, None]


def _mlp(layer, x):
    weights = layer["mlp"]
    hidden = _normalise(layer["norm_mlp"], x) @ weights["up"] + weights["bias"][None, None]
    return jax.nn.relu(hidden) @ weights["down"]


def _same(rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Which tokens are of one sentence, `(rows, n, m)`; padding sees padding alone."""
    return rows[:, :, None] == columns[:, None, :]
