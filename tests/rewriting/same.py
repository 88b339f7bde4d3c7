"""Whether a rewritten function is the same as before, in its values and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

import metajax as mj
from metajax.rewriting.fast import rewritten


def derivatives(function, x):
    """Values, a gradient, and the gradient of its norm, which all second derivatives enter."""
    weights = jnp.cos(jnp.arange(jax.eval_shape(function, x).size)).reshape(
        jax.eval_shape(function, x).shape
    )

    def first(x):
        return jax.grad(lambda x: jnp.sum(weights * function(x)))(x)

    mapped = jax.vmap(lambda x: jax.grad(lambda x: jnp.sum(first(x) ** 3))(x))
    return function(x), first(x), mapped(jnp.stack([x, 2 * x]))


def assert_equal(function, x):
    with jax.enable_x64(True):
        x = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), x)
        ours, theirs = derivatives(rewritten(function), x), derivatives(function, x)
        ours, theirs = (jax.tree.map(np.asarray, both) for both in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9 * (np.abs(b).max() + 1))


def replaced(function, x):
    return mj.replacements(mj.Model(lambda key, x: (), lambda params, x: function(x)), (), x)


def sample(shape):
    return jax.random.normal(jax.random.key(1), shape) + 0.3


def kernel(*shape):
    return jax.random.normal(jax.random.key(2), shape) / 3
