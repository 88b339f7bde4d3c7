"""Linear regression with Gaussian weights and noise: tasks whose best possible learner is known."""

from dataclasses import dataclass

import jax

from metajax import checks
from metajax.types import Examples, Sample, Task


def linear_gaussian(
    dimension: int = 8, shot: int = 10, query_shot: int = 10, *, noise: float = 0.5
) -> Sample:
    """Linear regression tasks, `y = w.x + noise`, with standard normal weights and inputs.

    `linear_gaussian_optimum` is the best learner of these tasks. The error of another learner minus
    its error on the same tasks is the regret of that learner.

    Args:
      dimension: The dimension of `x`.
      shot: The number of support examples.
      query_shot: The number of query examples; their targets have no noise.
      noise: The standard deviation of noise added to the support targets.

    Returns:
      `sample(key) -> Task` with `x` of shape `(shot, dimension)` and `y` of shape `(shot, 1)`.

    Raises:
      ValueError: For a count below one, or a negative noise.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.linear_gaussian(dimension=3, shot=4)(jax.random.key(0))
      >>> task.support.x.shape, task.support.y.shape
      ((4, 3), (4, 1))
    """
    where = "linear_gaussian"
    checks.positive(where, "noise", noise, least=0)
    return jax.tree_util.Partial(
        LinearGaussian(
            checks.count(where, "dimension", dimension),
            checks.count(where, "shot", shot),
            checks.count(where, "query_shot", query_shot),
            float(noise),
        )
    )


@dataclass(frozen=True)
class LinearGaussian:
    """The settings of `linear_gaussian`, called with a key."""

    dimension: int
    shot: int
    query_shot: int
    noise: float

    def __call__(self, key: jax.Array) -> Task:
        """Draws a task."""
        weights_key, x_key, noise_key = jax.random.split(key, 3)
        weights = jax.random.normal(weights_key, (self.dimension, 1))
        x = jax.random.normal(x_key, (self.shot + self.query_shot, self.dimension))
        y = x @ weights
        error = self.noise * jax.random.normal(noise_key, (self.shot, 1))
        support = Examples(x[: self.shot], y[: self.shot] + error)
        return Task(support, Examples(x[self.shot :], y[self.shot :]))
