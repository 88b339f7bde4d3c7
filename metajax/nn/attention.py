"""Attention from new tokens to keys and values that were computed once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class KeyValues(NamedTuple):
    """Keys `(m, heads, d)` and values `(m, heads, e)` of `m` tokens."""

    keys: jax.Array
    values: jax.Array


def attend(
    queries: jax.Array, tokens: KeyValues, visible: jax.Array, own: KeyValues | None = None
) -> jax.Array:
    """The mean of the values, weighted by the softmax of scaled products of queries and keys.

    Args:
      queries: `(n, heads, d)`.
      tokens: Keys and values of `m` tokens, finite where invisible.
      visible: Booleans `(n, m)`, or `(1, m)` where all queries see the same tokens. A query that sees
        none gets the mean of all values, unless it sees its own.
      own: A key and a value `(n, heads, ...)` for each query, which it alone sees.

    Returns:
      `(n, heads, e)`.

    Example:
      >>> import jax.numpy as jnp
      >>> tokens = KeyValues(keys=jnp.ones((2, 1, 4)), values=jnp.array([[[3.0]], [[9.0]]]))
      >>> attend(jnp.ones((1, 1, 4)), tokens, jnp.array([[True, True]])).tolist()
      [[[6.0]]]
      >>> attend(jnp.ones((1, 1, 4)), tokens, jnp.array([[True, False]])).tolist()
      [[[3.0]]]

    Reference:
      Vaswani et al., NeurIPS 2017, section 3.2.1. https://arxiv.org/abs/1706.03762
    """
    scale = queries.shape[-1] ** -0.5
    scores = scale * jnp.einsum("nhd,mhd->nhm", queries, tokens.keys)
    scores = jnp.where(visible[:, None], scores, jnp.finfo(scores.dtype).min)
    if own is None:
        return jnp.einsum("nhm,mhe->nhe", jax.nn.softmax(scores), tokens.values)
    to_itself = scale * jnp.sum(queries * own.keys, axis=-1, keepdims=True)
    weights = jax.nn.softmax(jnp.concatenate([scores, to_itself], axis=-1))
    of_tokens = jnp.einsum("nhm,mhe->nhe", weights[..., :-1], tokens.values)
    return of_tokens + weights[..., -1:] * own.values


def causal(mask: jax.Array) -> jax.Array:
    """Which of `m` tokens each token sees, `(m, m)`: itself and those before it, unless masked.

    Example:
      >>> import jax.numpy as jnp
      >>> causal(jnp.array([True, False, True])).astype(int).tolist()
      [[1, 0, 0], [1, 0, 0], [1, 0, 1]]
    """
    return jnp.tril(jnp.ones((len(mask), len(mask)), bool)) & mask[None]
