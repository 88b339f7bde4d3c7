"""Learn a Transformer whose memory of the support set is what it has learned of a task."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.nn.attention import Memory, attend, causal
from metajax.types import Learner, Model


class Block(nn.Module):
    """Attention and a layer of hidden units, both normalised before and added to what comes in."""

    width: int
    heads: int

    def setup(self):
        """The layers."""
        self.before_attention, self.before_hidden = nn.LayerNorm(), nn.LayerNorm()
        self.project = nn.DenseGeneral((3, self.heads, self.width // self.heads))
        self.mix = nn.DenseGeneral(self.width, axis=(-2, -1))
        self.widen, self.narrow = nn.Dense(4 * self.width), nn.Dense(self.width)

    def encode(self, x, visible):
        """Tokens `(m, width)` that see each other where `visible`, and their memory."""
        queries, memory = self._split(x)
        return self._add(x, attend(queries, memory, visible)), memory

    def read(self, x, memory: Memory, there):
        """Tokens `(n, width)`, each of which sees the memory and itself."""
        queries, own = self._split(x)
        return self._add(x, attend(queries, memory, there[None], own))

    def _split(self, x) -> tuple[jax.Array, Memory]:
        queries, keys, values = jnp.moveaxis(self.project(self.before_attention(x)), 1, 0)
        return queries, Memory(keys, values)

    def _add(self, x, attended):
        x = x + self.mix(attended)
        return x + self.narrow(nn.gelu(self.widen(self.before_hidden(x))))


class Read(NamedTuple):
    """The memory of each block, and which support examples are there."""

    memories: tuple[Memory, ...]
    there: jax.Array


class Transformer(nn.Module):
    """Blocks over the support set, which queries pass as well, each alone."""

    readout: int
    width: int
    layers: int
    heads: int
    causal: bool

    def setup(self):
        """The layers."""
        self.tokens = Tokens(self.width)
        self.blocks = [Block(self.width, self.heads) for _ in range(self.layers)]
        self.last = nn.LayerNorm()
        self.head = nn.Dense(self.readout, kernel_init=nn.initializers.zeros)

    def encode(self, features, told, there) -> Read:
        """Read the support set."""
        x, memories = self.tokens(features, told), []
        visible = causal(there) if self.causal else there[None]
        for block in self.blocks:
            x, memory = block.encode(x, visible)
            memories.append(memory)
        return Read(tuple(memories), there)

    def read(self, context: Read, features):
        """Predictions of queries `(n, d)`."""
        x = self.tokens(features)
        for block, memory in zip(self.blocks, context.memories, strict=True):
            x = block.read(x, memory, context.there)
        return self.head(self.last(x))

    def __call__(self, features, told):
        """The support set as queries of itself: all that has weights."""
        there = jnp.ones(len(features), bool)
        return self.read(self.encode(features, told, there), features)


def transformer(
    embed: Model,
    outputs: int,
    *,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    causal: bool = False,
    readout: int | None = None,
) -> Learner:
    """A Transformer that learns in its context: a token for each example, features and target.

    A query attends to the support set and itself and never to other queries. `adapt` computes keys and
    values of the support set, once for all queries.

    There is no code for positions: the support set is a set, or with `causal=True` a sequence whose
    order is in what sees what. A label must tell no more than which examples are alike; all sources
    of metajax draw labels anew for each task, and for others there is `mj.relabelled`.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      outputs: the number of classes, or the width of a target.
      width: of a token.
      layers: blocks of attention and `4 * width` hidden units.
      heads: of attention; they divide `width`.
      causal: support examples see those before them alone, as in the paper; otherwise each sees all,
        and their order does not matter.
      readout: the width of a prediction, if it is not that of a target.

    Returns:
      A learner of targets as `in_context` takes them. Predictions are logits or values
      `(n, readout)`, 0 before training.

    Raises:
      ValueError: for fewer than one of anything, or heads that do not divide the width.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.transformer(mj.pixels, 1, width=16, layers=2, heads=2)
      >>> task = mj.tasks.linear_gaussian(dimension=3, shot=5)(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape, adapted.encoded.memories[0].keys.shape
      ((10, 1), (5, 2, 8))

    Reference: Kirsch, Harrison, Sohl-Dickstein and Metz, 2022, section 3, for the setting; Mueller et
    al., ICLR 2022, section 3, for queries that see the support set alone.
    https://arxiv.org/abs/2212.04458
    """
    if min(width, layers, heads) < 1 or width % heads:
        raise ValueError(
            f"transformer: width={width}, layers={layers} and heads={heads}; each is 1 or more, and "
            "heads divides width."
        )
    net = Transformer(outputs if readout is None else readout, width, layers, heads, causal)
    encode, read = (partial(net.apply, method=name) for name in ("encode", "read"))
    return in_context(embed, outputs, Reader(net.init, encode, read))
