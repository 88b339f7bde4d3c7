"""Functions drawn from a Gaussian process: a prior whose posterior is known."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.gaussian_process_optimum import JITTER, covariance, factor
from metajax.types import Examples, Sample, Task


def gaussian_process(
    shot: int = 10,
    query_shot: int = 10,
    *,
    length: float = 1.0,
    amplitude: float = 1.0,
    noise: float = 0.1,
    x: tuple[float, float] = (-3.0, 3.0),
) -> Sample:
    """Smooth random functions of one variable, with a squared exponential covariance.

    `gaussian_process_optimum` with the same numbers is the best learner of these tasks.

    Args:
      shot: The number of support examples.
      query_shot: The number of query examples; their targets have no noise.
      length: The length scale of the covariance, in units of `x`.
      amplitude: The standard deviation of a value.
      noise: The standard deviation of noise added to the support targets.
      x: The interval on which inputs are uniform.

    Returns:
      `sample(key) -> Task` with `x` and `y` of shape `(shot, 1)` and `(query_shot, 1)`.

    Raises:
      ValueError: For fewer than one example, an empty interval, a negative noise, or a length or
        amplitude that is not above 0.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.gaussian_process(shot=5)(jax.random.key(0))
      >>> task.support.x.shape, task.query.y.shape
      ((5, 1), (10, 1))

    Reference:
      Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.2.
    """
    where = "gaussian_process"
    checks.positive(where, "length", length)
    checks.positive(where, "amplitude", amplitude)
    checks.positive(where, "noise", noise, least=0)
    return jax.tree_util.Partial(
        GaussianProcess(
            checks.count(where, "shot", shot),
            checks.count(where, "query_shot", query_shot),
            float(length),
            float(amplitude),
            float(noise),
            checks.interval(where, "x", x),
        )
    )


@dataclass(frozen=True)
class GaussianProcess:
    """The settings of `gaussian_process`, called with a key."""

    shot: int
    query_shot: int
    length: float
    amplitude: float
    noise: float
    x: tuple[float, float]

    def __call__(self, key: jax.Array) -> Task:
        """Draws a task."""
        x_key, y_key, noise_key = jax.random.split(key, 3)
        low, high = self.x
        x = jax.random.uniform(x_key, (self.shot + self.query_shot, 1), minval=low, maxval=high)
        rough = JITTER * self.amplitude**2 * jnp.eye(len(x))
        between = covariance(x, x, self.length, self.amplitude) + rough
        y = factor(between) @ jax.random.normal(y_key, x.shape)
        error = self.noise * jax.random.normal(noise_key, (self.shot, 1))
        support = Examples(x[: self.shot], y[: self.shot] + error)
        return Task(support, Examples(x[self.shot :], y[self.shot :]))
