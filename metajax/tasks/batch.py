"""A batch of tasks from a source."""

import jax

from metajax import checks
from metajax.trees import as_pytree
from metajax.types import Sample, Task


def batch(sample: Sample, key: jax.Array, num_tasks: int) -> Task:
    """Draws the tasks that `evaluate` and `predictions` see with the same key.

    Args:
      sample: A task source.
      key: A PRNG key.
      num_tasks: The number of tasks.

    Returns:
      A `Task` whose leaves have `num_tasks` as first axis.

    Raises:
      ValueError: Unless `num_tasks` is at least 1 and `sample` is a task source.

    Example:
      >>> import jax, metajax as mj
      >>> mj.tasks.batch(mj.tasks.sinusoid(shot=5), jax.random.key(0), 3).support.x.shape
      (3, 5, 1)
    """
    checks.prng_key("batch", key)
    num_tasks = checks.count("batch", "num_tasks", num_tasks)
    checks.source("batch", sample)
    return of_keys(as_pytree(sample), jax.random.split(key, num_tasks))


@jax.jit
def of_keys(sample: Sample, keys: jax.Array) -> Task:
    """The tasks of these keys, where `sample` is a pytree."""
    return jax.vmap(lambda key: sample(jax.random.split(key)[0]))(keys)
