"""Learn a network of causal convolutions and attention over the support set as a sequence."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.nn.attention import Memory, attend, causal
from metajax.types import Learner, Model


class Convolution(nn.Module):
    """A causal convolution of two taps, `dilation` apart, gated and put beside what comes in."""

    filters: int
    dilation: int

    @nn.compact
    def __call__(self, x, before):
        """Activations `(n, c)`, and those `dilation` steps before, to `(n, c + filters)`."""
        gates = nn.Dense(2 * self.filters)(jnp.concatenate([before, x], axis=-1))
        new, gate = jnp.split(gates, 2, axis=-1)
        return jnp.concatenate([x, nn.tanh(new) * nn.sigmoid(gate)], axis=-1)

    def encode(self, x, there):
        """The support set, and the activations `(1, c)` that stand `dilation` before its end."""
        before = jnp.pad(x, ((self.dilation, 0), (0, 0)))
        # The sequence ends after the last example that is there, so its end is `number` of them in.
        number = jnp.sum(there)
        return self(x, before[: len(x)]), before[number][None]

    def read(self, x, memory):
        """Queries, each as the end of the sequence."""
        return self(x, jnp.broadcast_to(memory, x.shape))


class Seen(NamedTuple):
    """Keys and values of the support set, and which of its examples are there."""

    memory: Memory
    there: jax.Array


class Attention(nn.Module):
    """One head of causal attention, put beside what comes in."""

    keys: int
    values: int

    def setup(self):
        """The layers."""
        self.query, self.key, self.value = (
            nn.Dense(width) for width in (self.keys, self.keys, self.values)
        )

    def encode(self, x, there):
        """The support set, each example of which sees itself and those before it."""
        memory = self._memory(x)
        found = attend(self.query(x)[:, None], memory, causal(there))
        return jnp.concatenate([x, found[:, 0]], axis=-1), Seen(memory, there)

    def read(self, x, seen: Seen):
        """Queries, each as the end of the sequence."""
        found = attend(self.query(x)[:, None], seen.memory, seen.there[None], self._memory(x))
        return jnp.concatenate([x, found[:, 0]], axis=-1)

    def _memory(self, x) -> Memory:
        return Memory(self.key(x)[:, None], self.value(x)[:, None])


class Snail(nn.Module):
    """Attention, and between every two of its layers convolutions whose dilations double."""

    outputs: int
    width: int
    length: int
    filters: int
    attention: Sequence[tuple[int, int]]

    def setup(self):
        """The layers."""
        dilations = [2**i for i in range(math.ceil(math.log2(self.length)))]
        layers: list[Convolution | Attention] = []
        for i, (keys, values) in enumerate(self.attention):
            if i:
                layers += [Convolution(self.filters, dilation) for dilation in dilations]
            layers.append(Attention(keys, values))
        self.tokens = Tokens(self.width)
        self.layers = layers
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    def encode(self, features, told, there):
        """Read the support set: what queries need of it, layer by layer."""
        order = jnp.argsort(~there, stable=True)  # those not there come last, and nothing sees them
        x, there, memories = self.tokens(features, told)[order], there[order], []
        for layer in self.layers:
            x, memory = layer.encode(x, there)
            memories.append(memory)
        return tuple(memories)

    def read(self, memories, features):
        """Predictions of queries `(n, d)`."""
        x = self.tokens(features)
        for layer, memory in zip(self.layers, memories, strict=True):
            x = layer.read(x, memory)
        return self.head(x)

    def __call__(self, features, told):
        """The support set as queries of itself: all that has weights."""
        return self.read(self.encode(features, told, jnp.ones(len(features), bool)), features)


def snail(
    embed: Model,
    outputs: int,
    length: int,
    *,
    width: int = 64,
    filters: int = 128,
    attention: Sequence[tuple[int, int]] = ((64, 32), (256, 128), (512, 256)),
) -> Learner:
    """SNAIL: temporal convolutions gather what came before, and attention picks from all of it.

    The support set is a sequence, and each query is the end of it, alone. `adapt` computes once what
    all queries need of the support set. The order of the support set matters; see `recurrent`.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      outputs: the number of classes, or the width of a target.
      length: how many examples the convolutions reach, the query among them: at least the size of the
        support set and 1. Attention reaches longer support sets too.
      width: features and target are mapped to it before the first layer.
      filters: of a convolution; there are about `log2(length)` between two layers of attention.
      attention: widths of keys and of values, a pair for each layer.

    Returns:
      A learner of targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: for a length below 2, or fewer than one of anything else.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.snail(mj.pixels, 1, 11, width=8, filters=4, attention=((4, 4), (4, 4)))
      >>> task = mj.tasks.sinusoid(shot=10)(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference: Mishra, Rohaninejad, Chen and Abbeel, ICLR 2018, section 3; sizes of its appendix A.
    https://arxiv.org/abs/1707.03141
    """
    attention = tuple((keys, values) for keys, values in attention)
    fewest = min([width, filters, len(attention), *(n for pair in attention for n in pair)])
    if length < 2 or fewest < 1:
        raise ValueError(
            f"snail: length={length}, width={width}, filters={filters} and attention={attention}; "
            "length is 2 or more, and all else 1 or more."
        )
    net = Snail(outputs, width, length, filters, attention)
    encode, read = (partial(net.apply, method=name) for name in ("encode", "read"))
    return in_context(embed, outputs, Reader(net.init, encode, read))
