"""Estimate task by task, so that no single one of them decides an outer step."""

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.estimators.keyed import keyed
from metajax.estimators.lift import lift
from metajax.inner import shortened
from metajax.types import Estimate, Estimator, Objective


def clipped(max_norm: float, estimator: Estimator = jax.value_and_grad) -> Estimator:
    """Shortens every task's hypergradient to `max_norm` at most, then averages.

    An inner loop at the edge of stability gives a hypergradient that is thousands of times too
    long, on one task in a hundred. Clipping the average leaves its direction to that task; here the
    task counts as one of many. The estimate is biased where anything is shortened.

    Args:
      max_norm: The greatest norm of the hypergradient of one task. An infinite one is shortened to
        it as well, a nan stays one.
      estimator: Called on each task. The objective must be a mean over tasks.

    Raises:
      ValueError: Unless `max_norm` is above 0.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> init, estimate = mj.clipped(2.0)(mean)
      >>> tasks, key = jnp.array([1.0, 99.0]), jax.random.key(0)
      >>> value, gradient, _ = estimate(3.0, init(3.0, tasks, key), tasks, key)
      >>> float(value), float(gradient)  # of hypergradients 1 and 99
      (150.0, 1.5)

    Reference: Metz, Maheswaranathan, Nixon, Freeman and Sohl-Dickstein, ICML 2019, section 3, for what
    unrolled inner loops do to gradients. https://arxiv.org/abs/1810.10180
    """
    checks.positive("clipped", "max_norm", max_norm)

    def clipped_estimator(objective: Objective):
        inner = lift(estimator)(objective)

        def average(meta_params, estimator_state, tasks, key):
            def on_one(state, task, key):
                state, tasks = jax.tree.map(lambda leaf: leaf[None], (state, task))
                value, gradient, state = inner.estimate(meta_params, state, tasks, key)
                state = jax.tree.map(lambda leaf: leaf[0], state)
                return value, shortened(gradient, max_norm), state

            keys = jax.random.split(key, checks.batch_size(tasks))
            value, gradient, state = jax.vmap(on_one)(estimator_state, tasks, keys)
            mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), (value, gradient))
            return *mean, state

        return Estimate(inner.init, average)

    return keyed(clipped_estimator)
