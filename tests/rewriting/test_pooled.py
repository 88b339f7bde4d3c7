"""Maxima are taken before batch normalisation where nothing else reads it, and nothing changes but speed."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj

POOLED = "pooled normalisation"
pool = partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))


@jax.custom_jvp
def straight_through(x):
    """ReLU whose derivative its author has made 1."""
    return jnp.maximum(x, 0)


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return straight_through(*primals), tangents[0]


class Block(nn.Module):
    """What conv4 and many others are made of, with its parts to choose.

    conv: Options of the convolution; None leaves it out.
    norm: Options of the batch normalisation.
    then: What is done to its result before pooling.
    """

    conv: dict | None = None
    norm: dict | None = None
    then: Callable = nn.relu
    pool: Callable = pool

    @nn.compact
    def __call__(self, x):
        x = x if self.conv is None else nn.Conv(5, (3, 3), **self.conv)(x)
        x = nn.BatchNorm(use_running_average=False, **(self.norm or {}))(x)
        return self.pool(self.then(x))


def over_images(x):
    windows = (2, 2, 1, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, windows, windows, "VALID")


def twice(x):
    return x * jax.nn.relu(x)  # read by two steps


MOVED = {
    "conv, relu": Block({}),
    "conv without bias, strided": Block({"use_bias": False, "strides": (2, 2), "padding": "VALID"}),
    "dilated conv, which stays": Block({"kernel_dilation": (2, 2)}),
    "no conv": Block(),
    "no scale": Block({}, {"use_scale": False}),
    "no shift": Block({}, {"use_bias": False}),
    "neither": Block({}, {"use_scale": False, "use_bias": False}),
    "maximum with 0": Block({}, then=lambda x: jnp.maximum(0.0, x)),
    "nothing between": Block({}, then=lambda x: x),
    "numbers between": Block({}, then=lambda x: nn.relu(2.0 * x - 0.5) + 1.0),
    "a shift of each image": Block({}, then=lambda x: x + jnp.arange(4.0)[:, None, None, None]),
    "windows of 4 x 2": Block({}, pool=partial(nn.max_pool, window_shape=(4, 2), strides=(4, 2))),
}
STAYS = {
    "a derivative of its author": Block({}, then=straight_through),
    "an order that is not kept": Block({}, then=nn.gelu),
    "a negative factor": Block({}, then=lambda x: -2.0 * x),
    "a number minus it": Block({}, then=lambda x: 1.0 - x),
    "a second reader": Block({}, then=twice),
    "a shift of each position": Block({}, then=lambda x: x + jnp.arange(8.0)[None, None, :, None]),
    "an unknown factor": Block({}, then=lambda x: x * jnp.cos(jnp.arange(5.0))[None, None, None]),
    "windows that overlap": Block(
        {}, pool=partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
    ),
    "windows over images": Block({}, pool=over_images),
    "other axes": Block({}, {"axis": 1}),
    "averages": Block({}, pool=partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))),
}


def models(block):
    return [mj.linen_model(block, statistics="batch", fast=fast) for fast in (True, False)]


def start(model, x):
    """Parameters of both signs."""
    noise = iter(jax.random.split(jax.random.key(2), 9))
    return jax.tree.map(
        lambda leaf: jax.random.normal(next(noise), leaf.shape, x.dtype),
        model.init(jax.random.key(0), x),
    )


def quantities(model, params, x):
    """Predictions, gradients, and their derivatives along a direction, for two sets of weights at once."""

    def loss(params, x):
        return jnp.sum(jnp.sin(model.apply(params, x)))

    def of(params):
        gradient = jax.grad(loss, argnums=(0, 1))
        along = jax.tree.map(jnp.cos, (params, x))
        return model.apply(params, x), *jax.jvp(gradient, (params, x), along)

    return jax.jit(jax.vmap(of))(jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params))


@pytest.mark.parametrize("name", [*MOVED, *STAYS])
def test_values_and_derivatives_are_those_of_the_network(name, float64):
    fast, plain = models((MOVED | STAYS)[name])
    x = jax.random.normal(jax.random.key(1), (4, 9, 8, 5), jnp.float64)
    x = x[:, :8] if name != "conv without bias, strided" else x
    params = start(plain, x)
    found, expected = (quantities(model, params, x) for model in (fast, plain))
    assert (POOLED in mj.replacements(fast, params, x)) == (name in MOVED)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-7)


def test_a_convolution_goes_along_that_is_read_by_nothing_else():
    x = jnp.ones((4, 8, 8, 5))
    fast, _ = models(Block({}))
    assert mj.replacements(fast, start(fast, x), x) == {POOLED: 1}
    fast, _ = models(Block({"kernel_dilation": (2, 2)}))
    assert mj.replacements(fast, start(fast, x), x) == {POOLED: 1, "convolution": 1}
