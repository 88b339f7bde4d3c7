"""Attention from new tokens to a memory of keys and values that was computed once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Memory(NamedTuple):
    """Keys `(m, heads, d)` and values `(m, heads, e)` of `m` tokens."""

    keys: jax.Array
    values: jax.Array


def attend(
    queries: jax.Array, memory: Memory, visible: jax.Array, own: Memory | None = None
) -> jax.Array:
    """The mean of the values, weighted by the softmax of scaled products with the keys.

    Args:
      queries: `(n, heads, d)`.
      memory: of `m` tokens.
      visible: booleans `(n, m)`, or `(1, m)` where all queries see the same tokens.
      own: a key and a value of each query's own `(n, heads, ...)`, seen by it and by no other.

    Returns:
      `(n, heads, e)`.

    Example:
      >>> import jax.numpy as jnp
      >>> memory = Memory(keys=jnp.ones((2, 1, 4)), values=jnp.array([[[3.0]], [[9.0]]]))
      >>> attend(jnp.ones((1, 1, 4)), memory, jnp.array([[True, True]])).tolist()
      [[[6.0]]]
      >>> attend(jnp.ones((1, 1, 4)), memory, jnp.array([[True, False]])).tolist()
      [[[3.0]]]

    Reference: Vaswani et al., NeurIPS 2017, section 3.2.1. https://arxiv.org/abs/1706.03762
    """
    scale = queries.shape[-1] ** -0.5
    scores = scale * jnp.einsum("nhd,mhd->nhm", queries, memory.keys)
    scores = jnp.where(visible[:, None], scores, jnp.finfo(scores.dtype).min)
    if own is None:
        return jnp.einsum("nhm,mhe->nhe", jax.nn.softmax(scores), memory.values)
    to_itself = scale * jnp.sum(queries * own.keys, axis=-1, keepdims=True)
    weights = jax.nn.softmax(jnp.concatenate([scores, to_itself], axis=-1))
    of_memory = jnp.einsum("nhm,mhe->nhe", weights[..., :-1], memory.values)
    return of_memory + weights[..., -1:] * own.values


def causal(there: jax.Array) -> jax.Array:
    """What each of `m` tokens sees, `(m, m)`: itself and those before it that are `there`, `(m,)`.

    Example:
      >>> import jax.numpy as jnp
      >>> causal(jnp.array([True, False, True])).astype(int).tolist()
      [[1, 0, 0], [1, 0, 0], [1, 0, 1]]
    """
    return jnp.tril(jnp.ones((len(there), len(there)), bool)) & there[None]
