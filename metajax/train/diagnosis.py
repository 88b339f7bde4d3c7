"""Why a loss is not a number: nan in the data, labels out of range, classes without support."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metajax.objectives import Annealed
from metajax.rewriting.program import replaced_in
from metajax.train.feed import ONCE
from metajax.types import Examples, Learner, Objective, Params, Task

_FEW = 8
"""The number of tasks that are looked at before training."""


def check_tasks(
    learner: Learner,
    objective: Objective | Annealed,
    meta_params: Params,
    tasks: Task,
    key: jax.Array,
) -> None:
    """Checks a first batch of tasks against the model and its loss, before training.

    Labels that a model has no outputs for, and numbers that are not finite, are no fault in
    themselves: counts, ordinal targets and masks have them. So the objective decides. They are a
    fault if it is nan, or the same for every label that is out of range. Nothing is compiled unless
    there are any.

    Raises:
      ValueError: Naming what is at fault, and for an objective that is no scalar.
    """
    objective = at_step(objective, jnp.int32(0))
    _check_scalar(objective, meta_params, tasks, key)
    loss = jax.jit(objective, compiler_options=ONCE)
    way = _outputs(learner, meta_params, tasks, key)
    for task in each(tasks, _FEW):
        beyond, below = _labels(task, way)
        fault = not_finite(task)
        if not beyond and not below and fault is None:
            continue
        batch = jax.tree.map(lambda leaf: leaf[None], task)
        value = float(loss(meta_params, batch, key))
        if fault is not None and not np.isfinite(value):
            raise ValueError(
                f"fit: the tasks hold {fault}, and the loss of the untrained model is {value}. Mend the "
                "data, or mask such examples with mj.Examples(x, y, mask)."
            )
        if way is None or not (beyond or below):
            continue
        # A head that starts at zeros has one loss for all classes, so it is asked beside its start.
        beside = nudged(meta_params, key)
        value = float(loss(beside, batch, key))
        if not np.isnan(value) and all(
            float(loss(beside, other, key)) != value for other in _other(batch, way)
        ):
            continue  # the loss reads them as numbers, or as classes it knows
        if beyond:
            raise ValueError(
                f"fit: the model gives {way} outputs for a query and the source draws {beyond + 1}-way "
                f"tasks; give the model {beyond + 1} outputs, for example mj.conv4(way={beyond + 1})."
            )
        raise ValueError(
            f"fit: the tasks hold label {below}; labels must be in 0 .. {way - 1}. Mask examples that do "
            "not exist with mj.Examples(x, y, mask)."
        )


def at_step(objective: Objective | Annealed, step: jax.Array) -> Objective:
    """The objective of an outer step as a plain function, which JAX can refer to weakly."""
    now = objective.at(step) if isinstance(objective, Annealed) else objective
    return lambda meta_params, tasks, key: now(meta_params, tasks, key)


def nudged(params: Params, key: jax.Array) -> Params:
    """Parameters with a little noise on their numbers."""
    leaves, structure = jax.tree.flatten(params)

    def moved(leaf, key):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return leaf + 0.01 * jax.random.normal(key, jnp.shape(leaf), jnp.result_type(leaf))

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, map(moved, leaves, keys))


def _check_scalar(objective: Objective, meta_params: Params, tasks: Task, key: jax.Array) -> None:
    value = jax.eval_shape(objective, meta_params, tasks, key)
    if getattr(value, "shape", None) != ():
        raise ValueError(
            "fit: objective(meta_params, tasks, key) must return a scalar, the mean over tasks, but it "
            f"returned {value}."
        )


def _outputs(learner: Learner, meta_params: Params, tasks: Task, key: jax.Array) -> int | None:
    """The outputs for a label, if the predictions are an array with one more axis than the labels."""
    labels = tasks.query.y
    if not (hasattr(labels, "dtype") and jnp.issubdtype(labels.dtype, jnp.integer)):
        return None
    found = jax.eval_shape(partial(untrained, learner), meta_params, tasks, key)
    classes = hasattr(found, "shape") and found.shape[:-1] == labels.shape[1:]
    return found.shape[-1] if classes and found.shape[-1] > 1 else None


def replaced(learner: Learner, meta_params: Params, tasks: Task) -> Mapping[str, int]:
    """What `fast` replaced in the model of a learner, as far as its prediction of a task shows."""
    task = jax.tree.map(lambda leaf: leaf[0], tasks)
    adapted = jax.eval_shape(learner.adapt, meta_params, task.support, jax.random.key(0))
    return replaced_in(jax.make_jaxpr(learner.predict)(adapted, task.query.x).jaxpr)


def untrained(learner: Learner, meta_params: Params, tasks: Task, key: jax.Array) -> Any:
    """The predictions of the first task, for their shapes or their program."""
    support, query = jax.tree.map(lambda leaf: leaf[0], tasks)
    return learner.predict(learner.adapt(meta_params, support, key), query.x)


def each(tasks: Task, number: int) -> Iterator[Task]:
    """Yields the first tasks of a batch, on the host."""
    size = jax.tree.leaves(tasks)[0].shape[0]

    def on_host(leaf):
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf[:number] if key else np.asarray(leaf[:number])

    first = jax.tree.map(on_host, tasks)
    for i in range(min(number, size)):
        yield jax.tree.map(lambda leaf, i=i: leaf[i], first)


def _labels(task: Task, way: int | None) -> tuple[int, int]:
    """The greatest label beyond `way` outputs and the least below 0, of examples that exist; else 0."""
    if way is None:
        return 0, 0
    found = [existing(part, part.y).ravel() for part in task]
    labels = np.concatenate([*found, np.zeros(1, int)])
    greatest = int(labels.max())
    return greatest if greatest >= way else 0, int(labels.min())


def existing(examples: Examples, leaf: Any) -> np.ndarray:
    """The rows of an array whose examples are not masked."""
    return leaf if examples.mask is None else leaf[np.asarray(examples.mask, bool)]


def _other(batch: Task, way: int) -> Iterator[Task]:
    """The batch with its labels out of range further out, and taken round: to a loss of classes the same."""

    def changed(change):
        def of(part):
            y = np.asarray(part.y)
            return part._replace(y=np.where((y < 0) | (y >= way), change(y), y).astype(y.dtype))

        return Task(*map(of, batch))

    yield changed(lambda y: np.where(y < 0, y - 1, y + 1))
    yield changed(lambda y: y % way)


def not_finite(task: Task) -> str | None:
    """Which numbers of a task are not finite, of examples that exist."""
    for name, part in zip(Task._fields, task, strict=True):
        for field in ("x", "y"):
            for path, leaf in jax.tree.leaves_with_path(getattr(part, field)):
                values = existing(part, leaf)
                if not jnp.issubdtype(values.dtype, jnp.inexact):
                    continue
                values = values.astype(float) if values.dtype.kind == "V" else values
                if not np.all(np.isfinite(values)):
                    kind = "nan" if np.any(np.isnan(values)) else "infinities"
                    inner = jax.tree_util.keystr(path, simple=True, separator="/")
                    return f"{kind} in {name}.{field}{'/' if inner else ''}{inner}"
    return None
