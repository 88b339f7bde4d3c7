"""Beam search inside `jit`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks

Step = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]
"""`(state, token, place) -> (logits, state)`: of each row, `(rows,)` to `(rows, vocabulary)`."""


class Beams(NamedTuple):
    """The best sequences of each sentence, the best first.

    tokens: `(sentences, beam, length)`, without `begin`; `end` and padding of 0 after it.
    scores: `(sentences, beam)`, log probabilities divided by `length ** penalty`.
    """

    tokens: jax.Array
    scores: jax.Array


def beam_search(
    step: Step,
    state: Any,
    *,
    sentences: int,
    beam: int,
    length: int,
    begin: int,
    end: int,
    penalty: float = 0.0,
) -> Beams:
    """Searches for the most probable sequences; with `beam=1` every token is the most probable one.

    Args:
      step: One more token of every row, where there are `sentences * beam` rows, those of a sentence one
        after another.
      state: What `step` keeps; a pytree of arrays whose first axis is that of the rows.
      sentences: Their number.
      beam: The sequences that are kept of each.
      length: The most tokens of a sequence, `end` included.
      begin, end: The tokens before a sequence and after it.
      penalty: The power of the length by which log probabilities are divided at the end.

    Returns:
      `Beams`. Sequences that have not ended after `length` tokens are among them, without `end`. The search
      stops once all have ended.

    Raises:
      ValueError: For numbers below 1.

    Example:
      >>> table = jnp.log(jnp.array([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [1 / 3, 1 / 3, 1 / 3]]))
      >>> found = beam_search(lambda s, token, place: (table[token], s), (), sentences=1, beam=2,
      ...                     length=2, begin=0, end=2)
      >>> found.tokens[0].tolist()  # 0.6 * 0.5 = 0.3, as likely as to end at once, which comes later
      [[1, 0], [2, 0]]

    Reference:
      Wu et al., 2016, section 7, for the penalty of length. https://arxiv.org/abs/1609.08144
    """
    for name, value in (("sentences", sentences), ("beam", beam), ("length", length)):
        checks.count("beam_search", name, value)

    def advance(carry):
        place, state, token, tokens, scores, ended = carry
        logits, state = step(state, token.reshape(-1), place)
        logp = jax.nn.log_softmax(logits.reshape(sentences, beam, -1))
        vocabulary = logp.shape[-1]
        # A sequence that has ended goes on with padding alone, which costs nothing.
        only = jnp.where(jnp.arange(vocabulary) == 0, 0.0, -jnp.inf)
        logp = jnp.where(ended[..., None], only[None, None], logp)
        total = (scores[..., None] + logp).reshape(sentences, -1)
        scores, flat = jax.lax.top_k(total, beam)
        parent, token = flat // vocabulary, flat % vocabulary

        def of_parent(leaf):
            return jnp.take_along_axis(
                leaf, parent.reshape(*parent.shape, *[1] * (leaf.ndim - 2)), axis=1
            )

        def of_rows(leaf):
            found = of_parent(leaf.reshape(sentences, beam, *leaf.shape[1:]))
            return found.reshape(leaf.shape)

        before = of_parent(ended)
        tokens = of_parent(tokens).at[:, :, place].set(jnp.where(before, 0, token))
        state = jax.tree.map(of_rows, state)
        return place + 1, state, token, tokens, scores, before | (token == end)

    def goes_on(carry):
        return (carry[0] < length) & ~jnp.all(carry[-1])  # Nothing changes after all have ended.

    start = (
        jnp.zeros((), jnp.int32),
        state,
        jnp.full((sentences, beam), begin),
        jnp.zeros((sentences, beam, length), jnp.int32),
        # All rows are alike at first, so that only one of them may go on.
        jnp.broadcast_to(jnp.where(jnp.arange(beam) == 0, 0.0, -jnp.inf), (sentences, beam)),
        jnp.zeros((sentences, beam), bool),
    )
    *_, tokens, scores, ended = jax.lax.while_loop(goes_on, advance, start)
    size = jnp.where(ended, jnp.argmax(tokens == end, axis=-1) + 1, length)
    scores = scores / size**penalty
    order = jnp.argsort(-scores, axis=1, stable=True)
    return Beams(
        jnp.take_along_axis(tokens, order[..., None], axis=1),
        jnp.take_along_axis(scores, order, axis=1),
    )
