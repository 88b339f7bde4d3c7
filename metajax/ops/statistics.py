"""Mean and variance of channels, and how to use them without passing over activations more than needed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from metajax.ops.convolution import IN_CACHE, NARROW


class Moments(NamedTuple):
    """Mean and variance of each channel `(c,)`, in float32 at least."""

    mean: jax.Array
    variance: jax.Array


def moments(x: jax.Array) -> Moments:
    """Of each channel, the last axis, over all other axes.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.ops.moments(jnp.array([[1.0], [3.0]]))
      Moments(mean=Array([2.], dtype=float32), variance=Array([1.], dtype=float32))
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    # The variance about a constant that happens to be the mean: a derivative of the usual formula
    # passes over x once more, for a sum through the mean that is 0.
    near = lax.stop_gradient(mean)
    variance = jnp.mean((x - _as_channels(near, x)) ** 2, axes) - (mean - near) ** 2
    return Moments(mean, variance)


def normalise(x: jax.Array, epsilon: float = 1e-5, *, by: Moments | None = None) -> jax.Array:
    """Each channel, the last axis, to mean 0 and variance 1 over all other axes.

    Normalising keeps the order of numbers, so a maximum can be taken before it as well as after:
    `normalise(max_pool(x, ...), by=moments(x))` equals `max_pool(normalise(x), ...)`, and passes over
    `x` for its moments alone.

    Args:
      x: `(..., c)`.
      epsilon: added to the variance.
      by: the moments to use, by default those of `x`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> x = jnp.array([[1.0], [3.0]])
      >>> mj.ops.normalise(x, 0.0).tolist()
      [[-1.0], [1.0]]
      >>> mj.ops.normalise(jnp.array([[3.0]]), 0.0, by=mj.ops.moments(x)).tolist()
      [[1.0]]
    """
    mean, variance = (_as_channels(value, x) for value in by or moments(x))
    return ((x.astype(mean.dtype) - mean) * lax.rsqrt(variance + epsilon)).astype(x.dtype)


def _as_channels(value: jax.Array, x: jax.Array) -> jax.Array:
    return value.reshape((1,) * (x.ndim - 1) + (-1,))


def pool_and_moments(
    x: jax.Array,
    layer: Callable[[jax.Array], jax.Array],
    pool: Callable[[jax.Array], jax.Array],
    first: int | None = None,
) -> tuple[jax.Array, Moments]:
    """`pool(layer(x))` and the moments of `layer(x)`, for a first layer of large images.

    On a CPU it is computed an image at a time, and again for derivatives: what `layer` gives, the
    largest array of the network, stays in the cache and never is in memory as a whole. Elsewhere, and
    where it is small or dear to compute, all at once.

    Args:
      x: images `(n, h, w, c)`, or anything else `(n, ...)`, which is computed at once.
      layer: of `(n, h, w, c)`, each image alone, such as a convolution.
      pool: of what it gives, each image alone.
      first: how many of the images count for the moments, by default all.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> pool = lambda x: mj.ops.max_pool(x, (2, 2), (2, 2))
      >>> pooled, moments = mj.ops.pool_and_moments(jnp.ones((5, 8, 8, 1)), jnp.sin, pool)
      >>> pooled.shape, moments.mean.shape
      ((5, 4, 4, 1), (1,))
    """
    out = jax.eval_shape(layer, x)
    large = x.ndim == 4 and out.size * out.dtype.itemsize > IN_CACHE
    cheap = x.shape[-1] < NARROW  # enough to be computed again
    if not (large and cheap) or jax.default_backend() != "cpu":
        y = layer(x)
        return pool(y), moments(y[:first])

    @jax.checkpoint
    def of_one(image):
        y = layer(image[None])
        return pool(y)[0], moments(y)

    pooled, each = lax.map(of_one, x)
    return pooled, _of_all(Moments(each.mean[:first], each.variance[:first]))


def _of_all(each: Moments) -> Moments:
    """Of images of one size together, by the law of total variance."""
    mean = jnp.mean(each.mean, axis=0)
    return Moments(mean, jnp.mean(each.variance + (each.mean - mean[None]) ** 2, axis=0))
