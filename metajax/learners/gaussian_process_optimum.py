"""The optimal learner of functions drawn from a Gaussian process: its posterior."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import exists, filled
from metajax.types import Learner

JITTER = 1e-4
"""The variance of an independent part of every value, relative to the squared amplitude. Without it
there is no Cholesky factor in float32. It belongs to the prior, and the optimum accounts for it."""


def covariance(a: jax.Array, b: jax.Array, length: float, amplitude: float) -> jax.Array:
    """The squared exponential covariance `(n, m)` of inputs `(n, d)` and `(m, d)`.

    Example:
      >>> covariance(jnp.zeros((1, 1)), jnp.zeros((1, 1)), 1.0, 3.0).tolist()
      [[9.0]]
    """
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    return amplitude**2 * jnp.exp(-square / (2 * length**2))


def factor(matrix: jax.Array) -> jax.Array:
    """The Cholesky factor of a matrix `(n, n)`, computed column by column.

    The factorisation of jax 0.10 was seen to wait for ever for several matrices beside other work
    under `shard_map` over two CPU devices.

    Example:
      >>> factor(jnp.array([[4.0, 2.0], [2.0, 2.0]])).tolist()
      [[2.0, 0.0], [1.0, 1.0]]
    """
    rows = jnp.arange(len(matrix))

    def column(rest, j):
        pivot = jnp.where(rows >= j, rest[:, j] * jax.lax.rsqrt(rest[j, j]), 0)
        return rest - pivot[:, None] * pivot[None], pivot

    return jax.lax.scan(column, matrix, rows)[1].T


def check_prior(where: str, length: float, amplitude: float, noise: float) -> None:
    """Checks the settings of a Gaussian process.

    Raises:
      ValueError: If `length` or `amplitude` is not above 0, or `noise` is negative.
    """
    checks.positive(where, "length", length)
    checks.positive(where, "amplitude", amplitude)
    checks.positive(where, "noise", noise, least=0)


class GaussianProcessOptimumState(NamedTuple):
    """The posterior given a support set.

    x: `(n, d)`.
    mask: `(n,)`, which support examples exist.
    factor: The Cholesky factor `(n, n)` of the covariance of the targets.
    weights: The inverse covariance times the targets, `(n, 1)`.
    """

    x: jax.Array
    mask: jax.Array
    factor: jax.Array
    weights: jax.Array


def gaussian_process_optimum(
    *, length: float = 1.0, amplitude: float = 1.0, noise: float = 0.1
) -> Learner:
    """Predicts by the posterior, which no learner can beat in likelihood or squared error.

    Args:
      length: The length scale of the inputs, as given to `gaussian_process`.
      amplitude: The standard deviation of the function.
      noise: The standard deviation of the noise.

    Returns:
      A learner without meta-parameters, for inputs `(n, d)` and targets `(n, 1)`. Predictions are
      means and deviations `(n, 2, 1)`, for `gaussian_nll`, `error_of_mean` and `coverage`.

    Raises:
      ValueError: If `length` or `amplitude` is not above 0, or `noise` is negative.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.gaussian_process_optimum(noise=0.0)
      >>> support = mj.Examples(x=jnp.zeros((1, 1)), y=jnp.full((1, 1), 2.0))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[0.0], [99.0]])).round(1)[..., 0].tolist()
      [[2.0, 0.0], [0.0, 1.0]]

    Reference:
      Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1.
    """
    check_prior("gaussian_process_optimum", length, amplitude, noise)
    own = JITTER * amplitude**2

    def adapt(meta_params, support, key):
        del meta_params, key
        support = filled(support)
        x, mask = support.x, exists(support)
        # Masked examples are independent of all others, and their targets are 0.
        between = jnp.where(mask[:, None] & mask[None], covariance(x, x, length, amplitude), 0)
        lower = factor(between + (own + noise**2) * jnp.eye(len(x)))
        targets = jnp.where(mask[:, None], support.y, 0)
        weights = jax.scipy.linalg.cho_solve((lower, True), targets)
        return GaussianProcessOptimumState(x, mask, lower, weights)

    def predict(adapted, x):
        across = covariance(x, adapted.x, length, amplitude)
        across = jnp.where(adapted.mask[None], across, 0)
        explained = jax.scipy.linalg.solve_triangular(adapted.factor, across.T, lower=True)
        variance = amplitude**2 + own - jnp.sum(explained**2, axis=0)
        deviations = jnp.sqrt(jnp.where(variance > own, variance, own))[:, None]
        return jnp.stack([across @ adapted.weights, deviations], axis=1)

    return Learner(lambda key, x: (), adapt, predict)
