"""Our convolution equals JAX's: values, first and second derivatives."""

import chex
import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import metajax as mj

LAYOUT = ("NHWC", "HWIO", "NHWC")


def both(x, w, v, **options):
    """Values, gradients and a second derivative of ours and of JAX's convolution."""

    def quantities(convolve):
        def loss(x, w):
            return jnp.sum(jnp.sin(convolve(x, w, dimension_numbers=LAYOUT, **options)))

        first = jax.grad(loss, argnums=(0, 1))
        _, second = jax.jvp(lambda w: first(x, w), (w,), (v,))
        return convolve(x, w, dimension_numbers=LAYOUT, **options), first(x, w), second

    return quantities(mj.conv_general_dilated), quantities(lax.conv_general_dilated)


@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID", ((1, 0), (2, 3))]),
    channels=st.integers(1, 3),
)
def test_values_and_two_derivatives_equal_those_of_lax(size, kernel, strides, padding, channels):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, *size, channels))
    w, v = (jax.random.normal(k, (*kernel, channels, 4)) for k in keys[1:])
    ours, theirs = jax.jit(lambda *a: both(*a, window_strides=strides, padding=padding))(x, w, v)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"rhs_dilation": (2, 2)}, {"lhs_dilation": (2, 1)}, {"feature_group_count": 2}],
    ids=["dilated kernel", "dilated input", "groups"],
)
def test_what_it_does_not_handle_is_left_to_lax(options, key):
    x = jax.random.normal(key, (2, 8, 8, 4))
    w = jax.random.normal(key, (3, 3, 4 // options.get("feature_group_count", 1), 4))
    ours, theirs = (
        convolve(x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT, **options)
        for convolve in (mj.conv_general_dilated, lax.conv_general_dilated)
    )
    chex.assert_trees_all_equal(ours, theirs)


def test_under_vmap_over_kernels_no_convolution_is_left(key):
    x = jnp.ones((3, 2, 6, 6, 1))
    w = jnp.ones((3, 3, 3, 1, 4))
    mapped = jax.vmap(
        lambda x, w: mj.conv_general_dilated(x, w, (2, 2), "SAME", None, None, LAYOUT)
    )
    assert "conv_general_dilated" not in str(jax.make_jaxpr(mapped)(x, w))
    assert mapped(x, w).shape == (3, 2, 3, 3, 4)
