"""Noise-reuse evolution strategies (NRES)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.estimators.evolution import check_pairs, gaussian
from metajax.estimators.particles import checked, over_pairs, pair, particles, truncation, where
from metajax.types import Estimator, Objective, Params


class Perturbed(NamedTuple):
    """A pair: its two inner states, and the perturbation it has until its horizon."""

    states: Any
    noise: Params


def noise_reuse_evolution(
    length: int, num_pairs: int, sigma: float, *, staggered: bool = True
) -> Estimator:
    """Noise-reuse evolution strategies (NRES): unbiased, an outer step after each truncation.

    One perturbation `e` lasts from the start to the horizon, so the estimate from a truncation with
    loss `L` is `L e / sigma^2`: `evolution` on the whole unroll, in parts. While the meta-parameters
    stay the same, it is unbiased for that smoothed gradient. Its variance is below that of
    `persistent_evolution` where all truncations depend on the meta-parameters in the same way.

    Args:
      length: The number of inner steps in an outer step; it divides the horizon.
      num_pairs: Perturbations of each task, each taken in both directions, with their own inner
        states.
      sigma: Standard deviation of the perturbations.
      staggered: Spread the tasks' positions over the horizon, so that not all start at once. The
        first horizon of some tasks is then shorter.

    Returns:
      An estimator of a `mj.Unroll`; its state holds the inner states and the perturbations.

    Raises:
      ValueError: For no pair, or unless `sigma` is above 0; for an objective without inner steps, and
        for a length that does not divide the horizon.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> walk = mj.Unroll(  # theta is added in each step, and each state is a loss: 1 and 2 of it
      ...     lambda theta, task, key: jnp.zeros(()),
      ...     lambda theta, state, task, key: (state + theta, state + theta), horizon=2)
      >>> init, estimate = map(jax.jit, mj.noise_reuse_evolution(1, 10_000, 0.1, staggered=False)(walk))
      >>> theta, task, key = jnp.array(3.0), jnp.zeros(1), jax.random.key(0)
      >>> _, _, state = estimate(theta, init(theta, task, key), task, key)
      >>> _, second, state = estimate(theta, state, task, key)
      >>> round(float(second), 1)  # as the derivative
      2.0

    Reference: Li, Harrison, Sohl-Dickstein, Smith and Metz, NeurIPS 2023. https://arxiv.org/abs/2304.12180
    Also ES-Single: Vicol, Kolter and Swersky, ICML 2023. https://arxiv.org/abs/2304.11153
    """
    length = checks.count("noise_reuse_evolution", "length", length)
    check_pairs("noise_reuse_evolution", num_pairs, sigma)

    def estimator(objective: Objective):
        unroll = checked("noise_reuse_evolution", objective, length)
        both = pair(truncation(unroll, length), sigma)

        def start(meta_params, task, key):
            def of_pair(noise_key):
                twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
                return Perturbed(twice, gaussian(noise_key, meta_params, sigma))

            init_key, noise_key = jax.random.split(key)
            state = unroll.init(meta_params, task, init_key)
            return jax.vmap(of_pair)(jax.random.split(noise_key, num_pairs))

        def of_pair(meta_params, perturbed, fresh, task, key):
            noise_key, run_key = jax.random.split(key)
            noise = where(fresh, gaussian(noise_key, meta_params, sigma), perturbed.noise)
            value, slope, states = both(meta_params, noise, perturbed.states, fresh, task, run_key)
            return value, optax.tree.scale(slope, noise), Perturbed(states, noise)

        return particles(unroll, length, staggered, start, over_pairs(of_pair, num_pairs))

    return estimator
