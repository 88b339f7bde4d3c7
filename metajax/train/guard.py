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


class UnwrittenError(_StoppedError, OSError):
    """The files of a run could not be written; `state` is the one reached."""


class TasksEndedError(_StoppedError, ValueError):
    """An iterable of batches ended before `outer_steps`; `state` is the one reached."""


class LostProcessError(RuntimeError):
    """Another process of the run ended, so that this one cannot go on."""


def is_good(old: TrainState, new: TrainState, metrics: Metrics) -> jax.Array:
    """Whether the state after an outer step is kept.

    It is kept if no number of the meta-parameters, of the optimiser's state or of the estimator's has
    stopped being finite, and if the loss and its gradient are finite. The exception: where
    `optax.apply_if_finite`, `optax.zero_nans` or `optax.MultiSteps` dealt with such a gradient, the run
    goes on.
    """
    signal = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
    # An optimiser may begin with infinities, such as a best value so far.
    stays = _stays_finite(old[1:], new[1:])
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
    """Turns Ctrl-C, SIGTERM and SIGHUP into an event; a second Ctrl-C acts as usual.

    Schedulers send several signals at once, so those after the first change nothing. A signal that was
    ignored before, as SIGHUP is under nohup, stays ignored.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread receives signals
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # None stands for a handler that was not installed from Python, which can't be put back.
    found = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    before = {number: handler for number, handler in found.items() if handler != signal.SIG_IGN}

    def press(number, frame):
        del frame
        if number == signal.SIGINT:
            signal.signal(number, before[number])
        pressed.set()

    for number in before:
        signal.signal(number, press)
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
