"""U-Net with group norm, transposed convolutions and skip connections; flax.

Ronneberger, Fischer and Brox, MICCAI 2015. https://arxiv.org/abs/1505.04597
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

LOSS = mj.mse


class DoubleConv(nn.Module):
    """Two convolutions, each normalised and rectified."""

    features: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.Conv(self.features, (3, 3))(x)
            x = nn.relu(nn.GroupNorm(num_groups=4)(x))
        return x


class UNet(nn.Module):
    """Down by maxima and up by transposed convolutions, beside what was there before."""

    features: Sequence[int] = (64, 128, 256, 512, 1024)
    outputs: int = 1

    @nn.compact
    def __call__(self, x):
        skips = []
        for features in self.features[:-1]:
            x = DoubleConv(features)(x)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = DoubleConv(self.features[-1])(x)
        for features, skip in zip(self.features[-2::-1], skips[::-1], strict=True):
            x = nn.ConvTranspose(features, (2, 2), strides=(2, 2))(x)
            x = DoubleConv(features)(jnp.concatenate([skip, x], axis=-1))
        return nn.Conv(self.outputs, (1, 1))(x)


def model() -> mj.Model:
    """Three levels of the paper's five, with an eighth of its features."""
    return mj.linen_model(UNet(features=(8, 16, 32)), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and their mean over channels as a picture of the same size."""
    images = jax.random.normal(key, (n, 16, 16, 3))
    return mj.Examples(images, images.mean(axis=-1, keepdims=True))
