"""Functions drawn from a Gaussian process: a prior whose posterior is known."""

import jax
import jax.numpy as jnp

from metajax.learners.gaussian_process_optimum import JITTER, check_prior, covariance, factor
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
    check_prior("gaussian_process", length, amplitude, noise)
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
