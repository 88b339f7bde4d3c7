"""The greatest of several numbers, with derivatives that hold however a program is compiled.

JAX derives `maximum(x, y)` by asking which of the two equals the result. Where a compiler computes `x`
twice, once for the result and once for the question, and rounds it in two ways, neither does, and the
derivative is silently 0. Here `x` is compared with `y`, and the place of a maximum is an integer.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_jvp
def maximum(x: jax.Array, y: jax.Array) -> jax.Array:
    """`jax.lax.max`: the greater of two arrays of one shape, entry by entry.

    Args:
      x: Floating.
      y: Of the shape and type of `x`.

    Example:
      >>> import jax.numpy as jnp
      >>> maximum(jnp.array([1.0, 4.0]), jnp.array([3.0, 2.0])).tolist()
      [3.0, 4.0]
    """
    return lax.max(x, y)


@maximum.defjvp
def _maximum_jvp(primals, tangents):
    (x, y), (of_x, of_y) = primals, tangents
    unequal = jnp.where(x > y, of_x, of_y)
    # Two equal numbers share a derivative, as they do in JAX.
    share = jnp.where((x > y) | (y > x), unequal, 0.5 * (of_x + of_y))
    return maximum(x, y), share


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def reduce_max(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`jax.lax.reduce_max`: the greatest along `axes`, which the result does not have.

    Args:
      x: Floating.
      axes: Not negative.

    Example:
      >>> import jax.numpy as jnp
      >>> reduce_max(jnp.array([[1.0, 4.0], [3.0, 2.0]]), (0, 1)).item()
      4.0
    """
    return lax.reduce_max(x, axes)


@reduce_max.defjvp
def _reduce_max_jvp(axes, primals, tangents):
    (x,), (change,) = primals, tangents
    value = reduce_max(x, axes)
    return value, jnp.sum(_shares(lax.stop_gradient(x), axes) * change, axes)


def _shares(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """For each entry its share in the derivative of the greatest: 1 for one alone, less for equal ones."""
    place = lax.broadcasted_iota(jnp.int32, x.shape, axes[0])
    for axis in axes[1:]:
        place = place * x.shape[axis] + lax.broadcasted_iota(jnp.int32, x.shape, axis)

    def greater(one, other):
        (x, i), (y, j) = one, other
        first = (x > y) | (jnp.logical_not(y > x) & (i < j))
        return jnp.where(first, x, y), jnp.where(first, i, j)

    start = (jnp.full((), -jnp.inf, x.dtype), jnp.full((), jnp.iinfo(jnp.int32).max, jnp.int32))
    value, of_value = (
        jnp.expand_dims(v, tuple(axes)) for v in lax.reduce((x, place), start, greater, axes)
    )
    alone, equal = (place == of_value).astype(x.dtype), (x == value).astype(x.dtype)
    number = jnp.sum(equal, tuple(axes), keepdims=True)
    return jnp.where(number > 1, equal / number, alone)
