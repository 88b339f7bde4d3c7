"""Adapting a translator to a few pairs: Adam on most of them, until others get no better."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.nn.seq2seq import Packed, Seq2seq, pack
from metajax.recipes.language.low_resource import TokenLoss, examples, noisy, tokens_right
from metajax.recipes.language.token_pairs import Encoded
from metajax.rewriting.fast import fast
from metajax.types import Params

AT_ONCE = 8
"""Rows of a step."""
STEPS = 5
"""Steps of one compiled call."""
CALLS = 5
"""Calls before each look at the held-out pairs."""
HELD_OUT = 10
"""One of so many pairs is held out, and twenty at least."""


class Adapted(NamedTuple):
    """What fine-tuning led to.

    params: Those that have the most tokens of held-out pairs right, the first ones among them.
    right: The share of those tokens that is the most probable one, given those before it.
    rate, steps: With which they were reached.
    tokens: Tokens of translations that all steps read, of other rates too.
    """

    params: Params
    right: float
    rate: float
    steps: int
    tokens: int


def held_out(pairs: Encoded) -> tuple[Encoded, Encoded]:
    """Splits pairs into those to train on, and those that say when to stop.

    Raises:
      ValueError: For fewer than 40 pairs.

    Example:
      >>> pairs = Encoded([[3]] * 200, [[4]] * 200)
      >>> [len(part.sources) for part in held_out(pairs)]
      [180, 20]
    """
    number = len(pairs.sources)
    if number < 40:
        raise ValueError(
            f"translation: pairs={number} must be at least 40, to hold 20 of them out."
        )
    size = max(20, number // HELD_OUT)
    return pairs.at(range(size, number)), pairs.at(range(size))


def fine_tuned(
    net: Seq2seq,
    params: Params,
    pairs: Encoded,
    *,
    rates: Sequence[float],
    most_tokens: int,
    patience: int,
    smoothing: float,
    word_dropout: float,
    length: int,
    seed: int,
) -> Adapted:
    """Trains all weights on pairs, with each rate, and returns the best on those that are held out.

    The loss of held-out pairs rises long before translations get worse: it counts how sure a wrong token was.

    Args:
      net: The Transformer.
      params: Its weights at the start.
      pairs: Of which some are held out.
      rates: Step sizes of Adam.
      most_tokens: Where each rate stops at the latest.
      patience: How often in a row the share of tokens that are right may fail to improve. It is measured
        every 25 steps.
      smoothing: Of labels, in training.
      word_dropout: The share of the words of translations that `noisy` hides, in training.
      length: Of a row.
      seed: Of the order of rows, and of the words that are hidden.
    """
    own, other = (pack(*part, length=length) for part in held_out(pairs))
    tokens = float((own.segment > 0).sum()) / len(own.source)
    most_calls = max(1, int(most_tokens / (tokens * AT_ONCE * STEPS * CALLS)))
    best, read = Adapted(params, right_of(net, params, other), rates[0], 0, 0), 0
    for number, rate in enumerate(rates):
        state = optax.adam(1.0, b2=0.98).init(params)
        now, rng, missed, highest = params, np.random.default_rng([seed, number]), 0, -1.0
        keys = iter(jax.random.split(jax.random.key(seed), (most_calls, CALLS)).reshape(-1))
        order = _turns(rng, len(own.source))
        for turn in range(1, most_calls + 1):
            for _ in range(CALLS):
                rows = np.array([[next(order) for _ in range(AT_ONCE)] for _ in range(STEPS)])
                batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], own)
                read += int((batch.segment > 0).sum())
                now, state = _steps(
                    net, smoothing, word_dropout, now, state, batch, rate, next(keys)
                )
            right = right_of(net, now, other)
            missed = 0 if right > highest else missed + 1
            highest = max(highest, right)
            if right > best.right:
                best = Adapted(now, right, rate, turn * CALLS * STEPS, 0)
            if missed >= patience:
                break
    return best._replace(tokens=read)


def _turns(rng: np.random.Generator, number: int):
    """Rows without end, every row once in each pass."""
    while True:
        yield from rng.permutation(number)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _steps(
    net: Seq2seq,
    smoothing: float,
    word_dropout: float,
    params: Params,
    state: Any,
    batches: Packed,
    rate: float,
    key: jax.Array,
):
    """Steps of Adam, one on each batch of rows `(steps, rows, length)`."""
    optimizer, loss = optax.adam(1.0, b2=0.98), TokenLoss(smoothing)
    apply = fast(net.model()).apply

    def step(carry, at):
        (params, state), (batch, own_key) = carry, at
        x, y, _ = examples(noisy(batch, own_key, word_dropout))
        gradient = jax.grad(lambda params: loss(apply(params, x), y).mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, jax.tree.map(lambda u: rate * u, updates)), state), None

    keys = jax.random.split(key, STEPS)
    return jax.lax.scan(step, (params, state), (batches, keys))[0]


def right_of(net: Seq2seq, params: Params, rows: Packed) -> float:
    """The share of all tokens of rows that is the most probable one."""
    short = -len(rows.source) % AT_ONCE
    padded = jax.tree.map(lambda leaf: np.pad(leaf, ((0, short), (0, 0))), rows)
    parts = [
        _total(net, params, jax.tree.map(lambda leaf, i=i: leaf[i : i + AT_ONCE], padded))
        for i in range(0, len(padded.source), AT_ONCE)
    ]
    return float(sum(parts)) / float((rows.segment > 0).sum())


@partial(jax.jit, static_argnums=0)
def _total(net: Seq2seq, params: Params, rows: Packed) -> jax.Array:
    x, y, _ = examples(rows)
    logits = fast(net.model()).apply(params, x)
    return jnp.sum(tokens_right(logits, y) * (rows.segment > 0).sum(axis=-1))
