"""A small causal GPT with tied embeddings, which predicts the token after a text; equinox.

Radford et al., 2019, Language models are unsupervised multitask learners.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import metajax as mj

VOCABULARY, LENGTH = 64, 32
LOSS = mj.cross_entropy


class Block(eqx.Module):
    """Causal self-attention and a perceptron, each after layer norm and beside its input."""

    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    expand: eqx.nn.Linear
    project: eqx.nn.Linear

    def __init__(self, width, heads, key):
        keys = jax.random.split(key, 3)
        self.norm1 = eqx.nn.LayerNorm(width)
        self.attention = eqx.nn.MultiheadAttention(heads, width, key=keys[0])
        self.norm2 = eqx.nn.LayerNorm(width)
        self.expand = eqx.nn.Linear(width, 4 * width, key=keys[1])
        self.project = eqx.nn.Linear(4 * width, width, key=keys[2])

    def __call__(self, x, key=None):  # (length, width)
        mask = jnp.tril(jnp.ones((len(x), len(x)), bool))
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, mask=mask, key=key)
        y = jax.nn.gelu(jax.vmap(self.expand)(jax.vmap(self.norm2)(x)))
        return x + jax.vmap(self.project)(y)


class GPT(eqx.Module):
    """Tokens with learned positions, blocks, and logits by the embeddings of the tokens."""

    tokens: eqx.nn.Embedding
    positions: eqx.nn.Embedding
    blocks: list[Block]
    norm: eqx.nn.LayerNorm

    def __init__(self, vocabulary, length, width, heads, layers, key):
        token_key, position_key, *keys = jax.random.split(key, layers + 2)
        embeddings = 0.02 * jax.random.normal(token_key, (vocabulary, width))
        self.tokens = eqx.nn.Embedding(weight=embeddings)
        self.positions = eqx.nn.Embedding(
            weight=0.02 * jax.random.normal(position_key, (length, width))
        )
        self.blocks = [Block(width, heads, k) for k in keys]
        self.norm = eqx.nn.LayerNorm(width)

    def __call__(self, text, key=None):  # (length,)
        x = jax.vmap(self.tokens)(text) + jax.vmap(self.positions)(jnp.arange(len(text)))
        for block in self.blocks:
            x = block(x, key=key)
        x = jax.vmap(self.norm)(x)
        logits = x @ self.tokens.weight.T
        return logits[-1]


def model() -> mj.Model:
    """Two layers of width 64; the smallest GPT-2 has 12 of width 768."""
    return mj.equinox_model(lambda key: GPT(VOCABULARY, LENGTH, 64, 4, 2, key), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Tokens drawn at random, and the first of them again as the next."""
    tokens = jax.random.randint(key, (n, LENGTH), 0, VOCABULARY)
    return mj.Examples(tokens, tokens[:, 0])
