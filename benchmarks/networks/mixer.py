"""MLP-Mixer; equinox, images with channels first.

Tolstikhin et al., NeurIPS 2021. https://arxiv.org/abs/2105.01601
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import metajax as mj

WAY = 5
LOSS = mj.cross_entropy


class MixerBlock(eqx.Module):
    """A perceptron over patches and one over channels, each after layer norm and beside its input."""

    token_norm: eqx.nn.LayerNorm
    token_mlp: eqx.nn.MLP
    channel_norm: eqx.nn.LayerNorm
    channel_mlp: eqx.nn.MLP

    def __init__(self, patches, width, key):
        token_key, channel_key = jax.random.split(key)
        self.token_norm = eqx.nn.LayerNorm(width)
        self.token_mlp = eqx.nn.MLP(patches, patches, width // 2, 1, jax.nn.gelu, key=token_key)
        self.channel_norm = eqx.nn.LayerNorm(width)
        self.channel_mlp = eqx.nn.MLP(width, width, 4 * width, 1, jax.nn.gelu, key=channel_key)

    def __call__(self, x):  # (patches, width)
        y = jax.vmap(self.token_norm)(x)
        x = x + jax.vmap(self.token_mlp, in_axes=1, out_axes=1)(y)
        y = jax.vmap(self.channel_norm)(x)
        return x + jax.vmap(self.channel_mlp)(y)


class Mixer(eqx.Module):
    """Patches by a convolution, blocks, and a linear layer on the mean over patches."""

    embed: eqx.nn.Conv2d
    blocks: list[MixerBlock]
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, size, patch, width, layers, classes, key):
        embed_key, head_key, *keys = jax.random.split(key, layers + 2)
        self.embed = eqx.nn.Conv2d(3, width, patch, stride=patch, key=embed_key)
        self.blocks = [MixerBlock((size // patch) ** 2, width, k) for k in keys]
        self.norm = eqx.nn.LayerNorm(width)
        self.head = eqx.nn.Linear(width, classes, key=head_key)

    def __call__(self, image):  # (3, size, size)
        x = self.embed(image)
        x = x.reshape(x.shape[0], -1).T
        for block in self.blocks:
            x = block(x)
        x = jax.vmap(self.norm)(x)
        return self.head(x.mean(axis=0))


def model() -> mj.Model:
    """Two blocks of width 64; Mixer-S has 8 of width 512."""
    return mj.equinox_model(lambda key: Mixer(24, 4, 64, 2, WAY, key), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Images of noise, and the labels in turn."""
    return mj.Examples(jax.random.normal(key, (n, 3, 24, 24)), jnp.arange(n) % WAY)
