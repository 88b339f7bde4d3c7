"""Learn to write examples into an external memory, and to find them there."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.learners.in_context import Tokens, in_context
from metajax.learners.recurrent import Lstm, State, for_each, in_order
from metajax.types import Learner, Model


class Notes(NamedTuple):
    """The controller's state, the memory, and how it was used.

    memory: `(slots, word)`.
    usage: `(slots,)`, how much each slot was read and written of late.
    weights: `(reads, slots)`, of the last reading.
    """

    controller: State
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
        """The layers."""
        self.tokens = Tokens(self.width)
        self.cell = Lstm(self.width)
        self.key = nn.Dense(self.reads * self.word)
        self.gate = nn.Dense(self.reads)
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    @nn.nowrap
    def start(self, dtype: Any) -> Notes:
        """Before the first example."""
        return Notes(
            State(*jnp.zeros((2, 1, self.width), dtype)),
            jnp.zeros((self.slots, self.word), dtype),
            jnp.zeros(self.slots, dtype),
            jnp.zeros((self.reads, self.slots), dtype),
        )

    def control(self, notes: Notes, tokens) -> tuple[State, jax.Array]:
        """The controller's next state, and keys `(n, reads, word)`, from tokens `(n, width)`."""
        n = len(tokens)
        found = jnp.broadcast_to(
            (notes.weights @ notes.memory).reshape(1, -1), (n, self._read_width)
        )
        inputs = jnp.concatenate([tokens, found], axis=-1)
        controller = self.cell(for_each(notes.controller, n), inputs)
        keys = nn.tanh(self.key(controller.shown)).reshape(n, self.reads, self.word)
        return controller, keys

    def look_up(self, keys, memory):
        """Weights `(n, reads, slots)` by cosine similarity."""
        return jax.nn.softmax(self.sharpness * _unit(keys) @ _unit(memory).T)

    def step(self, notes: Notes, features, told) -> Notes:
        """Read one example, `(1, d)`: write it, then read."""
        controller, keys = self.control(notes, self.tokens(features, told))
        gate = nn.sigmoid(self.gate(controller.shown)).T  # (reads, 1)
        unused = jnp.argsort(notes.usage)[: self.reads]  # each head has a slot of its own
        least = jax.nn.one_hot(unused, self.slots, dtype=keys.dtype)
        write = gate * notes.weights + (1 - gate) * least
        erased = notes.memory * (1 - least.sum(axis=0))[:, None]
        memory = erased + write.T @ keys[0]
        weights = self.look_up(keys, memory)[0]
        usage = self.decay * notes.usage + (weights + write).sum(axis=0)
        return Notes(controller, memory, usage, weights)

    def answer(self, notes: Notes, features):
        """Predictions of queries `(n, d)`, which read and do not write."""
        controller, keys = self.control(notes, self.tokens(features))
        found = self.look_up(keys, notes.memory) @ notes.memory
        found = found.reshape(len(features), self._read_width)
        return self.head(jnp.concatenate([controller.shown, found], axis=-1))

    def __call__(self, features, told):
        """One example and a query like it: all that has weights."""
        notes = self.step(self.start(features.dtype), features[:1], told[:1])
        return self.answer(notes, features[:1])

    @property
    def _read_width(self) -> int:
        return self.reads * self.word


def _unit(rows):
    square = jnp.sum(rows**2, axis=-1, keepdims=True)
    return rows * jax.lax.rsqrt(square + 1e-8)  # an empty slot is like nothing


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
    """A memory-augmented network: least-recently-used access to an external memory.

    Each example is written where the memory was used least of late, or over what was last read, as a
    learned gate has it; a query finds by cosine similarity what is like it. Examples are read as
    `recurrent` reads them, with their own targets.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      outputs: the number of classes, or the width of a target.
      width: of the controller's state.
      slots: of the memory; the paper has 128.
      word: the width of a slot.
      reads: read heads, each of which writes too.
      sharpness: multiplies the similarities before the softmax. The paper's 1 spreads every reading
        over the whole memory.
      decay: of the usage with every example.

    Returns:
      A learner of targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: for fewer than one of anything, or more read heads than slots.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.memory_augmented(mj.pixels, 1, width=16, slots=8, word=4, reads=1)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> learner.adapt(meta_params, task.support, jax.random.key(0)).encoded.memory.shape
      (8, 4)

    Reference: Santoro, Bartunov, Botvinick, Wierstra and Lillicrap, ICML 2016, section 3.2.
    https://arxiv.org/abs/1605.06065
    """
    if min(width, slots, word, reads) < 1 or reads > slots:
        raise ValueError(
            f"memory_augmented: width={width}, slots={slots}, word={word} and reads={reads}; each is 1 "
            "or more, with a slot for each read."
        )
    net = MemoryAugmented(outputs, width, slots, word, reads, sharpness, decay)
    return in_context(embed, outputs, in_order(net))
