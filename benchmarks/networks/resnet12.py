"""ResNet-12 of few-shot learning, with batch statistics; flax.

Lee, Maji, Ravichandran and Soatto, CVPR 2019. https://arxiv.org/abs/1904.03758
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class Block(nn.Module):
    """Three convolutions beside a projection, and a maximum over 2 x 2."""

    features: int

    @nn.compact
    def __call__(self, x):
        shortcut = nn.Conv(self.features, (1, 1), use_bias=False)(x)
        shortcut = nn.BatchNorm(use_running_average=False)(shortcut)
        for i in range(3):
            x = nn.Conv(self.features, (3, 3), use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=False)(x)
            if i < 2:
                x = nn.leaky_relu(x, 0.1)
        x = nn.leaky_relu(x + shortcut, 0.1)
        return nn.max_pool(x, (2, 2), strides=(2, 2))


class ResNet12(nn.Module):
    """Four blocks, a mean over positions and a linear layer."""

    features: Sequence[int] = (64, 160, 320, 640)
    classes: int = WAY

    @nn.compact
    def __call__(self, x):
        for features in self.features:
            x = Block(features)(x)
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.classes)(x)


def model() -> mj.Model:
    """An eighth of the paper's features."""
    return mj.linen_model(ResNet12(features=(8, 20, 40, 80)), statistics="batch", fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 32, 32, 3)), jnp.arange(n) % WAY)
