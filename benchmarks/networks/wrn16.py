"""WRN-16-4, a wide residual network with group norm before each convolution; flax.

Zagoruyko and Komodakis, BMVC 2016. https://arxiv.org/abs/1605.07146
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class WideBlock(nn.Module):
    """Two normalised, rectified convolutions beside the input, projected where its shape changes."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        strides = (self.stride, self.stride)
        y = nn.relu(nn.GroupNorm(num_groups=8)(x))
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), strides=strides, use_bias=False)(y)
        y = nn.Conv(self.features, (3, 3), strides=strides, use_bias=False)(y)
        y = nn.relu(nn.GroupNorm(num_groups=8)(y))
        y = nn.Conv(self.features, (3, 3), use_bias=False)(y)
        return x + y


class WideResNet(nn.Module):
    """Three groups of blocks; the paper's narrowest layer has 16 features."""

    depth: int = 16
    widen: int = 4
    width: int = 16
    classes: int = WAY

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (3, 3), use_bias=False)(x)
        for group in range(3):
            for block in range((self.depth - 4) // 6):
                stride = 2 if group > 0 and block == 0 else 1
                x = WideBlock(self.width * self.widen * 2**group, stride)(x)
        x = nn.relu(nn.GroupNorm(num_groups=8)(x))
        x = nn.avg_pool(x, x.shape[1:3])
        x = x.reshape((x.shape[0], -1))
        return nn.Dense(self.classes)(x)


def model() -> mj.Model:
    """Half of the paper's features."""
    return mj.linen_model(WideResNet(width=8), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 16, 16, 3)), jnp.arange(n) % WAY)
