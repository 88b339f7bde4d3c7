"""The one form of an estimator, for those that keep nothing between outer steps as well."""

from metajax.types import Estimate, Estimator, Objective


def lift(estimator: Estimator) -> Estimator:
    """Returns the estimator in the form `objective -> (init, estimate)`.

    Args:
      estimator: One of that form, or one shaped like `jax.value_and_grad`.

    Example:
      >>> import jax
      >>> init, estimate = lift(jax.value_and_grad)(lambda w, tasks, key: w**2)
      >>> estimate(3.0, init(3.0, (), ()), (), ())
      (Array(9., dtype=float32, weak_type=True), Array(6., dtype=float32, weak_type=True), ())
    """

    def lifted(objective: Objective) -> Estimate:
        found = estimator(objective)
        if isinstance(found, tuple):
            return Estimate(*found)

        def estimate(meta_params, estimator_state, tasks, key):
            return *found(meta_params, tasks, key), estimator_state

        return Estimate(lambda meta_params, tasks, key: (), estimate)

    return lifted
