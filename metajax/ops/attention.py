"""Softmax and attention, with derivatives in closed form."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def softmax(x: jax.Array, axis: int = -1) -> jax.Array:
    """`jax.nn.softmax`: of its derivatives of any order only the result is kept.

    A row that is -inf everywhere is nan, as there.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.ops.softmax(jnp.array([0.0, 0.0])).tolist()
      [0.5, 0.5]
    """
    greatest = lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    powers = jnp.exp(x - greatest)
    return powers / jnp.sum(powers, axis, keepdims=True)


@softmax.defjvp
def _softmax_jvp(axis, primals, tangents):
    weights, change = softmax(primals[0], axis), tangents[0]
    return weights, weights * (change - jnp.sum(weights * change, axis, keepdims=True))


def attention(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Scaled dot-product attention of each head.

    Args:
      queries: `(..., n, heads, d)`.
      keys: `(..., m, heads, d)`.
      values: `(..., m, heads, v)`.
      mask: Which keys a query sees, bool, that broadcasts to `(..., heads, n, m)`. A query that sees
        none gets the mean of all values.

    Returns:
      `(..., n, heads, v)`.

    Raises:
      ValueError: For arrays whose axes do not agree.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> x = jnp.arange(2.0).reshape(2, 1, 1)
      >>> mj.ops.attention(0 * x, x, x).ravel().tolist()
      [0.5, 0.5]

    Reference: Vaswani et al., NeurIPS 2017, equation 1. https://arxiv.org/abs/1706.03762
    """
    shapes = queries.shape, keys.shape, values.shape
    agree = (
        min(map(len, shapes)) >= 3
        and keys.shape[-2:] == queries.shape[-2:]
        and keys.shape[:-1] == values.shape[:-1]
    )
    if not agree:
        raise ValueError(
            f"attention: queries {shapes[0]}, keys {shapes[1]} and values {shapes[2]} must be "
            "(..., n, heads, d), (..., m, heads, d) and (..., m, heads, v)."
        )
    logits = jnp.einsum("...nhd,...mhd->...hnm", queries, keys) / math.sqrt(queries.shape[-1])
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min)
    return jnp.einsum("...hnm,...mhv->...nhv", softmax(logits), values)
