"""Rows of length 1."""

import jax
import jax.numpy as jnp


def unit_rows(rows: jax.Array) -> jax.Array:
    """Rows of length 1; a row of zeros stays one, with a derivative of 0.

    Example:
      >>> (10 * unit_rows(jnp.array([[3.0, 4.0], [0.0, 0.0]]))).round().tolist()
      [[6.0, 8.0], [0.0, 0.0]]
    """
    square = jnp.sum(rows**2, axis=-1, keepdims=True)
    return jnp.where(square > 0, rows * jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
