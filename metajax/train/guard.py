"""What ends a run early: numbers that are not finite, tasks that run out, and signals."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metajax.types import Metrics, TrainState


class _StoppedError(Exception):
    """A run that ended early; `state` is the last good one."""

    def __init__(self, message: str, state: TrainState):
        """Keeps the state with the message."""
        super().__init__(message)
        self.state = state

    def __reduce__(self):
        """Is pickled with its state, so that it passes between processes."""
        return type(self), (str(self), self.state)


class NonFiniteError(_StoppedError, ArithmeticError):
    """An outer step gave numbers that are not finite; `state` is the last state that was."""


class TasksEndedError(_StoppedError, ValueError):
    """An iterable of batches ended before `outer_steps`; `state` is the one reached."""


def is_good(old: TrainState, new: TrainState, metrics: Metrics) -> jax.Array:
    """Whether the state after an outer step is kept.

    It is kept if no number of the meta-parameters or of the optimiser's state has stopped being
    finite, and if the loss and its gradient are finite. The exception: where `optax.apply_if_finite`,
    `optax.zero_nans` or `optax.MultiSteps` dealt with such a gradient, the run goes on.
    """
    signal = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
    # An optimiser may begin with infinities, such as a best value so far.
    stays = _stays_finite((old.meta_params, old.opt_state), (new.meta_params, new.opt_state))
    return stays & (signal | _rejected(new.opt_state))


def _stays_finite(old: Any, new: Any) -> jax.Array:
    good = jnp.array(True)
    for before, after in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        if jnp.issubdtype(jnp.result_type(after), jnp.inexact):
            good &= jnp.all(jnp.isfinite(after) | ~jnp.isfinite(before))
    return good


def _rejected(opt_state: Any) -> jax.Array:
    """Whether a part of an optimiser that is there for it has dealt with nan in the last gradient."""

    def of(node: Any) -> list[Any]:
        if isinstance(node, optax.ApplyIfFiniteState):
            return [~node.last_finite]
        if isinstance(node, optax.ZeroNansState):
            return jax.tree.leaves(node.found_nan)
        skip: Any = node.skip_state if isinstance(node, optax.MultiStepsState) else ()
        if isinstance(skip, dict):
            return [skip.get("should_skip", False)]
        return []

    parts = jax.tree.leaves(opt_state, is_leaf=lambda node: bool(of(node)))
    return jnp.any(jnp.array([flag for part in parts for flag in of(part)], bool))


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into an event; a second one acts as usual."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread receives signals
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    # None stands for a handler that was not installed from Python, which can't be put back.
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}

    def put_back():
        for number, handler in before.items():
            signal.signal(number, handler)

    def press(number, frame):
        del number, frame
        pressed.set()
        put_back()

    for number in numbers:
        signal.signal(number, press)
    try:
        yield pressed
    finally:
        put_back()
