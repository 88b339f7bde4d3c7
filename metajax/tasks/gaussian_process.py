"""Functions drawn from a Gaussian process: a prior whose posterior is known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Examples, Learner, Sample, Task

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


def _check(name: str, length: float, amplitude: float, noise: float) -> None:
    if min(length, amplitude) <= 0 or noise < 0:
        raise ValueError(
            f"{name}: length={length}, amplitude={amplitude} and noise={noise}; the first two are "
            "above 0, and noise is not negative."
        )


def gaussian_process(
    shot: int = 10,
    query_shot: int = 10,
    *,
    length: float = 1.0,
    amplitude: float = 1.0,
    noise: float = 0.1,
    x: tuple[float, float] = (-3.0, 3.0),
) -> Sample:
    """Smooth random functions of one variable, by a squared exponential covariance.

    `gaussian_process_optimum` of the same numbers is the best learner of these tasks.

    Args:
      shot: support examples.
      query_shot: query examples; their targets have no noise.
      length: how far a function stays alike, in units of `x`.
      amplitude: deviation of a value.
      noise: deviation of what is added to the support targets.
      x: inputs are uniform on it.

    Returns:
      `sample(key) -> Task` with `x` and `y` of shape `(shot, 1)` and `(query_shot, 1)`.

    Raises:
      ValueError: for fewer than one example, an empty interval, or a length or amplitude that is not
        above 0.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.gaussian_process(shot=5)(jax.random.key(0))
      >>> task.support.x.shape, task.query.y.shape
      ((5, 1), (10, 1))

    Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.2.
    """
    _check("gaussian_process", length, amplitude, noise)
    if min(shot, query_shot) < 1:
        raise ValueError(
            f"gaussian_process: shot={shot} and query_shot={query_shot}; each is 1 or more."
        )
    if x[0] > x[1]:
        raise ValueError(f"gaussian_process: x=({x[0]}, {x[1]}); give the smaller number first.")

    def sample(key: jax.Array) -> Task:
        x_key, y_key, noise_key = jax.random.split(key, 3)
        inputs = jax.random.uniform(x_key, (shot + query_shot, 1), minval=x[0], maxval=x[1])
        rough = JITTER * amplitude**2 * jnp.eye(len(inputs))
        between = covariance(inputs, inputs, length, amplitude) + rough
        y = factor(between) @ jax.random.normal(y_key, inputs.shape)
        error = noise * jax.random.normal(noise_key, (shot, 1))
        support = Examples(inputs[:shot], y[:shot] + error)
        return Task(support, Examples(inputs[shot:], y[shot:]))

    return sample


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
      >>> learner = mj.tasks.gaussian_process_optimum(noise=0.0)
      >>> support = mj.Examples(x=jnp.zeros((1, 1)), y=jnp.full((1, 1), 2.0))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[0.0], [99.0]])).round(1)[..., 0].tolist()
      [[2.0, 0.0], [0.0, 1.0]]

    Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1.
    """
    _check("gaussian_process_optimum", length, amplitude, noise)
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
