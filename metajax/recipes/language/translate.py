"""Sentences translated by beam search, many at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from metajax.nn.beam import beam_search
from metajax.nn.seq2seq import BEGIN, END, Seq2seq
from metajax.recipes.language.token_pairs import Tokens
from metajax.types import Params

AT_ONCE = 50
"""Sentences of a compiled call, which are of similar length."""
PENALTY = 1.0
"""The power of the length by which log probabilities are divided."""


def translate(net: Seq2seq, params: Params, sources: Tokens, *, beam: int = 4) -> Tokens:
    """Returns translations as tokens, without those of padding and of the end.

    A translation has at most half as many tokens again as its source, and ten. One that has not ended by then
    is returned as it is.

    Args:
      net: The Transformer.
      params: Its weights.
      sources: Sentences as tokens.
      beam: The sequences that are kept of each; 1 is greedy.

    Example:
      >>> from metajax.nn.seq2seq import seq2seq
      >>> net = seq2seq(10, 8, heads=2, layers=1)
      >>> found = translate(net, net.init(jax.random.key(0)), [[3, 4], [5]])
      >>> len(found), max(map(len, found)) <= 22
      (2, True)
    """
    order = np.argsort([len(source) for source in sources], kind="stable")
    found: Tokens = [[] for _ in sources]
    for begin in range(0, len(order), AT_ONCE):
        places = order[begin : begin + AT_ONCE]
        length = -(-(1 + max(len(sources[i]) for i in places)) // 8) * 8
        rows = np.zeros((AT_ONCE, length), np.int32)
        segment = np.zeros_like(rows)
        for row, i in enumerate(places):
            rows[row, : len(sources[i]) + 1] = [*sources[i], END]
            segment[row, : len(sources[i]) + 1] = 1
        tokens = np.asarray(_searched(net, beam, length + length // 2 + 10, params, rows, segment))
        for row, i in enumerate(places):
            found[i] = _sentence(tokens[row])
    return found


def _sentence(tokens: np.ndarray) -> list[int]:
    ends = np.flatnonzero(tokens <= END)
    return [int(token) for token in tokens[: ends[0] if len(ends) else None]]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _searched(
    net: Seq2seq, beam: int, length: int, params: Params, rows: jax.Array, segment: jax.Array
) -> jax.Array:
    """The best sequence of each row, `(rows, length)`. Rows without a source end at once."""
    memory = net.encode(params, rows, segment)
    wide = jax.tree.map(lambda leaf: jnp.repeat(leaf, beam, axis=0), memory)
    missing = jnp.repeat(segment[:, 0] == 0, beam)[:, None]

    def step(cache, token, place):
        logits, cache = net.step(params, wide, cache, token, place)
        ids = jnp.arange(net.vocabulary)
        logits = jnp.where(ids < END, -1e9, logits)  # neither padding nor a second beginning
        return jnp.where(missing, jnp.where(ids == END, 0.0, -1e9)[None], logits), cache

    return beam_search(
        step,
        net.cache(len(rows) * beam, length),
        sentences=len(rows),
        beam=beam,
        length=length,
        begin=BEGIN,
        end=END,
        penalty=PENALTY,
    ).tokens[:, 0]
