"""A gradient from differences of values along random directions: evolution strategies."""

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.types import Estimate, Estimator, Objective, Params


def check_pairs(name: str, num_pairs: int, sigma: float) -> None:
    """Checks the number and the size of perturbations.

    Raises:
      ValueError: For no pair, or unless `sigma` is above 0.
    """
    checks.count(name, "num_pairs", num_pairs)
    checks.positive(name, "sigma", sigma)


def gaussian(key: jax.Array, like: Params, sigma: float) -> Params:
    """Independent normal noise of deviation `sigma`, in the tree of `like`."""
    return optax.tree.scale(sigma, optax.tree.random_like(key, like))


def evolution(num_pairs: int, sigma: float) -> Estimator:
    """Evolution strategies with antithetic pairs, which need no derivative.

    An unbiased estimate of the gradient of the objective smoothed by a Gaussian of deviation
    `sigma`. Its variance grows with the number of meta-parameters and falls with `num_pairs`.

    Args:
      num_pairs: Number of perturbations, each taken in both directions; all are evaluated together.
      sigma: Standard deviation of the perturbations.

    Returns:
      An estimator whose value is the mean over all evaluations: the smoothed objective.

    Raises:
      ValueError: For no pair, or unless `sigma` is above 0.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = lambda w, tasks, key: 3 * w  # on a line one pair is exact but for its length
      >>> init, estimate = mj.evolution(10_000, 0.1)(line)
      >>> _, gradient, _ = estimate(jnp.zeros(()), (), None, jax.random.key(0))
      >>> round(float(gradient), 1)
      3.0

    Reference: Salimans, Ho, Chen, Sidor and Sutskever, 2017, section 2. https://arxiv.org/abs/1703.03864
    """
    check_pairs("evolution", num_pairs, sigma)

    def evolution_estimator(objective: Objective):
        def estimate(meta_params, estimator_state, tasks, key):
            def of_pair(pair_key):
                noise_key, objective_key = jax.random.split(pair_key)
                noise = gaussian(noise_key, meta_params, sigma)

                def moved(sign):
                    there = optax.tree.add_scale(meta_params, sign, noise)
                    return objective(there, tasks, objective_key)

                above, below = jax.vmap(moved)(jnp.array([1.0, -1.0]))
                slope = (above - below) / (2 * sigma**2)
                return (above + below) / 2, optax.tree.scale(slope, noise)

            values, gradients = jax.vmap(of_pair)(jax.random.split(key, num_pairs))
            mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), gradients)
            return jnp.mean(values), mean, estimator_state

        return Estimate(lambda meta_params, tasks, key: (), estimate)

    return evolution_estimator
