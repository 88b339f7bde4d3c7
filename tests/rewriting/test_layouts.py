"""Programs with channels anywhere are computed with channels last, and nothing changes but speed."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from rewriting.same import assert_equal, kernel, replaced, sample

from metajax.rewriting.fast import rewritten

FIRST = ("NCHW", "OIHW", "NCHW")
SHAPE = (2, 4, 6, 6)


def conv(x, layout=FIRST, inputs=4, outputs=4):
    sizes = {"O": outputs, "I": inputs, "H": 3, "W": 3}
    weights = kernel(*(sizes[axis] for axis in layout[1])).astype(x.dtype)
    return lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=layout)


def over_channels(x):
    mean = x.mean(1, keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(1, keepdims=True) + 1e-5)


def over_images(x):
    axes = (0, 2, 3)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    scale = kernel(4).astype(x.dtype).reshape(1, 4, 1, 1)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale + 0.1


def over_groups(x):
    n, _, h, w = x.shape
    grouped = x.reshape(n, 2, 2, h, w)
    mean, variance = grouped.mean((2, 3, 4), keepdims=True), grouped.var((2, 3, 4), keepdims=True)
    return ((grouped - mean) * lax.rsqrt(variance + 1e-5)).reshape(x.shape)


def pool(operation, start):
    window = (1, 1, 2, 2)

    def function(x):
        pooled = lax.reduce_window(x, start, operation, window, window, "VALID")
        return jnp.repeat(jnp.repeat(pooled, 2, 2), 2, 3)

    return function


def squeeze_and_excite(x):
    gate = conv(x.mean((2, 3), keepdims=True), ("NCHW", "IOHW", "NCHW"))
    return x * jax.nn.sigmoid(gate)


def joined(x):
    return jnp.concatenate([x[:, :2], 2 * x[:, 1:3]], axis=1)


def padded(x):
    return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 1)))[:, :, :-1, 1:]


def one_by_one(x):
    """As a network for one image is mapped over images."""
    return jax.vmap(lambda image: conv(image[None])[0])(x)


def in_other_orders(x):
    return conv(x.transpose(1, 3, 0, 2), ("CWNH", "HOWI", "WNHC")).transpose(1, 3, 2, 0)


LAYERS = {
    "convolution": conv,
    "mapped convolution": one_by_one,
    "other orders": in_other_orders,
    "bias": lambda x: x + kernel(4, 1, 1).astype(x.dtype)[None],
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "where": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "over channels": over_channels,
    "over images": over_images,
    "over groups": over_groups,
    "softmax": lambda x: jax.nn.softmax(x, axis=1),
    "attention": lambda x: x @ jax.nn.softmax(x.mT @ x / 3, -1),
    "pooled": pool(lax.add, 0.0),
    "greatest": pool(lax.max, -jnp.inf),
    "gate": squeeze_and_excite,
    "joined": joined,
    "padded": padded,
    "reversed": lambda x: x[:, ::-1],
    "flat": lambda x: x + x.reshape(len(x), -1).sum(1).reshape(-1, 1, 1, 1),
    "turned": lambda x: x.swapaxes(2, 3),
    "by position": lambda x: x * jnp.tanh(x.sum((1, 2)))[:, None, None],
    "scan": lambda x: lax.scan(lambda c, _: (conv(c) * 0.5, None), x, length=2)[0],
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_between_convolutions_keeps_values_and_derivatives(name):
    assert_equal(lambda x: conv(LAYERS[name](conv(x))), sample(SHAPE))


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_keep_values_and_derivatives(seed):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(list(LAYERS), size=6)
    kept = rng.integers(0, 6, size=6)

    def function(x):
        values = [conv(x)]
        for i, name in enumerate(chosen):
            out = LAYERS[name](values[-1])
            values.append(out + 0.5 * values[kept[i] % len(values)] if kept[i] % 2 else out)
        return values[-1], values[2].sum(1)

    def flat(x):
        return jnp.concatenate([out.ravel() for out in function(x)])

    assert_equal(flat, sample(SHAPE))


def transposed(function, x):
    """Sizes of the arrays that a rewritten program transposes, outside of what was put in place of steps."""
    program = jax.make_jaxpr(rewritten(function))(x)
    return [
        equation.invars[0].aval.size
        for equation in program.eqns
        if equation.primitive.name == "transpose"
    ]


@pytest.mark.parametrize(
    "name", ["mapped convolution", "bias", "relu", "over channels", "over images", "over groups",
             "pooled", "greatest", "gate", "joined", "padded"]
)  # fmt: skip
def test_only_what_comes_in_and_goes_out_is_transposed(name):
    def function(x):
        return conv(LAYERS[name](conv(x)))

    images = [size for size in transposed(function, sample(SHAPE)) if size > 4 * 4 * 9]
    assert len(images) == 2


class Cnn(eqx.Module):
    """Convolution, normalisation over channels, ReLU and pooling, for one image."""

    conv: eqx.nn.Conv2d
    norm: Callable
    pool: Callable

    def __init__(self, norm, pool, key):
        self.conv, self.norm, self.pool = eqx.nn.Conv2d(3, 8, 3, padding=1, key=key), norm, pool

    def __call__(self, x):
        return self.pool(jax.nn.relu(self.norm(self.conv(x)))).ravel()


def test_networks_of_equinox_are_known_as_those_with_channels_last():
    x = sample((4, 3, 8, 8))
    group_norm = eqx.nn.GroupNorm(2, 8)
    for norm, pooling, what in (
        (jax.vmap(jax.vmap(eqx.nn.LayerNorm(8), 1, 1), 1, 1), eqx.nn.AvgPool2d(2, 2), "layer norm"),
        (group_norm, eqx.nn.MaxPool2d(2, 2), "normalisation"),
    ):
        net = Cnn(norm, pooling, jax.random.key(0))
        found = replaced(jax.vmap(net), x)
        kind = "max pooling" if what == "normalisation" else "average pooling"
        assert found == {"convolution": 1, what: 1, kind: 1}


def test_maxima_come_before_a_batch_normalisation_with_channels_first():
    def function(x):
        window = (1, 1, 2, 2)
        x = jax.nn.relu(over_images(conv(x)))
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")

    assert replaced(function, sample(SHAPE)) == {"pooled normalisation": 1}
    assert_equal(function, sample(SHAPE))


def test_the_number_of_images_may_be_unknown():
    (n,) = jax.export.symbolic_shape("n")
    function = rewritten(lambda x: conv(jax.nn.relu(over_channels(conv(x)))))
    shape = jax.ShapeDtypeStruct((n, *SHAPE[1:]), jnp.float32)
    exported = jax.export.export(jax.jit(function))(shape)
    x = sample((3, *SHAPE[1:]))
    np.testing.assert_allclose(exported.call(x), function(x), rtol=1e-4, atol=1e-5)
