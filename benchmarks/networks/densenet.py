"""DenseNet-BC, whose layers read all before them, with batch statistics; flax.

Huang, Liu, van der Maaten and Weinberger, CVPR 2017. https://arxiv.org/abs/1608.06993
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class DenseLayer(nn.Module):
    """A bottleneck and a convolution, whose features are appended to the input."""

    growth: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        y = nn.Conv(4 * self.growth, (1, 1), use_bias=False)(y)
        y = nn.relu(nn.BatchNorm(use_running_average=False)(y))
        y = nn.Conv(self.growth, (3, 3), use_bias=False)(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Half of the features, and means over 2 x 2."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        x = nn.Conv(x.shape[-1] // 2, (1, 1), use_bias=False)(x)
        return nn.avg_pool(x, (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
    """Blocks of dense layers with transitions between them."""

    blocks: Sequence[int] = (16, 16, 16)
    growth: int = 12
    classes: int = WAY

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2 * self.growth, (3, 3), use_bias=False)(x)
        for i, layers in enumerate(self.blocks):
            for _ in range(layers):
                x = DenseLayer(self.growth)(x)
            if i < len(self.blocks) - 1:
                x = Transition()(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False)(x))
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.classes)(x)


def model() -> mj.Model:
    """Two layers in a block; DenseNet-BC-100 has 16."""
    return mj.linen_model(DenseNet(blocks=(2, 2, 2)), statistics="batch", fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 16, 16, 3)), jnp.arange(n) % WAY)
