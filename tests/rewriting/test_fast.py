"""`fast` replaces what it should, nothing else, and changes neither values nor derivatives."""

from functools import partial
from typing import Any

import chex
import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from rewriting.same import assert_equal, kernel, replaced, sample

import metajax as mj
from metajax.rewriting.fast import rewritten

IMAGES, ROWS = (3, 8, 8, 4), (3, 5, 8)


def convolution(numbers, kernel_shape, strides=(1, 1), padding="SAME", **options):
    def function(x):
        return lax.conv_general_dilated(
            x,
            kernel(*kernel_shape).astype(x.dtype),
            strides,
            padding,
            dimension_numbers=numbers,
            **options,
        )

    return function


def bare_layer_norm(x):
    mean = jnp.mean(x, -1, keepdims=True)
    deviation = jnp.sqrt(jnp.mean((x - mean) ** 2, -1, keepdims=True) + 1e-5)
    return (x - mean) / deviation * kernel(1, 1, x.shape[-1]).astype(x.dtype) + 0.1


def by_var(x):
    variance = jnp.var(x, axis=-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(variance + 1e-5)


def by_squares(x):
    mean, square = x.mean((0, 1), keepdims=True), (x * x).mean((0, 1), keepdims=True)
    return 2.0 * (x - mean) * (square - mean**2 + 1e-3) ** -0.5


def rms(x):
    return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)


def linen(module):
    def function(x):
        with jax.ensure_compile_time_eval():  # weights are no part of the program
            params = module.init(jax.random.key(0), jnp.zeros(x.shape))
        params = jax.tree.map(lambda leaf: (leaf + 0.1).astype(x.dtype), params)
        return module.apply(params, x, mutable=["batch_stats"])[0]

    return function


def equinox_norm(x):
    module = eqx.nn.LayerNorm(x.shape[-1])
    module = jax.tree.map(lambda a: a.astype(x.dtype) if eqx.is_array(a) else a, module)
    return jax.vmap(jax.vmap(module))(x)


def equinox_linear(x):
    with jax.ensure_compile_time_eval():
        module = eqx.nn.Linear(x.shape[-1], 3, key=jax.random.key(0))
        module = jax.tree.map(lambda a: a.astype(x.dtype) if eqx.is_array(a) else a, module)
    return jax.vmap(jax.vmap(module))(x)


def haiku_norm(x):
    transformed = hk.without_apply_rng(
        hk.transform(lambda x: hk.LayerNorm(-1, create_scale=True, create_offset=True)(x))
    )
    params = transformed.init(None, x)
    return transformed.apply(jax.tree.map(lambda p: p + 0.1, params), x)


def haiku_group_norm(x):
    transformed = hk.without_apply_rng(hk.transform(lambda x: hk.GroupNorm(2)(x)))
    params = transformed.init(None, x)
    return transformed.apply(jax.tree.map(lambda p: p + 0.1, params), x)


def group_norm(x):
    grouped = x.reshape(*x.shape[:-1], 2, -1)
    repeat = partial(jnp.repeat, repeats=x.shape[-1] // 2, axis=-1)
    mean, deviation = repeat(grouped.mean(-1)), repeat(jnp.sqrt(grouped.var(-1) + 1e-3))
    return (x - mean) / deviation * 1.5 + 0.5


def in_scan(x):
    return lax.scan(lambda carry, _: (by_var(carry) + 0.5 * carry, carry), x, length=3)[0]


def in_cond(x):
    return lax.cond(jnp.sum(x) > -1e9, jax.nn.gelu, jnp.sin, x)


def in_remat(x):
    return jax.checkpoint(lambda x: by_var(jnp.sin(x)))(x)


def in_jit(x):
    return jax.jit(lambda x: jax.jit(bare_layer_norm)(x) @ jnp.ones((8, 2), x.dtype))(x)


def softmax_by_hand(x):
    powers = jnp.exp(x - jnp.max(x, axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


NHWC, NCHW = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


def in_the_wrong_place(x):
    """On a square, every row is divided by the sum of another one."""
    powers = jnp.exp(x - jnp.max(x, axis=1, keepdims=True))
    return powers / powers.sum(axis=1)[None]


CASES = {
    "convolution, flax": (linen(nn.Conv(3, (3, 3), strides=2)), IMAGES, {"convolution": 1}),
    "convolution, channels first": (
        convolution(NCHW, (5, 8, 3, 3)),
        (3, 8, 4, 4),
        {"convolution": 1},
    ),
    "convolution of a sequence": (linen(nn.Conv(3, (3,))), ROWS, {"convolution": 1}),
    "dilated convolution": (
        convolution(NHWC, (3, 3, 4, 2), rhs_dilation=(2, 2)),
        IMAGES,
        {"convolution": 1},
    ),
    "transposed convolution": (
        linen(nn.ConvTranspose(3, (2, 2), strides=(2, 2))),
        (3, 4, 4, 4),
        {"convolution": 1},
    ),
    "dense layer": (linen(nn.Dense(3)), ROWS, {"dense product": 1}),
    "dense layer, transposed weights": (
        lambda x: jnp.einsum("abi,oi->abo", x, kernel(3, 8).astype(x.dtype)),
        ROWS,
        {"dense product": 1},
    ),
    "depthwise convolution": (
        convolution(NHWC, (3, 3, 1, 4), (2, 1), feature_group_count=4),
        IMAGES,
        {"grouped convolution": 1},
    ),
    "depthwise, two features": (
        convolution(NHWC, (3, 2, 1, 8), feature_group_count=4),
        IMAGES,
        {"grouped convolution": 1},
    ),
    "two groups": (
        convolution(NHWC, (3, 3, 2, 6), (1, 2), feature_group_count=2),
        IMAGES,
        {"grouped convolution": 1},
    ),
    "normalisation of a shifted array": (
        lambda x: linen(nn.BatchNorm(use_running_average=False))(
            0.3 + x + kernel(1, 1, 1, 4).astype(x.dtype)
        ),
        IMAGES,
        {"normalisation": 1},
    ),
    "layer norm of a shifted array": (
        lambda x: linen(nn.LayerNorm())(x + kernel(1, 1, 1, 4).astype(x.dtype)),
        IMAGES,
        {"layer norm": 1},
    ),
    "dense layer, equinox": (equinox_linear, ROWS, {"dense product": 1}),
    "dense layer, weights first": (
        lambda x: jnp.einsum("io,abi->oab", kernel(8, 3).astype(x.dtype), x),
        ROWS,
        {"dense product": 1},
    ),
    "max pooling": (lambda x: nn.max_pool(x, (2, 2), (2, 2)), IMAGES, {"max pooling": 1}),
    "average pooling": (lambda x: nn.avg_pool(x, (2, 2), (2, 2)), IMAGES, {"average pooling": 1}),
    "layer norm, flax": (linen(nn.LayerNorm()), ROWS, {"layer norm": 1}),
    "layer norm, flax, two passes": (
        linen(nn.LayerNorm(use_fast_variance=False)),
        ROWS,
        {"layer norm": 1},
    ),
    "layer norm, equinox": (equinox_norm, ROWS, {"layer norm": 1}),
    "layer norm, haiku": (haiku_norm, ROWS, {"layer norm": 1}),
    "layer norm, bare": (bare_layer_norm, ROWS, {"layer norm": 1}),
    "layer norm by jnp.var": (by_var, ROWS, {"layer norm": 1}),
    "batch norm, flax": (
        linen(nn.BatchNorm(use_running_average=False)),
        IMAGES,
        {"normalisation": 1},
    ),
    "batch norm, bare": (by_squares, ROWS, {"normalisation": 1}),
    "group norm, haiku": (haiku_group_norm, IMAGES, {"normalisation": 1}),
    "group norm, flax": (linen(nn.GroupNorm(2)), IMAGES, {"normalisation": 1}),
    "group norm, flax, two passes": (
        linen(nn.GroupNorm(2, use_fast_variance=False)),
        IMAGES,
        {"normalisation": 1},
    ),
    "group norm, flax, without a scale": (
        linen(nn.GroupNorm(None, group_size=2, use_scale=False)),
        IMAGES,
        {"normalisation": 1},
    ),
    "group norm, flax, of vectors": (linen(nn.GroupNorm(4)), (3, 8), {"layer norm": 1}),
    "group norm beside its input": (
        lambda x: jnp.sin(linen(nn.GroupNorm(2))(x) + x) * x,
        IMAGES,
        {"normalisation": 1},
    ),
    "group norm, bare": (group_norm, ROWS, {"layer norm": 1}),
    "RMS norm, flax": (linen(nn.RMSNorm()), ROWS, {"RMS norm": 1}),
    "RMS norm, bare": (rms, ROWS, {"RMS norm": 1}),
    "GELU": (jax.nn.gelu, ROWS, {"GELU": 1}),
    "GELU, exact": (lambda x: jax.nn.gelu(x, approximate=False), ROWS, {"GELU": 1}),
    "GELU, by erf": (lambda x: x * 0.5 * (1 + lax.erf(x / jnp.sqrt(2.0))), ROWS, {"GELU": 1}),
    "SiLU": (jax.nn.silu, ROWS, {"SiLU": 1}),
    "SiLU, bare": (lambda x: x * jax.nn.sigmoid(x), ROWS, {"SiLU": 1}),
    "softmax": (jax.nn.softmax, ROWS, {"softmax": 1}),
    "softmax, bare": (softmax_by_hand, ROWS, {"softmax": 1}),
    "sums in the wrong place": (in_the_wrong_place, (4, 4), {"maximum": 1}),
    "maximum": (lambda x: jnp.maximum(x, 0.1) + jnp.maximum(x, x.T), (4, 4), {"maximum": 2}),
    "minimum": (lambda x: jnp.minimum(x, x.sum()), ROWS, {"minimum": 1}),
    "greatest": (lambda x: x.max((0, 2)), ROWS, {"maximum": 1}),
    "least": (lambda x: x.min(), ROWS, {"minimum": 1}),
    "scan": (in_scan, ROWS, {"layer norm": 1}),
    "cond": (in_cond, ROWS, {"GELU": 1}),
    "remat": (in_remat, ROWS, {"layer norm": 1}),
    "jit": (in_jit, ROWS, {"layer norm": 1, "dense product": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_known_is_replaced_by_its_equal(name):
    function, shape, expected = CASES[name]
    x = sample(shape)
    assert replaced(function, x) == expected
    assert_equal(function, x)


@jax.custom_jvp
def own_rule(x):
    return jax.nn.gelu(x)


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), 7 * tangents[0]))


def mixed_groups(x):
    """The mean of each group is taken from the features of the other one."""
    grouped = x.reshape(*x.shape[:-1], 2, -1)
    repeat = partial(jnp.repeat, repeats=x.shape[-1] // 2, axis=-1)
    mean, inverse = repeat(grouped.mean(-1)[..., ::-1]), lax.rsqrt(grouped.var(-1) + 1e-3)
    return (x - mean) * repeat(inverse)


LEFT = {
    "means of other groups": (mixed_groups, ROWS),
    "tiled and not repeated": (
        lambda x: (
            (x - jnp.tile(x.reshape(*x.shape[:-1], 2, -1).mean(-1), x.shape[-1] // 2))
            * lax.rsqrt(
                jnp.repeat(x.reshape(*x.shape[:-1], 2, -1).var(-1), x.shape[-1] // 2, -1) + 1
            )
        ),
        ROWS,
    ),
    "a mean inside of GELU": (
        lambda x: (
            0.5 * x * (1 + jnp.tanh(0.7978845608 * (x + 0.044715 * x**3)).mean(-1, keepdims=True))
        ),
        ROWS,
    ),
    "overlapping windows": (lambda x: nn.max_pool(x, (3, 3), (2, 2)), IMAGES),
    "padded windows": (lambda x: nn.avg_pool(x, (2, 2), (2, 2), "SAME"), (3, 7, 7, 4)),
    "variance with n - 1": (
        lambda x: (
            (x - x.mean(-1, keepdims=True))
            * lax.rsqrt(jnp.var(x, -1, keepdims=True, ddof=1) + 1e-5)
        ),
        ROWS,
    ),
    "deviation + epsilon": (
        lambda x: (x - x.mean(-1, keepdims=True)) / (jnp.std(x, -1, keepdims=True) + 1e-3),
        ROWS,
    ),
    "another mean": (
        lambda x: (x - x.mean(1, keepdims=True)) * lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5),
        ROWS,
    ),
    "a constant mean": (
        lambda x: (
            (x - lax.stop_gradient(x.mean(-1, keepdims=True)))
            * lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5)
        ),
        ROWS,
    ),
    "another slope": (lambda x: 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.05 * x**3))), ROWS),
    "another softmax": (lambda x: jnp.exp(x) / jnp.exp(2 * x).sum(-1, keepdims=True), ROWS),
    "a rule of its author": (own_rule, ROWS),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_only_looks_alike_is_left(name):
    function, shape = LEFT[name]
    assert replaced(function, sample(shape)) == {}
    assert_equal(function, sample(shape))


def test_an_epsilon_is_kept_however_small_it_is():
    def function(x):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-12)

    x = jnp.ones((2, 4)).at[1].set(1 + 1e-5 * jnp.arange(4.0))
    assert replaced(function, x) == {"layer norm": 1}
    np.testing.assert_allclose(rewritten(function)(x), function(x), rtol=1e-5)


def test_a_number_that_is_traced_outside_is_read():
    def loss(scale, of=lambda f: f):
        return jnp.sum(of(lambda x: by_var(x) * (scale + 1.0) + scale)(sample(ROWS)) ** 2)

    np.testing.assert_allclose(jax.grad(loss)(2.0, rewritten), jax.grad(loss)(2.0), rtol=1e-4)


LAYERS = {
    "norm": bare_layer_norm,
    "flax norm": linen(nn.LayerNorm()),
    "rms": rms,
    "over rows": by_squares,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "dense": lambda x: x @ kernel(8, 8).astype(x.dtype),
    "sine": jnp.sin,
    "scan": in_scan,
    "remat": in_remat,
    "attention": lambda x: jax.nn.softmax(x @ x.mT / 3) @ x,
    "scaled": lambda x: x * x.mean(-1, keepdims=True),
    "branch": lambda x: jnp.where(x > 0, jax.nn.gelu(x), by_var(x)),
}


def program(rng):
    """A random composition of layers, with residual sums and values that several layers read."""
    chosen = rng.choice(list(LAYERS), size=6)
    kept = rng.integers(0, 6, size=6)

    def function(x):
        values = [x]
        for i, name in enumerate(chosen):
            out = LAYERS[name](values[-1])
            values.append(out + 0.5 * values[kept[i] % len(values)] if kept[i] % 2 else out)
        return values[-1]

    return function


@pytest.mark.parametrize("seed", range(7))
def test_random_programs_keep_their_values_and_derivatives(seed):
    assert_equal(program(np.random.default_rng(seed)), sample((2, 3, 8)))


def test_what_needs_values_is_computed_as_written():
    model = mj.fast(mj.Model(lambda key, x: (), lambda params, x: x @ x.T if x.sum() > 0 else x))
    assert model.apply((), jnp.ones((2, 2))).tolist() == [[2, 2], [2, 2]]


@jax.custom_vjp
def own_reverse_rule(x):
    return jax.nn.gelu(x)


own_reverse_rule.defvjp(lambda x: (own_reverse_rule(x), x), lambda x, ct: (5 * ct + 0 * x,))


def test_a_reverse_rule_of_its_author_is_kept_beside_what_is_replaced():
    def function(x):
        return own_reverse_rule(by_var(x))

    x = sample(ROWS)
    assert replaced(function, x) == {"layer norm": 1}
    ours, theirs = (
        jax.grad(lambda x, f=f: jnp.sum(jnp.sin(f(x))))(x) for f in (rewritten(function), function)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_recurrent_network_keeps_its_loop():
    net = nn.RNN(nn.LSTMCell(features=5))
    model, plain = mj.linen_model(net), mj.linen_model(net, fast=False)
    x = sample((2, 6, 3))
    params = model.init(jax.random.key(0), x)
    assert mj.replacements(model, params, x)["dense product"] >= 8
    for order in (lambda f: f, lambda f: jax.grad(lambda p, x: jnp.sum(f(p, x) ** 2))):
        chex.assert_trees_all_close(
            order(model.apply)(params, x), order(plain.apply)(params, x), rtol=1e-4, atol=1e-6
        )


def test_sizes_may_be_unknown():
    model = mj.linen_model(nn.Sequential([nn.Dense(4), nn.LayerNorm(), nn.gelu]))
    params = model.init(jax.random.key(0), jnp.ones((2, 3)))
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(jax.jit(partial(model.apply, params)))(
        jax.ShapeDtypeStruct((n, 3), jnp.float32)
    )
    x = sample((7, 3))
    np.testing.assert_allclose(exported.call(x), model.apply(params, x), rtol=1e-5, atol=1e-6)


def test_what_is_shown_while_tracing_and_running_is_still_shown(capfd):
    def function(params, x):
        jax.debug.print("sum {}", x.sum())
        return by_var(x) + params

    mj.fast(mj.Model(lambda key, x: 0.0, function)).apply(0.0, sample(ROWS))
    jax.effects_barrier()
    assert capfd.readouterr().out.startswith("sum ")


def test_a_fault_of_the_network_is_told_by_the_network():
    model = mj.fast(mj.Model(lambda key, x: (), lambda params, x: x @ jnp.ones((5, 2))))
    with pytest.raises(TypeError, match="dot_general requires contracting dimensions"):
        model.apply((), jnp.ones((2, 3)))


def test_no_model_is_named():
    with pytest.raises(ValueError, match=r"fast: model is a Dense, not a mj\.Model; wrap it"):
        mj.fast(nn.Dense(1))  # type: ignore[arg-type]


def test_rewriting_twice_changes_nothing():
    model = mj.linen_model(nn.Sequential([nn.Dense(4), nn.LayerNorm()]))
    x = jnp.ones((2, 3))
    params = model.init(jax.random.key(0), x)
    expected = {"dense product": 1, "layer norm": 1}
    assert mj.replacements(model, params, x) == expected
    assert mj.replacements(mj.fast(model), params, x) == expected
    as_written = mj.linen_model(nn.Dense(4), fast=False)
    program = jax.make_jaxpr(as_written.apply)(as_written.init(jax.random.key(0), x), x)
    assert "fast_" not in str(program)


def test_fit_says_what_was_replaced(capsys):
    learner = mj.maml(mj.linen_model(nn.Dense(1)), mj.mse, optax.sgd(0.01), num_steps=1)
    objective = mj.query_loss(learner, mj.mse)
    key = jax.random.key(0)
    mj.fit(
        learner,
        objective,
        optax.sgd(0.1),
        mj.tasks.sinusoid(),
        key=key,
        outer_steps=1,
        meta_batch=2,
    )
    assert "Rewritten in the model to be fast: 1 dense product." in capsys.readouterr().out


def test_a_plain_pair_is_rewritten_and_a_model_is_not():
    pair = (lambda key, x: jnp.ones((1, 1)), lambda w, x: x @ w)
    x = jnp.ones((2, 1))
    model: Any
    for model, expected in ((pair, {"dense product": 1}), (mj.Model(*pair), {})):
        learner = mj.maml(model, mj.mse, optax.sgd(0.1), num_steps=1)
        predict = mj.Model(learner.init, learner.predict)
        assert mj.replacements(predict, jnp.ones((1, 1)), x) == (expected or {"dense product": 1})
        assert bool(expected) == (
            "fast_" in str(jax.make_jaxpr(learner.predict)(jnp.ones((1, 1)), x))
        )
