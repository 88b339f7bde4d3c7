"""A recurrent network as a learner: its state after the support set is the adaptation."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.types import Learner, Model


class LstmState(NamedTuple):
    """The hidden and the cell state of an LSTM, each `(n, width)`."""

    hidden: jax.Array
    cell: jax.Array


class Lstm(nn.Module):
    """One step of an LSTM whose forget gates start near 0.88."""

    width: int

    @nn.compact
    def __call__(self, state: LstmState, x):
        """A state and inputs `(n, d)` to the next state."""
        gates = nn.Dense(4 * self.width)(jnp.concatenate([x, state.hidden], axis=-1))
        forget, write, output, new = jnp.split(gates, 4, axis=-1)
        # A forget gate of about 1/2 would halve the trace of an example with every later one.
        cell = nn.sigmoid(forget + 2) * state.cell + nn.sigmoid(write) * nn.tanh(new)
        return LstmState(nn.sigmoid(output) * nn.tanh(cell), cell)


def for_each(state: LstmState, n: int) -> LstmState:
    """The state of one sequence, `(1, width)`, repeated for `n` queries."""
    return LstmState(*(jnp.broadcast_to(leaf, (n, leaf.shape[1])) for leaf in state))


class Recurrent(nn.Module):
    """An LSTM over examples, and a dense layer on its hidden state after a query."""

    outputs: int
    width: int

    def setup(self):
        """Makes the layers."""
        self.tokens = Tokens(self.width)
        self.cell = Lstm(self.width)
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    @nn.nowrap
    def start(self, dtype: Any) -> LstmState:
        """Returns the state before the first example."""
        return LstmState(*jnp.zeros((2, 1, self.width), dtype))

    def step(self, state, features, targets):
        """Returns the state after one more example, `(1, d)`."""
        return self.cell(state, self.tokens(features, targets))

    def answer(self, state, features):
        """Returns predictions of queries `(n, d)`."""
        after = self.cell(for_each(state, len(features)), self.tokens(features))
        return self.head(after.hidden)

    def __call__(self, features, targets):
        """Returns the prediction of one query after one example, which uses all weights."""
        state = self.step(self.start(features.dtype), features[:1], targets[:1])
        return self.answer(state, features[:1])


def in_order(net: Any) -> Reader:
    """Makes a reader from a module with `start`, `step` and `answer`: it reads example by example.

    A masked example leaves the state unchanged.
    """

    def encode(params, features, targets, mask):
        def step(state, example):
            features, targets, exists = example
            new = net.apply(params, state, features[None], targets[None], method="step")
            return jax.tree.map(partial(jnp.where, exists), new, state), None

        state, _ = jax.lax.scan(step, net.start(features.dtype), (features, targets, mask))
        return state

    read: Callable = partial(net.apply, method="answer")
    return Reader(net.init, encode, read)


def recurrent(embed: Model, outputs: int, *, width: int = 128) -> Learner:
    """Learns an LSTM that reads the support set example by example.

    The papers give an input together with the target of the previous one, so that each target is
    predicted before it is read. Here support and query are two sets: a support example comes with its
    own target, and each query, without one, is read alone from the state after the last example.

    The order of the support set matters. The sources of metajax give it class by class, and a learner
    trained on them relies on that order.

    Args:
      embed: Maps inputs to features `(n, d)`.
      outputs: The number of classes, or the width of a target.
      width: The width of the state.

    Returns:
      A learner for targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: If a number is below 1; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.recurrent(mj.pixels, 1, width=16)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference:
      Hochreiter, Younger and Conwell, ICANN 2001; for the offset targets Santoro et al., ICML 2016,
      section 2. https://arxiv.org/abs/1605.06065
    """
    width = checks.count("recurrent", "width", width)
    return in_context(embed, outputs, in_order(Recurrent(outputs, width)), where="recurrent")
