"""Inner trajectories that continue over outer steps, for all truncated estimators."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.types import Estimate, Objective, Params, Task, Unroll

Truncation = Callable[..., tuple[jax.Array, Any]]
"""`(meta_params, state, fresh, task, key) -> (mean loss, state)` of the next few inner steps."""


class Particles(NamedTuple):
    """A particle for each task of the meta-batch, along the first axis of every leaf.

    task: The task of the particle until its horizon.
    state: The state of the unroll, and that of the perturbations.
    position: The number of inner steps taken on the task. At 0 the particle takes the task at its
      place in the next batch, and starts anew.
    """

    task: Task
    state: Any
    position: jax.Array


def checked(name: str, objective: Objective, length: int) -> Unroll:
    """Checks that an objective is an unroll whose horizon `length` divides.

    Raises:
      ValueError: For an objective without inner steps, and for another length.
    """
    if not isinstance(objective, Unroll):
        raise ValueError(
            f"{name}: the objective hides its inner steps; give a mj.Unroll, such as "
            "mj.unroll(model, loss, optimizer, horizon=100), or an estimator that asks for a value "
            "alone, such as mj.evolution."
        )
    if length < 1 or objective.horizon % length:
        fitting = [n for n in range(1, objective.horizon + 1) if objective.horizon % n == 0]
        raise ValueError(
            f"{name}: length={length} does not divide the horizon of {objective.horizon} inner "
            f"steps; use one of {fitting}."
        )
    return objective


def truncation(unroll: Unroll, length: int) -> Truncation:
    """The next `length` inner steps, from a state or, if `fresh`, from the beginning."""

    def run(meta_params, state, fresh, task, key):
        init_key, step_key = jax.random.split(key)
        begun = unroll.init(meta_params, task, init_key)

        def step(state, key):
            return unroll.advance(meta_params, state, task, key)

        keys = jax.random.split(step_key, length)
        state, losses = jax.lax.scan(step, where(fresh, begun, state), keys)
        return jnp.mean(losses), state

    return run


def particles(
    unroll: Unroll,
    length: int,
    staggered: bool,
    start: Callable[[Params, Task, jax.Array], Any],
    estimate: Callable[..., tuple[jax.Array, Params, Any]],
) -> Estimate:
    """The estimate that keeps particles and moves each by `length` inner steps.

    Args:
      unroll: Its horizon says when a particle starts anew.
      length: The number of inner steps in a truncation.
      staggered: Spread the first positions over the horizon.
      start: `(meta_params, task, key) -> state` of one particle.
      estimate: `(meta_params, states, fresh, tasks, keys) -> (value, gradient, states)` of all.
    """

    def init(meta_params, tasks, key):
        if tasks is None or key is None:
            raise ValueError(
                "outer_step: this estimator keeps inner states between outer steps and starts them on "
                "tasks. Call init(meta_params, tasks, key) with a first batch of tasks."
            )
        meta_batch = checks.batch_size(tasks)
        keys = jax.random.split(key, meta_batch)
        states = jax.vmap(start, in_axes=(None, 0, 0))(meta_params, tasks, keys)
        truncations = unroll.horizon // length
        first = jnp.arange(meta_batch) * truncations // meta_batch
        return Particles(tasks, states, length * first * staggered)

    def move(meta_params, estimator_state, tasks, key):
        current, states, position = estimator_state
        fresh = position == 0
        tasks = jax.vmap(where)(fresh, tasks, current)
        keys = jax.random.split(key, len(position))
        value, gradient, states = estimate(meta_params, states, fresh, tasks, keys)
        return value, gradient, Particles(tasks, states, (position + length) % unroll.horizon)

    return Estimate(init, move)


def pair(run: Truncation, sigma: float) -> Callable[..., tuple[jax.Array, jax.Array, Any]]:
    """A truncation under a perturbation and its opposite, with common random numbers.

    Returns:
      `(meta_params, noise, states, fresh, task, key) -> (mean of both losses, slope, states)`, where
      `slope` times a perturbation is its estimate of the gradient. The first axis of `states` is of
      the two.
    """

    def both(meta_params, noise, states, fresh, task, key):
        def one(sign, state):
            return run(optax.tree.add_scale(meta_params, sign, noise), state, fresh, task, key)

        (above, below), states = jax.vmap(one)(jnp.array([1.0, -1.0]), states)
        return (above + below) / 2, (above - below) / (2 * sigma**2), states

    return both


def over_pairs(of_pair: Callable[..., tuple[jax.Array, Params, Any]], num_pairs: int) -> Any:
    """The mean over particles and their pairs, each with a state of its own.

    Args:
      of_pair: `(meta_params, state, fresh, task, key) -> (value, gradient, state)`.
      num_pairs: The number of pairs of every particle.
    """
    of_particle = jax.vmap(of_pair, in_axes=(None, 0, None, None, 0))

    def estimate(meta_params, states, fresh, tasks, keys):
        keys = jax.vmap(lambda key: jax.random.split(key, num_pairs))(keys)
        each = jax.vmap(of_particle, in_axes=(None, 0, 0, 0, 0))
        values, gradients, states = each(meta_params, states, fresh, tasks, keys)
        mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=(0, 1)), gradients)
        return jnp.mean(values), mean, states

    return estimate


def where(condition: jax.Array, tree: Any, otherwise: Any) -> Any:
    """One of two trees, by a scalar."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), tree, otherwise)
