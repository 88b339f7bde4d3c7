"""Adapting a translator to a few pairs: Adam on most of them, until it translates others no better."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from metajax.nn.seq2seq import Packed, Seq2seq, pack
from metajax.recipes.language.low_resource import TokenLoss, examples, noisy
from metajax.recipes.language.token_pairs import Encoded, Tokens
from metajax.recipes.language.translate import translate
from metajax.rewriting.fast import fast
from metajax.types import Params

AT_ONCE = 8
"""Rows of a step."""
STEPS = 5
"""Steps of one compiled call."""
CALLS = 5
"""Calls before each look at the held-out pairs."""
HELD_OUT = 10
"""One of so many pairs is held out."""
LEAST, MOST = 20, 200
"""Pairs that are held out, whatever the number of all."""
NEWEST = 0.3
"""The weight of the newest parameters in their running average, at each look."""


class Adapted(NamedTuple):
    """What fine-tuning led to.

    params: The averages that translate the sources of held-out pairs best, the first ones among equals.
    quality: Of those translations.
    rate, steps: With which they were reached.
    tokens: Tokens of translations that all steps read, of other rates too.
    """

    params: Params
    quality: float
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
    if number < 2 * LEAST:
        raise ValueError(
            f"translation: pairs={number} must be at least {2 * LEAST}, to hold {LEAST} of them out."
        )
    size = min(MOST, max(LEAST, number // HELD_OUT))
    return pairs.at(range(size, number)), pairs.at(range(size))


def fine_tuned(
    net: Seq2seq,
    params: Params,
    pairs: Encoded,
    *,
    quality: Callable[[Tokens, Tokens], float],
    rates: Sequence[float],
    most_tokens: int,
    patience: int,
    smoothing: float,
    word_dropout: float,
    length: int,
    seed: int,
    beside: Packed | None = None,
    rehearsal: int = 0,
) -> Adapted:
    """Trains all weights on pairs, with each rate, and returns the best on those that are held out.

    Their sources are translated at every look, by the running average of the weights. The loss of their tokens,
    and the share of those that are right given the ones before, get worse long before translations do.

    Args:
      net: The Transformer.
      params: Its weights at the start.
      pairs: Of which some are held out.
      quality: Of translations beside references, both as tokens; higher is better.
      rates: Step sizes of Adam.
      most_tokens: Where each rate stops at the latest; those of `beside` count.
      patience: How often in a row the quality may fail to improve. It is measured every 25 steps.
      smoothing: Of labels, in training.
      word_dropout: The share of the words of translations that `noisy` hides, in training.
      length: Of a row.
      seed: Of the order of rows, and of the words that are hidden.
      beside: Rows of what the weights were trained on before.
      rehearsal: How many of them each step reads beside 8 rows of the pairs, so that they are not forgotten.

    References:
      Chu, Dabre and Kurohashi, ACL 2017, section 3.3 (mixed fine-tuning). https://aclanthology.org/P17-2061
      Izmailov et al., UAI 2018, section 3.2 (averages of weights). https://arxiv.org/abs/1803.05407
    """
    first, other = held_out(pairs)
    parts = [(pack(*first, length=length), AT_ONCE)]
    if beside is not None and rehearsal:
        parts.append((beside, rehearsal))

    def judged(params: Params) -> float:
        return quality(translate(net, params, other.sources, beam=1), other.targets)

    tokens = sum(number * float((rows.segment > 0).sum(1).mean()) for rows, number in parts)
    most_calls = max(1, int(most_tokens / (tokens * STEPS * CALLS)))
    best, read = Adapted(params, judged(params), rates[0], 0, 0), 0
    for number, rate in enumerate(rates):
        state = optax.adam(1.0, b2=0.98).init(params)
        now = average = params
        missed, highest = 0, -np.inf
        keys = iter(jax.random.split(jax.random.key(seed), (most_calls, CALLS)).reshape(-1))
        batches = _batches(parts, np.random.default_rng([seed, number]))
        for turn in range(1, most_calls + 1):
            for _ in range(CALLS):
                batch = next(batches)
                read += int((batch.segment > 0).sum())
                now, state = _steps(
                    net, smoothing, word_dropout, now, state, batch, rate, next(keys)
                )
            average = optax.incremental_update(now, average, NEWEST)
            reached = judged(average)
            missed = 0 if reached > highest else missed + 1
            highest = max(highest, reached)
            if reached > best.quality:
                best = Adapted(average, reached, rate, turn * CALLS * STEPS, 0)
            if missed >= patience:
                break
    return best._replace(tokens=read)


def _batches(parts: Sequence[tuple[Packed, int]], rng: np.random.Generator) -> Iterator[Packed]:
    """Batches of the steps of a call, `(steps, rows, length)`, each with so many rows of every part."""
    orders = [_turns(rng, len(rows.source)) for rows, _ in parts]
    while True:
        drawn = []
        for (rows, number), order in zip(parts, orders, strict=True):
            at = np.array([[next(order) for _ in range(number)] for _ in range(STEPS)])
            drawn.append(jax.tree.map(lambda leaf, at=at: leaf[at], rows))
        yield jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *drawn)


def _turns(rng: np.random.Generator, number: int) -> Iterator[int]:
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
