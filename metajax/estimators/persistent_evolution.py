"""Persistent evolution strategies (PES)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.estimators.evolution import check_pairs, gaussian
from metajax.estimators.particles import checked, over_pairs, pair, particles, truncation, where
from metajax.types import Estimator, Objective, Params


class Perturbed(NamedTuple):
    """A pair: its two inner states, and the sum of the perturbations since it started."""

    states: Any
    total: Params


def persistent_evolution(
    length: int, num_pairs: int, sigma: float, *, staggered: bool = True
) -> Estimator:
    """Persistent evolution strategies (PES): unbiased, an outer step after each truncation.

    Truncation `k` perturbs the meta-parameters by a fresh `e_k`. Its loss `L` depends on all
    perturbations since the start, so the estimate is `L (e_1 + ... + e_k) / sigma^2`. While the
    meta-parameters stay the same, it is unbiased for the gradient of the unroll smoothed by
    independent perturbations. Its variance grows with the number of truncations in the horizon.

    Args:
      length: The number of inner steps in an outer step; it divides the horizon.
      num_pairs: Perturbations of each task, each taken in both directions, with their own inner
        states.
      sigma: Standard deviation of the perturbation in a truncation.
      staggered: Spread the tasks' positions over the horizon, so that not all start at once. The
        first horizon of some tasks is then shorter.

    Returns:
      An estimator of a `mj.Unroll`; its state holds the inner states and the sums of perturbations.

    Raises:
      ValueError: For no pair, or unless `sigma` is above 0; for an objective without inner steps, and
        for a length that does not divide the horizon.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> walk = mj.Unroll(  # theta is added in each step, and each state is a loss: 1 and 2 of it
      ...     lambda theta, task, key: jnp.zeros(()),
      ...     lambda theta, state, task, key: (state + theta, state + theta), horizon=2)
      >>> init, estimate = map(jax.jit, mj.persistent_evolution(1, 30_000, 0.1, staggered=False)(walk))
      >>> theta, task, keys = jnp.array(3.0), jnp.zeros(1), jax.random.split(jax.random.key(0))
      >>> _, _, state = estimate(theta, init(theta, task, keys[0]), task, keys[0])
      >>> _, second, state = estimate(theta, state, task, keys[1])  # a key of its own
      >>> round(float(second), 1)  # as the derivative
      2.0

    Reference: Vicol, Metz and Sohl-Dickstein, ICML 2021, algorithm 2.
    https://arxiv.org/abs/2112.13835
    """
    length = checks.count("persistent_evolution", "length", length)
    check_pairs("persistent_evolution", num_pairs, sigma)

    def estimator(objective: Objective):
        unroll = checked("persistent_evolution", objective, length)
        both = pair(truncation(unroll, length), sigma)

        def start(meta_params, task, key):
            def stacked(leaf, *axes):
                return jnp.broadcast_to(leaf, (num_pairs, *axes, *jnp.shape(leaf)))

            state = unroll.init(meta_params, task, key)
            states = jax.tree.map(lambda leaf: stacked(leaf, 2), state)
            return Perturbed(states, jax.tree.map(stacked, optax.tree.zeros_like(meta_params)))

        def of_pair(meta_params, perturbed, fresh, task, key):
            noise_key, run_key = jax.random.split(key)
            noise = gaussian(noise_key, meta_params, sigma)
            before = where(fresh, optax.tree.zeros_like(noise), perturbed.total)
            total = optax.tree.add(before, noise)
            value, slope, states = both(meta_params, noise, perturbed.states, fresh, task, run_key)
            return value, optax.tree.scale(slope, total), Perturbed(states, total)

        return particles(unroll, length, staggered, start, over_pairs(of_pair, num_pairs))

    return estimator
