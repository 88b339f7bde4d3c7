"""Memory-augmented networks: a controller writes examples into an external memory and finds them."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.in_context import Tokens, in_context
from metajax.learners.recurrent import Lstm, LstmState, for_each, in_order
from metajax.types import Learner, Model


class MemoryState(NamedTuple):
    """The state of the controller, and the external memory.

    memory: `(slots, word)`.
    usage: `(slots,)`, a decaying sum of the read and write weights of each slot.
    weights: `(reads, slots)`, the weights of the last reading.
    """

    controller: LstmState
    memory: jax.Array
    usage: jax.Array
    weights: jax.Array


class MemoryAugmented(nn.Module):
    """An LSTM controller with heads that read by content and write where memory is used least."""

    outputs: int
    width: int
    slots: int
    word: int
    reads: int
    sharpness: float
    decay: float

    def setup(self):
        """Makes the layers."""
        self.tokens = Tokens(self.width)
        self.cell = Lstm(self.width)
        self.key = nn.Dense(self.reads * self.word)
        self.gate = nn.Dense(self.reads)
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    @nn.nowrap
    def start(self, dtype: Any) -> MemoryState:
        """Returns the state before the first example."""
        return MemoryState(
            LstmState(*jnp.zeros((2, 1, self.width), dtype)),
            jnp.zeros((self.slots, self.word), dtype),
            jnp.zeros(self.slots, dtype),
            jnp.zeros((self.reads, self.slots), dtype),
        )

    def control(self, state: MemoryState, tokens) -> tuple[LstmState, jax.Array]:
        """Returns the next controller state, and keys `(n, reads, word)`, of tokens `(n, width)`."""
        n = len(tokens)
        read = (state.weights @ state.memory).reshape(1, -1)
        read = jnp.broadcast_to(read, (n, self._read_width))
        inputs = jnp.concatenate([tokens, read], axis=-1)
        controller = self.cell(for_each(state.controller, n), inputs)
        keys = nn.tanh(self.key(controller.hidden)).reshape(n, self.reads, self.word)
        return controller, keys

    def look_up(self, keys, memory):
        """Returns weights `(n, reads, slots)` by cosine similarity."""
        return jax.nn.softmax(self.sharpness * _unit(keys) @ _unit(memory).T)

    def step(self, state: MemoryState, features, targets) -> MemoryState:
        """Returns the state after one more example, `(1, d)`, is written and read."""
        controller, keys = self.control(state, self.tokens(features, targets))
        gate = nn.sigmoid(self.gate(controller.hidden)).T  # (reads, 1)
        unused = jnp.argsort(state.usage)[: self.reads]  # each head has a slot of its own
        least = jax.nn.one_hot(unused, self.slots, dtype=keys.dtype)
        write = gate * state.weights + (1 - gate) * least
        erased = state.memory * (1 - least.sum(axis=0))[:, None]
        memory = erased + write.T @ keys[0]
        weights = self.look_up(keys, memory)[0]
        usage = self.decay * state.usage + (weights + write).sum(axis=0)
        return MemoryState(controller, memory, usage, weights)

    def answer(self, state: MemoryState, features):
        """Returns predictions of queries `(n, d)`, which read and do not write."""
        controller, keys = self.control(state, self.tokens(features))
        read = self.look_up(keys, state.memory) @ state.memory
        read = read.reshape(len(features), self._read_width)
        return self.head(jnp.concatenate([controller.hidden, read], axis=-1))

    def __call__(self, features, targets):
        """Returns the prediction of one query after one example, which uses all weights."""
        state = self.step(self.start(features.dtype), features[:1], targets[:1])
        return self.answer(state, features[:1])

    @property
    def _read_width(self) -> int:
        return self.reads * self.word


def _unit(rows):
    square = jnp.sum(rows**2, axis=-1, keepdims=True)
    return rows * jax.lax.rsqrt(square + 1e-8)  # An empty slot is similar to nothing.


def memory_augmented(
    embed: Model,
    outputs: int,
    *,
    width: int = 128,
    slots: int = 64,
    word: int = 40,
    reads: int = 4,
    sharpness: float = 10.0,
    decay: float = 0.95,
) -> Learner:
    """Learns a controller with least-recently-used access to an external memory.

    A learned gate decides whether an example is written to the slots used least or to those last
    read; a query finds similar examples by cosine similarity. Examples are read as by `recurrent`,
    with their own targets.

    Args:
      embed: Maps inputs to features `(n, d)`.
      outputs: The number of classes, or the width of a target.
      width: The width of the controller's state.
      slots: The number of slots of the memory; the paper has 128.
      word: The width of a slot.
      reads: The number of heads, each of which reads and writes.
      sharpness: Multiplies the similarities before the softmax, above 0. The paper's 1 spreads every
        reading over the whole memory.
      decay: The factor of the usage with every example.

    Returns:
      A learner for targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: If a number is below 1, there are more heads than slots, `sharpness` is not above 0
        or `decay` is negative; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.memory_augmented(mj.pixels, 1, width=16, slots=8, word=4, reads=1)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> learner.adapt(meta_params, task.support, jax.random.key(0)).context.memory.shape
      (8, 4)

    Reference:
      Santoro, Bartunov, Botvinick, Wierstra and Lillicrap, ICML 2016, section 3.2.
      https://arxiv.org/abs/1605.06065
    """
    where = "memory_augmented"
    sizes = {"width": width, "slots": slots, "word": word, "reads": reads}
    width, slots, word, reads = (checks.count(where, *size) for size in sizes.items())
    if reads > slots:
        raise ValueError(f"{where}: reads={reads} must be at most slots={slots}.")
    checks.positive(where, "sharpness", sharpness)
    checks.positive(where, "decay", decay, least=0)
    net = MemoryAugmented(outputs, width, slots, word, reads, sharpness, decay)
    return in_context(embed, outputs, in_order(net), where=where)
