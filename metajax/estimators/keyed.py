"""Keys of tasks that do not depend on how tasks are shared out."""

from metajax.estimators.lift import lift
from metajax.objectives import TaskMean
from metajax.types import Estimate, Estimator, Objective


def keyed(estimator: Estimator) -> Estimator:
    """Gives an estimator that shares tasks out each task together with its key and its weight.

    An objective that is no `TaskMean` is passed on as it is: each part has a key of its own then.

    Args:
      estimator: Splits tasks along their first axis.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> noise = mj.TaskMean(lambda w, task, key: w * jax.random.normal(key))
      >>> init, estimate = keyed(jax.value_and_grad)(noise)
      >>> tasks, key = jnp.zeros(4), jax.random.key(0)
      >>> bool(estimate(1.0, (), tasks, key)[0] == noise(1.0, tasks, key))
      True
    """

    def keyed_estimator(objective: Objective) -> Estimate:
        if not isinstance(objective, TaskMean):
            return lift(estimator)(objective)
        inner = lift(estimator)(objective.of_rows)

        def init(meta_params, tasks, key):
            # Estimators that keep nothing are begun without tasks.
            rows = None if tasks is None else objective.rows(tasks, key)
            return inner.init(meta_params, rows, key)

        def estimate(meta_params, estimator_state, tasks, key):
            return inner.estimate(meta_params, estimator_state, objective.rows(tasks, key), key)

        return Estimate(init, estimate)

    return keyed_estimator
