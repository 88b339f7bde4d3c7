"""Estimate task by task, so that no single one of them decides an outer step."""

import jax
import jax.numpy as jnp
import optax

from metajax.estimators.stateful import in_the_form_of, stateful
from metajax.types import Estimator, Objective, Stateful


def clipped(max_norm: float, estimator: Estimator = jax.value_and_grad) -> Estimator:
    """Shorten every task's hypergradient to `max_norm` at most, then average.

    An inner loop at the edge of what is stable gives a hypergradient that is thousands of times too
    long, on one task in a hundred. To clip the average leaves its direction to that task; here it
    counts as one of many. What is estimated is biased where anything is shortened.

    Args:
      max_norm: of the hypergradient of one task.
      estimator: what to call on each task. The objective must be a mean over tasks.

    Raises:
      ValueError: for a norm of 0 or less.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = lambda w, tasks, key: jnp.mean(w * tasks)
      >>> value, gradient = mj.clipped(2.0)(mean)(3.0, jnp.array([1.0, 99.0]), jax.random.key(0))
      >>> float(value), float(gradient)  # of hypergradients 1 and 99
      (150.0, 1.5)

    Reference: Metz, Maheswaranathan, Nixon, Freeman and Sohl-Dickstein, ICML 2019, section 3, for what
    unrolled inner loops do to gradients. https://arxiv.org/abs/1810.10180
    """
    if max_norm <= 0:
        raise ValueError(f"clipped: max_norm={max_norm:g}; it is above 0.")

    def clipped_estimator(objective: Objective):
        estimate = estimator(objective)
        keeps = stateful(estimate)

        def average(meta_params, estimator_state, tasks, key):
            def on_one(state, task, key):
                state, tasks = jax.tree.map(lambda leaf: leaf[None], (state, task))
                value, gradient, state = keeps.estimate(meta_params, state, tasks, key)
                norm = optax.tree.norm(gradient)
                scale = max_norm / jnp.maximum(norm, max_norm)
                gradient = jax.tree.map(lambda leaf: scale.astype(leaf.dtype) * leaf, gradient)
                return value, gradient, jax.tree.map(lambda leaf: leaf[0], state)

            meta_batch = jax.tree.leaves(tasks)[0].shape[0]
            keys = jax.random.split(key, meta_batch)
            value, gradient, state = jax.vmap(on_one)(estimator_state, tasks, keys)
            mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), (value, gradient))
            return *mean, state

        return in_the_form_of(estimate, Stateful(keeps.init, average))

    return clipped_estimator
