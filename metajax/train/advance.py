"""Compiled outer steps: many in one call on tasks drawn inside, or one on each batch handed over."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.outer import Update
from metajax.train import guard
from metajax.train.feed import Drawn, Given
from metajax.train.hosts import ALONE, Hosts
from metajax.types import Metrics, Sample, Task, TrainState

GIVEN_PER_CALL = 8
"""The number of batches of an iterable that are sent to the device before the host waits for it."""


class Window(NamedTuple):
    """What the next report is made of: sums over the outer steps that the optimiser took."""

    loss: Any = 0.0
    gradient_norm: Any = 0.0
    steps: Any = 0


class Carry(NamedTuple):
    """What one outer step hands to the next.

    state: The last good state.
    window: Since the last report.
    last: What the last outer step reported, good or not.
    good: Whether it was; if not, nothing follows.
    """

    state: TrainState
    window: Window
    last: Metrics
    good: jax.Array


def begin(state: TrainState, window: Window) -> Carry:
    """The first carry, copied: the loop gives its buffers away, and an optimiser may hold one twice."""
    zero = jnp.zeros((), float)
    sums = Window(
        jnp.asarray(window.loss, float),
        jnp.asarray(window.gradient_norm, float),
        jnp.asarray(window.steps, jnp.int32),
    )
    return jax.tree.map(jnp.copy, Carry(state, sums, Metrics(zero, zero), jnp.array(True)))


def _step(update: Update, carry: Carry, tasks: Task, key: jax.Array) -> Carry:
    new, metrics = update(carry.state, tasks, key)
    good = guard.is_good(carry.state, new, metrics)
    state = jax.tree.map(lambda new, old: jnp.where(good, new, old), new, carry.state)
    metrics = Metrics(*(jnp.asarray(value, float) for value in metrics))
    finite = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
    sums = jax.tree.map(
        lambda total, value: total + jnp.where(good & finite, value, 0).astype(total.dtype),
        carry.window,
        Window(*metrics, 1),
    )
    return Carry(state, sums, metrics, good)


def _keys(key: jax.Array, step: jax.Array) -> jax.Array:
    """The keys of an outer step: of its tasks, and of its update."""
    return jax.random.split(jax.random.fold_in(key, step))


def on_drawn(
    update: Update, meta_batch: int, carry: Carry, stop: Any, sample: Sample, key: jax.Array
) -> Carry:
    """Outer steps up to `stop`: one program for any number of them, so that bits do not depend on it."""

    def unfinished(carry):
        return (carry.state.step < stop) & carry.good

    def step(carry):
        task_key, update_key = _keys(key, carry.state.step)
        tasks = jax.vmap(sample)(jax.random.split(task_key, meta_batch))
        return _step(update, carry, tasks, update_key)

    return jax.lax.while_loop(unfinished, step, carry)


def _on_given(update: Update, carry: Carry, tasks: Task, key: jax.Array) -> Carry:
    """One outer step; none after one that was not good."""
    _, update_key = _keys(key, carry.state.step)
    return jax.lax.cond(
        carry.good,
        lambda carry: _step(update, carry, tasks, update_key),
        lambda carry: carry,
        carry,
    )


class DrawnProgram:
    """The compiled outer steps of a source.

    jaxpr: The program.
    ended: False; a source never ends.
    update: One outer step.
    """

    ended = False

    def __init__(self, update: Update, tasks: Drawn, key: jax.Array, carry: Carry, among: Hosts):
        tasks = tasks._replace(sample=among.everywhere(tasks.sample))
        self._tasks, self._key, self.update = tasks, key, update
        function = partial(on_drawn, update, tasks.meta_batch)
        traced = jax.jit(function, donate_argnums=0).trace(carry, jnp.int32(0), tasks.sample, key)
        self._compiled = traced.lower().compile()
        self.jaxpr = traced.jaxpr

    def __call__(self, carry: Carry, stop: int) -> Carry:
        """Goes on to outer step `stop`, or to one that is not good; takes the buffers of `carry`."""
        return self._compiled(carry, jnp.int32(stop), self._tasks.sample, self._key)

    def batch(self, step: int) -> tuple[Task, jax.Array]:
        """The tasks of an outer step, and the key of its update."""
        task_key, update_key = _keys(self._key, jnp.int32(step))
        return self._tasks.batch(task_key), update_key

    def task_key(self, step: int, task: int) -> jax.Array:
        """The key that the source drew a task of an outer step from."""
        task_key, _ = _keys(self._key, jnp.int32(step))
        return jax.random.split(task_key, self._tasks.meta_batch)[task]


class GivenProgram:
    """The compiled outer steps of an iterable, which may hold batches of several shapes.

    jaxpr: The program on the first batch.
    ended: Whether the iterable has no more batches.
    update: One outer step.
    """

    def __init__(self, update: Update, tasks: Given, key: jax.Array, carry: Carry, among: Hosts):
        self._key, self.ended, self.update = key, False, update
        self._joined = partial(tasks.joined, among)
        self._batches = map(self._joined, tasks.batches(int(carry.state.step)))
        self._recent: dict[int, Task] = {}
        self._advance = jax.jit(partial(_on_given, update), donate_argnums=0)
        self._compiled: dict[Any, Any] = {}
        self.jaxpr = self._program(carry, self._joined(tasks.first(key))).jaxpr

    def _program(self, carry: Carry, tasks: Task) -> Any:
        leaves, tree = jax.tree.flatten(tasks)
        kind = tree, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        if kind not in self._compiled:
            traced = self._advance.trace(carry, tasks, self._key)
            self._compiled[kind] = _Traced(traced.jaxpr, traced.lower().compile())
        return self._compiled[kind]

    def __call__(self, carry: Carry, stop: int) -> Carry:
        """Goes on to outer step `stop`, or a few batches, or to one that is not good."""
        done, self._recent = int(carry.state.step), {}
        for step in range(done, min(stop, done + GIVEN_PER_CALL)):
            batch = next(self._batches, None)
            if batch is None:
                self.ended = True
                break
            self._recent[step] = batch
            carry = self._program(carry, batch).compiled(carry, batch, self._key)
        return carry

    def batch(self, step: int) -> tuple[Task, jax.Array]:
        """The tasks of an outer step of the last call, and the key of its update."""
        return self._recent[step], _keys(self._key, jnp.int32(step))[1]

    def task_key(self, step: int, task: int) -> None:
        """None; an iterable hands tasks over without keys."""


class _Traced(NamedTuple):
    jaxpr: Any
    compiled: Any


def compiled(
    update: Update,
    tasks: Drawn | Given,
    key: jax.Array,
    carry: Carry,
    among: Hosts = ALONE,
) -> DrawnProgram | GivenProgram:
    """The program of a feed, in each of the processes that train."""
    if isinstance(tasks, Drawn):
        return DrawnProgram(update, tasks, key, carry, among)
    return GivenProgram(update, tasks, key, carry, among)
