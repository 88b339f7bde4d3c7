"""Baselines of learned optimisers: hand-made ones, each at the best rate of a grid."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax import checks
from metajax.learners.from_scratch import FromScratchParams, from_scratch
from metajax.objectives import query_loss
from metajax.optimizers.problems import Problem
from metajax.types import Optimizer

RATES = tuple(float(rate) for rate in np.logspace(-4, 2, 37))
"""Six rates per decade, from 0.0001 to 100."""

BASELINES: dict[str, Callable[..., Optimizer]] = {
    "SGD": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "Adam": optax.adam,
    "NAdamW": optax.nadamw,
}


class Tuned(NamedTuple):
    """The best rate, and the mean loss at every rate of the grid; inf where training diverged."""

    rate: float
    rates: tuple[float, ...]
    losses: np.ndarray


def tuned(
    make: Callable[..., Optimizer],
    problem: Problem,
    num_steps: int,
    *,
    key: jax.Array,
    num_tasks: int = 64,
    rates: tuple[float, ...] = RATES,
) -> Tuned:
    """Finds the learning rate with which an optimiser reaches the lowest query loss.

    Args:
      make: A rate to an optax transformation; see `BASELINES`.
      problem: The problems to tune on: validation tasks, never those that are reported.
      num_steps: Number of steps after which the loss is taken, from a fresh start.
      key: The key of the tasks; all rates see the same ones.
      num_tasks: Number of tasks that the loss is averaged over.
      rates: The grid, in increasing order. It is too narrow if the best rate is at either end.

    Raises:
      ValueError: If no rate gives a finite loss.

    Example:
      >>> import jax, optax, metajax as mj
      >>> found = mj.optimizers.tuned(optax.sgd, mj.problems.quadratics(2), 5, num_tasks=4,
      ...                             key=jax.random.key(0), rates=(1e-4, 0.3, 1e4))
      >>> found.rate
      0.3
    """
    num_steps = checks.count("tuned", "num_steps", num_steps, least=0)
    num_tasks = checks.count("tuned", "num_tasks", num_tasks)
    tasks_key, adapt_key = jax.random.split(key)
    tasks = jax.vmap(problem.sample)(jax.random.split(tasks_key, num_tasks))

    @jax.jit
    def losses(rates, tasks):
        def loss(rate):
            learner = from_scratch(problem.model, problem.loss, make(rate), num_steps)
            return query_loss(learner, problem.loss)(FromScratchParams(), tasks, adapt_key)

        return jax.lax.map(loss, rates)

    found = np.asarray(losses(jnp.asarray(rates), tasks))
    found = np.where(np.isfinite(found), found, np.inf)
    if not np.isfinite(found).any():
        raise ValueError(
            f"tuned: no rate of {rates[0]:g} to {rates[-1]:g} gives a finite loss after {num_steps} "
            "steps. Give lower rates."
        )
    return Tuned(rates[int(np.argmin(found))], tuple(rates), found)
