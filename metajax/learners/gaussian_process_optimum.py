"""The best possible learner of functions drawn from a Gaussian process: its posterior."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner

JITTER = 1e-4
"""Of the amplitude's square: the variance of a roughness that every value has of its own, without
which a Cholesky factor does not exist in float32. It is a part of the prior, and the optimum knows it."""


def covariance(a: jax.Array, b: jax.Array, length: float, amplitude: float) -> jax.Array:
    """The squared exponential of inputs `(n, d)` and `(m, d)`, `(n, m)`.

    Example:
      >>> covariance(jnp.zeros((1, 1)), jnp.zeros((1, 1)), 1.0, 3.0).tolist()
      [[9.0]]
    """
    square = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    return amplitude**2 * jnp.exp(-square / (2 * length**2))


def factor(matrix: jax.Array) -> jax.Array:
    """The Cholesky factor of a matrix `(n, n)`, a column at a time.

    jax 0.10's own, for several matrices beside other work under `shard_map` over two CPU devices, was
    seen to wait forever.

    Example:
      >>> factor(jnp.array([[4.0, 2.0], [2.0, 2.0]])).tolist()
      [[2.0, 0.0], [1.0, 1.0]]
    """
    rows = jnp.arange(len(matrix))

    def column(rest, j):
        pivot = jnp.where(rows >= j, rest[:, j] * jax.lax.rsqrt(rest[j, j]), 0)
        return rest - pivot[:, None] * pivot[None], pivot

    return jax.lax.scan(column, matrix, rows)[1].T


def check_prior(name: str, length: float, amplitude: float, noise: float) -> None:
    """Raises ValueError for a length or amplitude that is not above 0, or a negative noise."""
    if min(length, amplitude) <= 0 or noise < 0:
        raise ValueError(
            f"{name}: length={length}, amplitude={amplitude} and noise={noise}; the first two are "
            "above 0, and noise is not negative."
        )


class GivenSupport(NamedTuple):
    """Inputs, the Cholesky factor of their targets' covariance, and its inverse times the targets."""

    x: jax.Array
    factor: jax.Array
    weights: jax.Array


def gaussian_process_optimum(
    *, length: float = 1.0, amplitude: float = 1.0, noise: float = 0.1
) -> Learner:
    """Predict by the posterior, which no learner can beat in likelihood or squared error.

    Args:
      length, amplitude, noise: as given to `gaussian_process`.

    Returns:
      A learner without meta-parameters, whose predictions are means and deviations `(n, 2, 1)`, for
      `gaussian_nll`, `error_of_mean` and `coverage`.

    Raises:
      ValueError: for a length or amplitude that is not above 0, or a negative noise.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.gaussian_process_optimum(noise=0.0)
      >>> support = mj.Examples(x=jnp.zeros((1, 1)), y=jnp.full((1, 1), 2.0))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[0.0], [99.0]])).round(1)[..., 0].tolist()
      [[2.0, 0.0], [0.0, 1.0]]

    Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1.
    """
    check_prior("gaussian_process_optimum", length, amplitude, noise)
    own = JITTER * amplitude**2

    def adapt(meta_params, support, key):
        del meta_params, key
        x, y = support
        between = covariance(x, x, length, amplitude) + (own + noise**2) * jnp.eye(len(x))
        lower = factor(between)
        return GivenSupport(x, lower, jax.scipy.linalg.cho_solve((lower, True), y))

    def predict(adapted, x):
        across = covariance(x, adapted.x, length, amplitude)
        explained = jax.scipy.linalg.solve_triangular(adapted.factor, across.T, lower=True)
        variance = amplitude**2 + own - jnp.sum(explained**2, axis=0)
        deviations = jnp.sqrt(jnp.maximum(variance, own))[:, None]
        return jnp.stack([across @ adapted.weights, deviations], axis=1)

    return Learner(lambda key, x: (), adapt, predict)
