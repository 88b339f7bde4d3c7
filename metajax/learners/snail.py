"""SNAIL: causal convolutions and attention over the support set as a sequence."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.in_context import Reader, Tokens, in_context
from metajax.nn.attention import KeyValues, attend, causal
from metajax.types import Learner, Model


class Convolution(nn.Module):
    """A gated causal convolution with two taps, `dilation` apart, concatenated to its input."""

    filters: int
    dilation: int

    @nn.compact
    def __call__(self, x, before):
        """Activations `(n, c)`, and those `dilation` steps before, to `(n, c + filters)`."""
        gates = nn.Dense(2 * self.filters)(jnp.concatenate([before, x], axis=-1))
        new, gate = jnp.split(gates, 2, axis=-1)
        return jnp.concatenate([x, nn.tanh(new) * nn.sigmoid(gate)], axis=-1)

    def encode(self, x, mask):
        """Returns the support set, and the activations `(1, c)` that are `dilation` before its end."""
        before = jnp.pad(x, ((self.dilation, 0), (0, 0)))
        # Masked examples come last, so the sequence ends after as many as exist.
        number = jnp.sum(mask)
        return self(x, before[: len(x)]), before[number][None]

    def read(self, x, before):
        """Returns queries, each as the end of the sequence."""
        return self(x, jnp.broadcast_to(before, x.shape))


class AttentionContext(NamedTuple):
    """The keys and values of the support set, and which of its examples exist."""

    tokens: KeyValues
    mask: jax.Array


class Attention(nn.Module):
    """One head of causal attention, concatenated to its input."""

    keys: int
    values: int

    def setup(self):
        """Makes the layers."""
        self.query, self.key, self.value = (
            nn.Dense(width) for width in (self.keys, self.keys, self.values)
        )

    def encode(self, x, mask):
        """Returns the support set, each example of which sees itself and those before it."""
        tokens = self._key_values(x)
        found = attend(self.query(x)[:, None], tokens, causal(mask))
        return jnp.concatenate([x, found[:, 0]], axis=-1), AttentionContext(tokens, mask)

    def read(self, x, context: AttentionContext):
        """Returns queries, each as the end of the sequence."""
        own = self._key_values(x)
        found = attend(self.query(x)[:, None], context.tokens, context.mask[None], own)
        return jnp.concatenate([x, found[:, 0]], axis=-1)

    def _key_values(self, x) -> KeyValues:
        return KeyValues(self.key(x)[:, None], self.value(x)[:, None])


class Snail(nn.Module):
    """Layers of attention, with convolutions of doubling dilations between every two of them."""

    outputs: int
    width: int
    length: int
    filters: int
    attention: Sequence[tuple[int, int]]

    def setup(self):
        """Makes the layers."""
        dilations = [2**i for i in range(math.ceil(math.log2(self.length)))]
        layers: list[Convolution | Attention] = []
        for i, (keys, values) in enumerate(self.attention):
            if i:
                layers += [Convolution(self.filters, dilation) for dilation in dilations]
            layers.append(Attention(keys, values))
        self.tokens = Tokens(self.width)
        self.layers = layers
        self.head = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)

    def encode(self, features, targets, mask):
        """Returns what queries need of the support set, layer by layer."""
        order = jnp.argsort(~mask, stable=True)  # Masked examples come last, where none sees them.
        x, mask, contexts = self.tokens(features, targets)[order], mask[order], []
        for layer in self.layers:
            x, context = layer.encode(x, mask)
            contexts.append(context)
        return tuple(contexts)

    def read(self, contexts, features):
        """Returns predictions of queries `(n, d)`."""
        x = self.tokens(features)
        for layer, context in zip(self.layers, contexts, strict=True):
            x = layer.read(x, context)
        return self.head(x)

    def __call__(self, features, targets):
        """Returns predictions of the support set as queries, which uses all weights."""
        return self.read(self.encode(features, targets, jnp.ones(len(features), bool)), features)


def snail(
    embed: Model,
    outputs: int,
    length: int,
    *,
    width: int = 64,
    filters: int = 128,
    attention: Sequence[tuple[int, int]] = ((64, 32), (256, 128), (512, 256)),
) -> Learner:
    """Learns temporal convolutions, which gather preceding examples, and attention over all of them.

    The support set is a sequence, and each query alone is its end. `adapt` computes once what all
    queries need of the support set. The order of the support set matters; see `recurrent`.

    Args:
      embed: Maps inputs to features `(n, d)`.
      outputs: The number of classes, or the width of a target.
      length: The number of examples the convolutions reach, the query included, at least 2: the size
        of the support set plus 1, or more. Attention reaches longer support sets too.
      width: The width of a token, before the first layer.
      filters: The filters of a convolution; about `log2(length)` convolutions lie between two layers
        of attention.
      attention: Widths of keys and of values, a pair for each layer.

    Returns:
      A learner for targets as `in_context` takes them. Predictions are logits or values
      `(n, outputs)`, 0 before training.

    Raises:
      ValueError: If `length` is below 2, another number below 1, or there is no layer of attention;
        from `adapt`, for targets of another shape.

    Example:
      >>> import jax, metajax as mj
      >>> learner = mj.snail(mj.pixels, 1, 11, width=8, filters=4, attention=((4, 4), (4, 4)))
      >>> task = mj.tasks.sinusoid(shot=10)(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference:
      Mishra, Rohaninejad, Chen and Abbeel, ICLR 2018, section 3; sizes of its appendix A.
      https://arxiv.org/abs/1707.03141
    """
    length = checks.count("snail", "length", length, least=2)
    width = checks.count("snail", "width", width)
    filters = checks.count("snail", "filters", filters)
    layers = tuple((keys, values) for keys, values in attention)
    if not layers:
        raise ValueError("snail: attention=() must hold a pair of widths for at least one layer.")
    for number in (number for pair in layers for number in pair):
        checks.count("snail", "a width in attention", number)
    net = Snail(outputs, width, length, filters, layers)
    encode, read = (partial(net.apply, method=name) for name in ("encode", "read"))
    return in_context(embed, outputs, Reader(net.init, encode, read), where="snail")
