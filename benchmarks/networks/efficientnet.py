"""EfficientNet: inverted bottlenecks with depthwise convolutions and squeeze-excitation; flax.

Tan and Le, ICML 2019. https://arxiv.org/abs/1905.11946
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class SqueezeExcite(nn.Module):
    """Scales channels by a function of their means."""

    hidden: int

    @nn.compact
    def __call__(self, x):
        y = x.mean(axis=(1, 2), keepdims=True)
        y = nn.silu(nn.Conv(self.hidden, (1, 1))(y))
        y = nn.sigmoid(nn.Conv(x.shape[-1], (1, 1))(y))
        return x * y


class MBConv(nn.Module):
    """Expands channels, convolves each alone, scales them, and projects, beside the input."""

    features: int
    expand: int = 6
    kernel: int = 3
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        inputs, hidden = x, self.expand * x.shape[-1]
        if self.expand != 1:
            x = nn.Conv(hidden, (1, 1), use_bias=False)(x)
            x = nn.silu(nn.BatchNorm(use_running_average=False)(x))
        x = nn.Conv(
            hidden,
            (self.kernel, self.kernel),
            strides=(self.stride, self.stride),
            feature_group_count=hidden,
            use_bias=False,
        )(x)
        x = nn.silu(nn.BatchNorm(use_running_average=False)(x))
        x = SqueezeExcite(max(1, inputs.shape[-1] // 4))(x)
        x = nn.Conv(self.features, (1, 1), use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=False)(x)
        return x + inputs if x.shape == inputs.shape else x


class EfficientNet(nn.Module):
    """A stem, stages, and a head.

    stages: Of each its features, expansion, kernel, stride and number of blocks.
    """

    stages: Sequence[tuple[int, int, int, int, int]] = (
        (16, 1, 3, 1, 1),
        (24, 6, 3, 2, 2),
        (40, 6, 5, 2, 2),
        (80, 6, 3, 2, 3),
        (112, 6, 5, 1, 3),
        (192, 6, 5, 2, 4),
        (320, 6, 3, 1, 1),
    )
    stem: int = 32
    head: int = 1280
    classes: int = WAY

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.stem, (3, 3), strides=(2, 2), use_bias=False)(x)
        x = nn.silu(nn.BatchNorm(use_running_average=False)(x))
        for features, expand, kernel, stride, blocks in self.stages:
            for block in range(blocks):
                x = MBConv(features, expand, kernel, stride if block == 0 else 1)(x)
        x = nn.Conv(self.head, (1, 1), use_bias=False)(x)
        x = nn.silu(nn.BatchNorm(use_running_average=False)(x))
        x = x.mean(axis=(1, 2))
        return nn.Dense(self.classes)(x)


def model() -> mj.Model:
    """Three stages of the seven of EfficientNet-B0, with half of their features and fewer blocks."""
    stages = ((8, 1, 3, 1, 1), (12, 6, 3, 2, 1), (20, 6, 5, 2, 2))
    return mj.linen_model(EfficientNet(stages, stem=16, head=128), statistics="batch", fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 32, 32, 3)), jnp.arange(n) % WAY)
