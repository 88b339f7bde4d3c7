"""Vision transformer, a small sister of ViT-Tiny; flax.

Dosovitskiy et al., ICLR 2021. https://arxiv.org/abs/2010.11929
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class EncoderBlock(nn.Module):
    """Self-attention and a perceptron, each after layer norm and beside its input."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=self.heads)(y, y)
        y = nn.LayerNorm()(x)
        y = nn.gelu(nn.Dense(self.hidden)(y))
        return x + nn.Dense(x.shape[-1])(y)


class VisionTransformer(nn.Module):
    """Patches and a class token with learned positions, whose last state is classified."""

    patch: int = 4
    width: int = 192
    heads: int = 3
    layers: int = 12
    classes: int = WAY

    @nn.compact
    def __call__(self, images):
        patch = (self.patch, self.patch)
        x = nn.Conv(self.width, patch, strides=patch, padding="VALID")(images)
        x = x.reshape((x.shape[0], -1, self.width))
        token = self.param("token", nn.initializers.zeros, (1, 1, self.width))
        x = jnp.concatenate([jnp.tile(token, (x.shape[0], 1, 1)), x], axis=1)
        positions = nn.initializers.normal(stddev=0.02)
        x = x + self.param("positions", positions, (1, x.shape[1], self.width))
        for _ in range(self.layers):
            x = EncoderBlock(self.heads, 4 * self.width)(x)
        return nn.Dense(self.classes)(nn.LayerNorm()(x)[:, 0])


def model() -> mj.Model:
    """A third of the width of ViT-Tiny and a sixth of its layers."""
    return mj.linen_model(VisionTransformer(width=64, heads=4, layers=2), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 24, 24, 3)), jnp.arange(n) % WAY)
