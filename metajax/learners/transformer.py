"""A Transformer as a learner: the keys and values of the support set are the adaptation."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.nn.attention import KeyValues, attend, causal
from metajax.nn.normalisation import LayerNorm
from metajax.types import Learner, Model


class Block(nn.Module):
    """Attention and a hidden layer, each with a residual connection and normalised inputs."""

    width: int
    heads: int

    def setup(self):
        """Makes the layers."""
        self.before_attention, self.before_hidden = LayerNorm(), LayerNorm()
        self.project = nn.DenseGeneral((3, self.heads, self.width // self.heads))
        self.mix = nn.DenseGeneral(self.width, axis=(-2, -1))
        self.widen, self.narrow = nn.Dense(4 * self.width), nn.Dense(self.width)

    def encode(self, x, visible):
        """Returns the next tokens `(m, width)`, which see each other where `visible`, and their keys."""
        queries, tokens = self._split(x)
        return self._add(x, attend(queries, tokens, visible)), tokens

    def read(self, x, tokens: KeyValues, mask):
        """Returns the next query tokens `(n, width)`, each of which sees the support set and itself."""
        queries, own = self._split(x)
        return self._add(x, attend(queries, tokens, mask[None], own))

    def _split(self, x) -> tuple[jax.Array, KeyValues]:
        queries, keys, values = jnp.moveaxis(self.project(self.before_attention(x)), 1, 0)
        return queries, KeyValues(keys, values)

    def _add(self, x, attended):
        x = x + self.mix(attended)
        return x + self.narrow(nn.gelu(self.widen(self.before_hidden(x))))


class TransformerContext(NamedTuple):
    """The keys and values of the support set in each block, and which examples exist."""

    blocks: tuple[KeyValues, ...]
    mask: jax.Array


class Transformer(nn.Module):
    """Blocks over the support set, through which each query passes alone."""

    readout: int
    width: int
    layers: int
    heads: int
    causal: bool

    def setup(self):
        """Makes the layers."""
        self.tokens = Tokens(self.width)
        self.blocks = [Block(self.width, self.heads) for _ in range(self.layers)]
        self.last = LayerNorm()
        self.head = nn.Dense(self.readout, kernel_init=nn.initializers.zeros)

    def encode(self, features, targets, mask) -> TransformerContext:
        """Returns the context of a support set."""
        x, cached = self.tokens(features, targets), []
        visible = causal(mask) if self.causal else mask[None]
        for block in self.blocks:
            x, tokens = block.encode(x, visible)
            cached.append(tokens)
        return TransformerContext(tuple(cached), mask)

    def read(self, context: TransformerContext, features):
        """Returns predictions of queries `(n, d)`."""
        x = self.tokens(features)
        for block, tokens in zip(self.blocks, context.blocks, strict=True):
            x = block.read(x, tokens, context.mask)
        return self.head(self.last(x))

    def __call__(self, features, targets):
        """Returns predictions of the support set as queries, which uses all weights."""
        mask = jnp.ones(len(features), bool)
        return self.read(self.encode(features, targets, mask), features)


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
    """Learns a Transformer that reads a token for each example, its features and its target.

    A query attends to the support set and to itself, never to other queries. `adapt` computes the keys
    and values of the support set once, for all queries.

    There is no positional encoding: the support set is a set, or with `causal=True` a sequence whose
    order is in what sees what. A label must carry no information beyond which examples are alike: all
    sources of metajax draw labels anew for each task, and `mj.relabelled` does so for others.

    Args:
      embed: Maps inputs to features `(n, d)`.
      outputs: The number of classes, or the width of a target.
      width: The width of a token.
      layers: The number of blocks of attention and `4 * width` hidden units.
      heads: The number of attention heads, a divisor of `width`.
      causal: Whether a support example sees only those before it, as in the paper. Otherwise each sees
        all, and their order does not matter.
      readout: The width of a prediction, where it differs from that of a target.

    Returns:
      A learner for targets as `in_context` takes them. Predictions are logits or values
      `(n, readout)`, 0 before training.

    Raises:
      ValueError: If a number is below 1, or `heads` does not divide `width`; from `adapt`, for targets
        of another shape.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.transformer(mj.pixels, 1, width=16, layers=2, heads=2)
      >>> task = mj.tasks.linear_gaussian(dimension=3, shot=5)(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape, adapted.context.blocks[0].keys.shape
      ((10, 1), (5, 2, 8))

    Reference:
      Kirsch, Harrison, Sohl-Dickstein and Metz, 2022, section 3, for the setting; Mueller et al., ICLR
      2022, section 3, for queries that see only the support set. https://arxiv.org/abs/2212.04458
    """
    width = checks.count("transformer", "width", width)
    layers = checks.count("transformer", "layers", layers)
    heads = checks.count("transformer", "heads", heads)
    if width % heads:
        raise ValueError(f"transformer: width={width} must be a multiple of heads={heads}.")
    outputs = checks.count("transformer", "outputs", outputs)
    readout = outputs if readout is None else checks.count("transformer", "readout", readout)
    net = Transformer(readout, width, layers, heads, causal)
    encode, read = (partial(net.apply, method=name) for name in ("encode", "read"))
    return in_context(embed, outputs, Reader(net.init, encode, read), where="transformer")
