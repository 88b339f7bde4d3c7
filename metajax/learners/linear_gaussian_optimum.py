"""The best possible learner of linear regression with Gaussian weights and noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner


class Posterior(NamedTuple):
    """The mean of the weights given a support set, `(dimension, 1)`."""

    mean: jax.Array


def linear_gaussian_optimum(noise: float = 0.5) -> Learner:
    """Predict by the posterior mean of the weights, which no learner can beat in squared error.

    Example:
      >>> import jax, metajax as mj
      >>> best = mj.evaluate(mj.linear_gaussian_optimum(), (), mj.tasks.linear_gaussian(), mj.mse,
      ...                    key=jax.random.key(0), num_tasks=100)
      >>> bool(best.mean < 8)  # predicting 0 costs the dimension
      True

    Reference: Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3.
    """

    def adapt(meta_params, support, key):
        del meta_params, key
        x, y = support
        precision = x.T @ x + noise**2 * jnp.eye(x.shape[1])
        return Posterior(jax.scipy.linalg.solve(precision, x.T @ y, assume_a="pos"))

    return Learner(lambda key, x: (), adapt, lambda adapted, x: x @ adapted.mean)
