"""Learn a recurrent network whose state is what it has learned of a task."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.types import Learner, Model


class State(NamedTuple):
    """Of an LSTM: what it shows and what it keeps, each `(n, width)`."""

    shown: jax.Array
    kept: jax.Array


class Lstm(nn.Module):
    """One step of an LSTM that begins by forgetting little."""

    width: int

    @nn.compact
    def __call__(self, state: State, x):
        """A state and inputs `(n, d)` to the next state."""
        gates = nn.Dense(4 * self.width)(jnp.concatenate([x, state.shown], axis=-1))
        forget, write, show, new = jnp.split(gates, 4, axis=-1)
        # A forget gate of about 1/2 would halve what an example left with every later one.
        kept = nn.sigmoid(forget + 2) * state.kept + nn.sigmoid(write) * nn.tanh(new)
        return State(nn.sigmoid(show) * nn.tanh(kept), kept)


def for_each(state: State, n: int) -> State:
    """The state of one sequence, `(1, width)`, where `n` queries go on from it, each alone."""
    return State(*(jnp.broadcast_to(leaf, (n, leaf.shape[1])) for leaf in state))


class Recurrent(nn.Module):
    """An LSTM over examples, and a dense layer on what it shows after a query."""

    outputs: int
    width: int

    def setup(self):
        """The layers."""
        self.tokens = Tokens(self.width)
        self.cell = Lstm(self.width)
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    @nn.nowrap
    def start(self, dtype: Any) -> State:
        """Before the first example."""
        return State(*jnp.zeros((2, 1, self.width), dtype))

    def step(self, state, features, told):
        """Read one example, `(1, d)`."""
        return self.cell(state, self.tokens(features, told))

    def answer(self, state, features):
        """Predictions of queries `(n, d)`."""
        asked = self.cell(for_each(state, len(features)), self.tokens(features))
        return self.head(asked.shown)

    def __call__(self, features, told):
        """One example and a query like it: all that has weights."""
        state = self.step(self.start(features.dtype), features[:1], told[:1])
        return self.answer(state, features[:1])


def in_order(net: Any) -> Reader:
    """A reader from a module with `start`, `step` and `answer`, which reads one example after another.

    An example that is not there leaves the state as it is.
    """

    def encode(params, features, told, there):
        def step(state, example):
            features, told, there = example
            new = net.apply(params, state, features[None], told[None], method="step")
            return jax.tree.map(partial(jnp.where, there), new, state), None

        state, _ = jax.lax.scan(step, net.start(features.dtype), (features, told, there))
        return state

    read: Callable = partial(net.apply, method="answer")
    return Reader(net.init, encode, read)


def recurrent(embed: Model, outputs: int, *, width: int = 128) -> Learner:
    """An LSTM that reads the support set example by example: its state is the adapted learner.

    The papers show an input together with the target of the one before, so that each is predicted
    before its target is seen. Here support and query are two sets, and nothing is given away by
    showing support examples with their own targets; a query has none, and is read from the state
    after the last example, each alone.

    The order of the support set matters, and `metajax`'s sources give it class by class: a learner
    trained so counts on it.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      outputs: the number of classes, or the width of a target.
      width: of the state.

    Returns:
      A learner of targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: for no output, or no width.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.recurrent(mj.pixels, 1, width=16)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference: Hochreiter, Younger and Conwell, ICANN 2001; for the offset targets Santoro et al., ICML
    2016, section 2. https://arxiv.org/abs/1605.06065
    """
    if width < 1:
        raise ValueError(f"recurrent: width={width}; the state has 1 number or more.")
    return in_context(embed, outputs, in_order(Recurrent(outputs, width)))
