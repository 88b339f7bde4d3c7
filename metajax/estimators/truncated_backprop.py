"""Truncated backpropagation through time (TBPTT)."""

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.estimators.particles import checked, particles, truncation
from metajax.types import Estimator, Objective


def truncated_backprop(length: int, *, staggered: bool = True) -> Estimator:
    """Backpropagates through truncations of an unroll, with an outer step after each: TBPTT.

    It is cheap and has a low variance, but is biased: the effect of the meta-parameters on the state
    before the truncation is ignored. With the whole horizon as length it is exact.

    Args:
      length: The number of inner steps in an outer step; it divides the horizon.
      staggered: Spread the tasks' positions over the horizon, so that not all start at once. The
        first horizon of some tasks is then shorter.

    Returns:
      An estimator of a `mj.Unroll`; its state holds the inner states.

    Raises:
      ValueError: For an objective without inner steps, and for a length that does not divide the
        horizon.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> walk = mj.Unroll(  # theta is added in each step, and each state is a loss: 1 and 2 of it
      ...     lambda theta, task, key: jnp.zeros(()),
      ...     lambda theta, state, task, key: (state + theta, state + theta), horizon=2)
      >>> init, estimate = mj.truncated_backprop(1, staggered=False)(walk)
      >>> task, key = jnp.zeros(1), jax.random.key(0)
      >>> _, first, state = estimate(3.0, init(3.0, task, key), task, key)
      >>> _, second, state = estimate(3.0, state, task, key)
      >>> float(first), float(second)  # where the derivatives are 1 and 2
      (1.0, 1.0)

    Reference: Werbos, 1990; of learned optimisers, Metz et al., ICML 2019, section 3.
    https://arxiv.org/abs/1810.10180
    """

    length = checks.count("truncated_backprop", "length", length)

    def estimator(objective: Objective):
        unroll = checked("truncated_backprop", objective, length)
        run = jax.vmap(truncation(unroll, length), in_axes=(None, 0, 0, 0, 0))

        def loss(*arguments):
            losses, states = run(*arguments)
            return jnp.mean(losses), states

        def estimate(*arguments):
            (value, states), gradient = jax.value_and_grad(loss, has_aux=True)(*arguments)
            return value, gradient, states

        return particles(unroll, length, staggered, unroll.init, estimate)

    return estimator
