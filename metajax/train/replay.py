"""One outer step of a run again: its tasks, its numbers, and its inner loop step by step."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.files import DamagedError
from metajax.masks import filled, mean_loss
from metajax.outer import outer_step
from metajax.train import advance, checkpoint, feed, guard
from metajax.train.fault import first_not_finite
from metajax.train.loop import first_state
from metajax.trees import as_pytree
from metajax.types import (
    Estimator,
    Learner,
    Loss,
    Objective,
    Optimizer,
    Params,
    Sample,
    Task,
    TrainState,
)


class Replayed(NamedTuple):
    """An outer step that was taken again.

    step: Which; an earlier one than was asked for if that is where the run stops.
    state: Before it.
    tasks: Its batch, and `keys` those of the tasks' adaptation.
    loss, gradient_norm: As the run had them.
    good: Whether the run would have kept the state after it.
    array: The path of the first array after it that is not finite; None where all are.
    """

    step: int
    state: TrainState
    tasks: Task
    keys: jax.Array
    loss: float
    gradient_norm: float
    good: bool
    array: str | None


class InnerLoop(NamedTuple):
    """Numbers after each inner step, `(num_steps + 1, meta_batch)`; without an inner loop `(1, meta_batch)`.

    support_loss, query_loss: Means over the examples that exist.
    norm: The norm of all that is adapted.
    change: The norm of what the step changed; 0 before the first.
    """

    support_loss: np.ndarray
    query_loss: np.ndarray
    norm: np.ndarray
    change: np.ndarray


def replay(
    learner: Learner,
    objective: Objective,
    optimizer: Optimizer,
    sample: Sample,
    *,
    key: jax.Array,
    meta_batch: int,
    estimator: Estimator,
    run_dir: Path,
    step: int,
) -> Replayed:
    """Takes an outer step of a run again, from the newest whole checkpoint before it.

    Args:
      learner, objective, optimizer, sample, key, meta_batch, estimator: As the run had them.
      run_dir: The folder of the run, in which nothing is written.
      step: The outer step.

    Raises:
      ValueError: For a checkpoint that does not fit.
    """
    tasks = feed.Drawn(as_pytree(sample), meta_batch)
    init_key, step_key, check_key = jax.random.split(key, 3)
    init, update = outer_step(objective, optimizer, estimator)

    def begin(init_key):
        return first_state(learner, objective, init, tasks, init_key, check_key)

    state = _before(run_dir / "checkpoints", jax.eval_shape(begin, init_key), step)
    state = jax.jit(begin)(init_key) if state is None else state
    carry = advance.begin(state, advance.Window())
    program = advance.compiled(update, tasks, step_key, carry)
    carry = program(carry, step)
    reached = int(carry.state.step)
    batch, update_key = program.batch(reached)
    new, metrics = update(carry.state, batch, update_key)
    return Replayed(
        reached,
        carry.state,
        batch,
        jax.random.split(update_key, meta_batch),
        metrics.loss.item(),
        metrics.gradient_norm.item(),
        bool(guard.is_good(carry.state, new, metrics)),
        first_not_finite(new.meta_params) or first_not_finite(new.opt_state),
    )


def _before(folder: Path, like: TrainState, step: int) -> TrainState | None:
    """The newest whole checkpoint that is not after a step."""
    for found in checkpoint.steps(folder):
        if found <= step:
            try:
                return checkpoint.restore(folder, like, found)
            except DamagedError:
                continue
    return None


def inner_loop(
    learner: Learner, loss: Loss, meta_params: Params, tasks: Task, keys: jax.Array
) -> InnerLoop:
    """Follows the inner loop of each task of a batch.

    Args:
      learner: Adapted with 0, 1, ... steps, or once where it has no inner loop.
      loss: One value per example.
      meta_params: Where it begins.
      tasks: A batch, and `keys` one for each.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.maml(line, mj.mse, optax.sgd(0.25), num_steps=1)
      >>> one = jnp.ones((1, 1))
      >>> tasks = mj.Task(support=mj.Examples(one, 3 * one), query=mj.Examples(one, one))
      >>> found = inner_loop(learner, mj.mse, jnp.zeros(()), tasks, jax.random.split(jax.random.key(0), 1))
      >>> found.norm.tolist(), found.query_loss.tolist()
      ([[0.0], [1.5]], [[1.0], [0.25]])
    """
    numbers = [None] if learner.num_steps is None else range(_most(learner.num_steps) + 1)
    before: Any = None
    rows = []
    for number in numbers:
        options = {} if number is None else {"num_steps": number}

        def follow(meta_params, task, key, options=options):
            adapted = learner.adapt(meta_params, task.support, key, **options)
            losses = (
                mean_loss(loss, learner.predict(adapted, part.x), part)
                for part in map(filled, task)
            )
            return adapted, *losses

        adapted, support, query = jax.jit(jax.vmap(follow, in_axes=(None, 0, 0)))(
            meta_params, tasks, keys
        )
        change = jnp.zeros(len(keys)) if before is None else _norms(_minus(adapted, before))
        rows.append([support, query, _norms(adapted), change])
        before = adapted
    return InnerLoop(*(np.stack([np.asarray(row[i]) for row in rows]) for i in range(4)))


def _most(num_steps: Any) -> int:
    return max(num_steps) if isinstance(num_steps, tuple) else int(num_steps)


def _minus(new: Any, old: Any) -> Any:
    return [n - o for n, o in zip(_numbers(new), _numbers(old), strict=True)]


def _numbers(tree: Any) -> list[jax.Array]:
    return [
        leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]


def _norms(adapted: Any) -> jax.Array:
    return jax.vmap(optax.tree.norm)(_numbers(adapted))
