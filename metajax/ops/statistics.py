"""Mean and variance of channels, with as few passes over activations as possible."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from metajax.ops.convolution import IN_CACHE, Convolution


class Moments(NamedTuple):
    """Mean and variance of each channel `(c,)`, in float32 at least."""

    mean: jax.Array
    variance: jax.Array


def moments(x: jax.Array) -> Moments:
    """The mean and variance of each channel, the last axis, over all other axes.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.ops.moments(jnp.array([[1.0], [3.0]]))
      Moments(mean=Array([2.], dtype=float32), variance=Array([1.], dtype=float32))
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    # The variance about a constant that equals the mean. The derivative of the usual formula passes
    # over x once more, for a sum through the mean that is 0.
    near = lax.stop_gradient(mean)
    variance = jnp.mean((x - _as_channels(near, x)) ** 2, axes) - (mean - near) ** 2
    return Moments(mean, variance)


def normalise(x: jax.Array, epsilon: float = 1e-5, *, by: Moments | None = None) -> jax.Array:
    """Shifts and scales each channel, the last axis, to mean 0 and variance 1 over all other axes.

    Normalisation keeps the order of numbers, so a maximum can be taken before it as well as after:
    `normalise(max_pool(x, ...), by=moments(x))` equals `max_pool(normalise(x), ...)`, and passes over
    `x` for its moments alone.

    Args:
      x: Features `(..., c)`.
      epsilon: Added to the variance.
      by: Moments to use in place of those of `x`.

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
    """Returns `pool(layer(x))` and the moments of `layer(x)`, with fewer passes for a first layer.

    A first `Convolution` reads few numbers at each position, 9 or 27. With their mean `m` and
    covariance `C`, a kernel `k` has mean `m k` and variance `k' C k`. These depend on the images alone,
    so a compiled inner loop computes them once. Large images are convolved and pooled one at a time:
    the result of `layer`, the largest array of a network, is never in memory as a whole. This is done
    where the program is compiled for a CPU; otherwise, and for other layers, the formula is computed
    as it is written.

    Args:
      x: Images `(n, h, w, c)`, or other arrays `(n, ...)`.
      layer: A function of `(n, ...)` that treats each image alone.
      pool: A function of its result that treats each image alone.
      first: Number of images that count for the moments, by default all.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> layer = mj.ops.Convolution(jnp.ones((3, 3, 1, 9)), padding="VALID")
      >>> pool = lambda x: mj.ops.max_pool(x, (2, 2), (2, 2))
      >>> pooled, moments = mj.ops.pool_and_moments(jnp.ones((5, 8, 8, 1)), layer, pool)
      >>> pooled.shape, moments.mean.tolist()[0], moments.variance.tolist()[0]
      ((5, 3, 3, 9), 9.0, 0.0)
    """

    def as_written(layer, x):
        y = layer(x)
        return pool(y), moments(y[:first])

    if not (isinstance(layer, Convolution) and _sees_little(layer)):
        return as_written(layer, x)

    def through_patches(kernel, x):
        return _through_patches(layer._replace(kernel=kernel), x, pool, first)

    def elsewhere(kernel, x):
        return as_written(layer._replace(kernel=kernel), x)

    return lax.platform_dependent(layer.kernel, x, cpu=through_patches, default=elsewhere)


def _through_patches(
    layer: Convolution, x: jax.Array, pool: Callable[[jax.Array], jax.Array], first: int | None
) -> tuple[jax.Array, Moments]:
    """`pool_and_moments` of a layer that sees little, by the covariance of its patches."""
    out = jax.eval_shape(layer, x)
    one_by_one = is_symbolic_dim(out.size) or out.size * out.dtype.itemsize > IN_CACHE

    def in_blocks(f, x):
        return lax.map(f, x[:, None] if one_by_one else x[None])

    pooled = in_blocks(lambda block: pool(layer(block)), x)
    seen = in_blocks(lambda block: _of_patches(layer.patches(block)), x[:first])
    return pooled.reshape(-1, *pooled.shape[2:]), _seen_through(layer.kernel, *seen)


def _sees_little(layer: Convolution) -> bool:
    """Whether the covariance of its patches costs no more than its result."""
    *seen, features = layer.kernel.shape
    return math.prod(seen) <= features


def _of_patches(seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean `(p,)` and covariance `(p, p)` of patches `(..., p)`."""
    seen = seen.reshape(-1, seen.shape[-1]).astype(jnp.promote_types(seen.dtype, jnp.float32))
    mean = jnp.mean(seen, axis=0)
    seen = seen - mean[None]
    return mean, seen.T @ seen / seen.shape[0]


def _seen_through(kernel: jax.Array, means: jax.Array, covariances: jax.Array) -> Moments:
    """The moments of `seen @ kernel`, from the means and covariances of equal blocks of `seen`."""
    mean = jnp.mean(means, axis=0)
    apart = means - mean[None]
    # The law of total variance: within the blocks, and between them.
    covariance = jnp.mean(covariances, axis=0) + apart.T @ apart / means.shape[0]
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(mean.dtype)
    return Moments(mean @ weights, jnp.sum(weights * (covariance @ weights), axis=0))
