"""Normalisation over any axes, with derivatives in closed form."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def standardise(
    x: jax.Array, axes: tuple[int, ...], epsilon: float, centred: bool = True
) -> tuple[jax.Array, jax.Array]:
    """The two factors of a normalised array: `x - mean`, and `1 / sqrt(variance + epsilon)`.

    The derivative along `v` of the first is `v - mean(v)`, and of the second, `r`, is
    `-r^3 mean((x - mean) v)`: neither passes through the variance, and the same two functions give the
    derivatives of any order.

    Args:
      x: `(..., d)`, floating.
      axes: Those that a mean is over, not negative.
      epsilon: Added to the variance.
      centred: Whether the mean is subtracted, as in layer normalisation; not so in RMS normalisation.

    Returns:
      `x - mean` of the shape of `x`, and the inverse deviation, without `axes`.

    Example:
      >>> apart, inverse = standardise(jnp.array([[1.0, 3.0]]), (1,), 0.0)
      >>> apart.tolist(), inverse.tolist()
      ([[-1.0, 1.0]], [1.0])
    """
    apart = x - _spread(jnp.mean(x, axes), axes) if centred else x
    return apart, lax.rsqrt(jnp.mean(apart * apart, axes) + epsilon)


@standardise.defjvp
def _standardise_jvp(axes, epsilon, centred, primals, tangents):
    (x,), (change,) = primals, tangents
    apart, inverse = standardise(x, axes, epsilon, centred)
    moves = change - _spread(jnp.mean(change, axes), axes) if centred else change
    slope = -(inverse * inverse * inverse) * jnp.mean(apart * change, axes)
    return (apart, inverse), (moves, slope)


def _spread(value: jax.Array, axes: Sequence[int]) -> jax.Array:
    return jnp.expand_dims(value, tuple(axes))


def normalise_over(
    x: jax.Array,
    axes: Sequence[int],
    epsilon: float,
    scale: jax.Array | None = None,
    scale_axes: Sequence[int] = (),
    *,
    centred: bool = True,
) -> jax.Array:
    """`(x - mean) / sqrt(variance + epsilon) * scale`, with a mean over `axes`.

    A scale along `axes` multiplies `x - mean` before the inverse deviation does: of all orders this has
    the fewest passes over arrays of the size of `x` in first and second derivatives. Any other scale is
    multiplied into the inverse deviation, which is smaller.

    Args:
      x: Floating.
      axes: Those that a mean is over, not negative.
      epsilon: Added to the variance.
      scale: An array over some axes of `x`.
      scale_axes: Which, in increasing order.
      centred: Whether the mean is subtracted.

    Example:
      >>> x = jnp.array([[1.0, 3.0]])
      >>> normalise_over(x, (1,), 0.0, jnp.array([2.0, 5.0]), (1,)).tolist()
      [[-2.0, 5.0]]
    """
    apart, inverse = standardise(x, tuple(axes), epsilon, centred)
    if scale is None:
        return apart * _spread(inverse, axes)
    scale = _spread(scale, [axis for axis in range(x.ndim) if axis not in scale_axes])
    if set(scale_axes).isdisjoint(axes):
        return apart * (_spread(inverse, axes) * scale)
    return apart * scale * _spread(inverse, axes)


def layer_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    epsilon: float = 1e-6,
) -> jax.Array:
    """Layer normalisation over the last axis: mean 0 and variance 1, then scale and bias.

    First and second derivatives pass over `x` as often as their arithmetic needs. The sums are in
    float32 at least.

    Args:
      x: `(..., d)`.
      scale: `(d,)`, by default ones.
      bias: `(d,)`, by default zeros.
      epsilon: Added to the variance.

    Returns:
      An array of the shape and type of `x`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.ops.layer_norm(jnp.array([1.0, 3.0]), jnp.array([1.0, 2.0]), epsilon=0.0).tolist()
      [-1.0, 2.0]

    Reference: Ba, Kiros and Hinton, 2016, equation 4. https://arxiv.org/abs/1607.06450
    """
    return _over_last(x, scale, bias, epsilon, centred=True)


def rms_norm(x: jax.Array, scale: jax.Array | None = None, *, epsilon: float = 1e-6) -> jax.Array:
    """RMS normalisation over the last axis: mean square 1, then scale.

    Args:
      x: `(..., d)`.
      scale: `(d,)`, by default ones.
      epsilon: Added to the mean square.

    Returns:
      An array of the shape and type of `x`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.ops.rms_norm(jnp.array([3.0, 3.0]), epsilon=0.0).tolist()
      [1.0, 1.0]

    Reference: Zhang and Sennrich, NeurIPS 2019, equation 4. https://arxiv.org/abs/1910.07467
    """
    return _over_last(x, scale, None, epsilon, centred=False)


def _over_last(x, scale, bias, epsilon, *, centred):
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    last = x.ndim - 1
    scale = None if scale is None else scale.astype(wide.dtype)
    out = normalise_over(wide, (last,), epsilon, scale, (last,), centred=centred)
    return (out if bias is None else out + bias).astype(x.dtype)
