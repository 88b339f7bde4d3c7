"""Truncated evolution strategies."""

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.estimators.evolution import check_pairs, gaussian
from metajax.estimators.particles import checked, pair, particles, truncation
from metajax.types import Estimator, Objective


def truncated_evolution(
    length: int, num_pairs: int, sigma: float, *, staggered: bool = True
) -> Estimator:
    """Evolution strategies on truncations of an unroll, all from one unperturbed trajectory.

    It is biased as `truncated_backprop` is, and needs no derivative.

    Args:
      length: The number of inner steps in an outer step; it divides the horizon.
      num_pairs: Perturbations of each task, each taken in both directions.
      sigma: Standard deviation of the perturbations.
      staggered: Spread the tasks' positions over the horizon, so that not all start at once. The
        first horizon of some tasks is then shorter.

    Returns:
      An estimator of a `mj.Unroll`; its state holds the inner states.

    Raises:
      ValueError: For no pair, or unless `sigma` is above 0; for an objective without inner steps, and
        for a length that does not divide the horizon.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> walk = mj.Unroll(  # theta is added in each step, and each state is a loss: 1 and 2 of it
      ...     lambda theta, task, key: jnp.zeros(()),
      ...     lambda theta, state, task, key: (state + theta, state + theta), horizon=2)
      >>> init, estimate = map(jax.jit, mj.truncated_evolution(1, 10_000, 0.1, staggered=False)(walk))
      >>> theta, task, key = jnp.array(3.0), jnp.zeros(1), jax.random.key(0)
      >>> _, _, state = estimate(theta, init(theta, task, key), task, key)
      >>> _, second, state = estimate(theta, state, task, key)
      >>> round(float(second), 1)  # where the derivative is 2
      1.0

    Reference: Vicol, Metz and Sohl-Dickstein, ICML 2021. https://arxiv.org/abs/2112.13835
    """
    length = checks.count("truncated_evolution", "length", length)
    check_pairs("truncated_evolution", num_pairs, sigma)

    def estimator(objective: Objective):
        unroll = checked("truncated_evolution", objective, length)
        run = truncation(unroll, length)
        both = pair(run, sigma)

        def of_particle(meta_params, state, fresh, task, key):
            noise_key, run_key = jax.random.split(key)
            twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)

            def of_pair(noise_key):
                noise = gaussian(noise_key, meta_params, sigma)
                value, slope, _ = both(meta_params, noise, twice, fresh, task, run_key)
                return value, optax.tree.scale(slope, noise)

            each = jax.vmap(of_pair)(jax.random.split(noise_key, num_pairs))
            value, gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)
            _, state = run(meta_params, state, fresh, task, run_key)
            return value, gradient, state

        def estimate(*arguments):
            *each, states = jax.vmap(of_particle, in_axes=(None, 0, 0, 0, 0))(*arguments)
            value, gradient = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), each)
            return value, gradient, states

        return particles(unroll, length, staggered, unroll.init, estimate)

    return estimator
