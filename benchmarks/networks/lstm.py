"""Two LSTM layers over tokens, classified at the end; flax.

Hochreiter and Schmidhuber, Neural Computation 1997. https://doi.org/10.1162/neco.1997.9.8.1735
"""

from typing import Any

import flax.linen as nn
import jax

import metajax as mj

WAY, VOCABULARY, LENGTH = 5, 50, 20
LOSS = mj.cross_entropy


class Classifier(nn.Module):
    """Embedded tokens, layers of cells, and a linear layer on the last state."""

    vocabulary: int
    width: int
    layers: int = 2
    classes: int = WAY

    @nn.compact
    def __call__(self, tokens):
        x: Any = nn.Embed(self.vocabulary, self.width)(tokens)
        for _ in range(self.layers):
            x = nn.RNN(nn.OptimizedLSTMCell(self.width))(x)
        return nn.Dense(self.classes)(x[:, -1])


def model() -> mj.Model:
    """Width 64."""
    return mj.linen_model(Classifier(VOCABULARY, 64), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Tokens drawn at random, and their sum modulo the number of classes."""
    tokens = jax.random.randint(key, (n, LENGTH), 0, VOCABULARY)
    return mj.Examples(tokens, tokens.sum(axis=1) % WAY)
