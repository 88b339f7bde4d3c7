"""Linear regression with Gaussian weights and noise: tasks whose best possible learner is known."""

import jax

from metajax.types import Examples, Sample, Task


def linear_gaussian(
    dimension: int = 8, shot: int = 10, query_shot: int = 10, *, noise: float = 0.5
) -> Sample:
    """`y = w.x + noise` with weights and inputs standard normal.

    `linear_gaussian_optimum` is the best learner of these tasks: the difference of another's error to
    its, on the same tasks, is that learner's regret.

    Args:
      dimension: of `x`.
      shot: support examples.
      query_shot: query examples; their targets have no noise.
      noise: deviation of what is added to the support targets.

    Returns:
      `sample(key) -> Task` with `x` of shape `(shot, dimension)` and `y` of shape `(shot, 1)`.

    Raises:
      ValueError: for fewer than one of anything, or a negative noise.

    Example:
      >>> import jax, metajax as mj
      >>> task = mj.tasks.linear_gaussian(dimension=3, shot=4)(jax.random.key(0))
      >>> task.support.x.shape, task.support.y.shape
      ((4, 3), (4, 1))
    """
    if min(dimension, shot, query_shot) < 1 or noise < 0:
        raise ValueError(
            f"linear_gaussian: dimension={dimension}, shot={shot}, query_shot={query_shot} and "
            f"noise={noise}; the first three are 1 or more, and noise is not negative."
        )

    def sample(key: jax.Array) -> Task:
        weights_key, x_key, noise_key = jax.random.split(key, 3)
        weights = jax.random.normal(weights_key, (dimension, 1))
        x = jax.random.normal(x_key, (shot + query_shot, dimension))
        y = x @ weights
        error = noise * jax.random.normal(noise_key, (shot, 1))
        return Task(Examples(x[:shot], y[:shot] + error), Examples(x[shot:], y[shot:]))

    return sample
