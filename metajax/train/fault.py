"""Why an outer step was not finite: which task, which array, bad data or a diverged inner loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.objectives import Annealed, TaskMean
from metajax.train.diagnosis import at_step, each, existing, not_finite
from metajax.train.feed import ONCE
from metajax.trees import named_leaves
from metajax.types import Learner, Objective, Task, TrainState

_RATES = "Lower the inner or outer rate, or clip with optax.clip_by_global_norm."
_ALONE = "the array"
"""The path of an array that is the whole tree."""
_FIRST = "No outer step was taken before: look at the model, the loss and the inner rate."


class Fault(NamedTuple):
    """What made an outer step not finite.

    sentence: Why, and what to change.
    task: The index of the first offending task in its batch; None if it is not known.
    leaf: The path of the first array that is not finite, such as `head/kernel`; None likewise.
    """

    sentence: str
    task: int | None = None
    leaf: str | None = None


def find(
    learner: Learner,
    objective: Objective | Annealed,
    update: Callable,
    state: TrainState,
    tasks: Task,
    key: jax.Array,
    loss: float,
    norm: float,
) -> Fault:
    """Looks for the fault of an outer step from `state` on `tasks`, outside of the compiled loop."""
    if np.isfinite(loss) and np.isfinite(norm):
        leaf = _of_update(update, state, tasks, key)
        return Fault(
            "The loss and its gradient are finite, but the optimiser's update"
            f"{f' of {leaf}' if leaf not in (None, _ALONE) else ''} is not: look at its learning rate.",
            leaf=leaf,
        )
    advice = _FIRST if int(state.step) == 0 else _RATES
    try:
        return _of_tasks(learner, objective, state, tasks, key, loss, advice)
    except Exception:  # an objective may want the whole batch, and this is advice alone
        return Fault(advice)


def _of_tasks(learner, objective, state, tasks, key, loss, advice) -> Fault:
    """The fault of the first task whose loss, or else whose gradient, is not finite."""
    of_task = _objective_of_task(at_step(objective, state.step), objective)
    value = jax.jit(of_task, compiler_options=ONCE)
    size = jax.tree.leaves(tasks)[0].shape[0]
    shared = not isinstance(objective, TaskMean)  # which gives a key to each task
    keys = [key] * size if shared else jax.random.split(key, size)
    for i, task in enumerate(each(tasks, size)):
        found = float(value(state.meta_params, task, keys[i]))
        if np.isfinite(found):
            continue
        where = f"Task {i} of the batch"
        fault = not_finite(task) or _without_support(task)
        if fault is not None:
            return Fault(f"{where} holds {fault}: mend the data, or mask such examples.", i)
        leaf = _of_inner_loop(learner, state, task, keys[i])
        if leaf is not None:
            return Fault(
                f"{where} has loss {found}, although its data are finite: its inner loop diverged, and "
                f"{leaf} of what it adapts is not finite. Lower the inner rate, take fewer inner steps, or "
                "clip inside with mj.clip_by_global_norm.",
                i,
                leaf,
            )
        leaf = _of_gradient(of_task, state, task, keys[i])
        return Fault(f"{where} has loss {found}, although its data are finite. {advice}", i, leaf)
    if not np.isfinite(loss):
        return Fault(advice)
    for i, task in enumerate(each(tasks, size)):
        leaf = _of_gradient(of_task, state, task, keys[i])
        if leaf is not None:
            return Fault(
                f"The loss of every task is finite, but its derivative by {leaf} in task {i} of the batch is "
                f"not. {advice}",
                i,
                leaf,
            )
    return Fault(f"The loss of every task is finite, but its derivative is not. {advice}")


def _objective_of_task(now: Objective, given: Objective | Annealed) -> Callable:
    """The objective of one task without its axis."""
    if isinstance(given, TaskMean):
        return lambda meta_params, task, key: given.of_task(meta_params, task, key)
    return lambda meta_params, task, key: now(
        meta_params, jax.tree.map(lambda leaf: leaf[None], task), key
    )


def first_not_finite(tree: Any) -> str | None:
    """The path of the first array that is not finite.

    Example:
      >>> first_not_finite({"head": {"bias": np.ones(2), "kernel": np.array([np.nan])}})
      'head/kernel'
    """
    for name, leaf in named_leaves(tree, lambda leaf: leaf).items():
        inexact = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
        if inexact and not bool(jnp.all(jnp.isfinite(leaf))):
            return name or _ALONE
    return None


def _of_update(update, state, tasks, key) -> str | None:
    new, _ = update(state, tasks, key)
    return first_not_finite(new.meta_params) or first_not_finite(new.opt_state)


def _of_inner_loop(learner, state, task, key) -> str | None:
    adapt = jax.jit(
        lambda meta_params, support, key: learner.adapt(meta_params, support, key),
        compiler_options=ONCE,
    )
    if first_not_finite(state.meta_params) is not None:
        return None
    return first_not_finite(adapt(state.meta_params, task.support, key))


def _of_gradient(of_task, state, task, key) -> str | None:
    return first_not_finite(
        jax.jit(jax.grad(of_task), compiler_options=ONCE)(state.meta_params, task, key)
    )


def _without_support(task: Task) -> str | None:
    """A class of the queries that has no support example."""
    labels = [np.asarray(part.y) if hasattr(part.y, "dtype") else None for part in task]
    if any(y is None or y.ndim != 1 or y.dtype.kind not in "iu" for y in labels):
        return None
    support, query = (existing(part, part.y) for part in task)
    absent = sorted(set(query.tolist()) - set(support.tolist()))
    return f"queries of class {absent[0]} and no support example of it" if absent else None
