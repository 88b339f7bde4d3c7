"""The optimal learner of linear regression with Gaussian weights and noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import exists, filled
from metajax.types import Learner


class LinearGaussianOptimumState(NamedTuple):
    """The posterior mean of the weights given a support set, `(d, 1)`."""

    mean: jax.Array


def linear_gaussian_optimum(noise: float = 0.5) -> Learner:
    """Predicts by the posterior mean of the weights, which no learner can beat in squared error.

    Args:
      noise: The standard deviation of the noise, as given to `linear_gaussian`, at least 0.

    Returns:
      A learner without meta-parameters, for inputs `(n, d)` and targets `(n, 1)`. Predictions are
      `(n, 1)`.

    Raises:
      ValueError: If `noise` is negative.

    Example:
      >>> import jax, metajax as mj
      >>> best = mj.evaluate(mj.linear_gaussian_optimum(), (), mj.tasks.linear_gaussian(), mj.mse,
      ...                    key=jax.random.key(0), num_tasks=100)
      >>> bool(best.mean < 8)  # predicting 0 costs the dimension
      True

    Reference:
      Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3.
    """
    checks.positive("linear_gaussian_optimum", "noise", noise, least=0)

    def adapt(meta_params, support, key):
        del meta_params, key
        support = filled(support)
        x = jnp.where(exists(support)[:, None], support.x, 0)  # An example of zeros weighs nothing.
        precision = x.T @ x + noise**2 * jnp.eye(x.shape[1])
        mean = jax.scipy.linalg.solve(precision, x.T @ support.y, assume_a="pos")
        return LinearGaussianOptimumState(mean)

    return Learner(lambda key, x: (), adapt, lambda adapted, x: x @ adapted.mean)
