"""Our operations equal JAX's: values, first and second derivatives, mapped or not."""

from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jax import lax

import metajax as mj
from metajax.ops import convolution
from metajax.ops.greatest import maximum, reduce_max

optimised = pytest.mark.usefixtures("optimised")

LAYOUT = ("NHWC", "HWIO", "NHWC")


FORMS = {
    "patches": convolution._together,
    "patches of an image": convolution._each(partial(convolution._in_groups, 1)),
    "patches of two": convolution._each(partial(convolution._in_groups, 2)),
    "blocks of two": partial(convolution._by_blocks, 2),
    "blocks of three": partial(convolution._by_blocks, 3),
    "convolutions": convolution._each(convolution._alone),
}


def in_every_form(monkeypatch, quantities, tolerance):
    """Asserts that every form the operation takes on a CPU, whatever the size, gives what JAX's does.

    Args:
      quantities: Of a convolution; compiled for each.
      tolerance: Absolute and relative.
    """
    expected = jax.jit(lambda: quantities(lax.conv_general_dilated))()
    for name, form in FORMS.items():
        monkeypatch.setattr(convolution, "_cpu_form", lambda *sizes, form=form: form)
        found = jax.jit(lambda: quantities(mj.conv_general_dilated))()
        chex.assert_trees_all_close(
            found, expected, rtol=tolerance, atol=tolerance, custom_message=name
        )


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID", ((1, 0), (2, 3))]),
    channels=st.integers(1, 3),
)
def test_values_and_two_derivatives_equal_those_of_lax(
    monkeypatch, size, kernel, strides, padding, channels
):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, *size, channels))
    w, v = (jax.random.normal(k, (*kernel, channels, 4)) for k in keys[1:])

    def quantities(convolve):
        whole = partial(convolve, window_strides=strides, padding=padding, dimension_numbers=LAYOUT)
        first = jax.grad(lambda x, w: jnp.sum(jnp.sin(whole(x, w))), argnums=(0, 1))
        return whole(x, w), *jax.jvp(lambda w: first(x, w), (w,), (v,))

    in_every_form(monkeypatch, quantities, 1e-4)


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


@pytest.mark.parametrize("mapped", [(0, 0), (0, None), (None, 0), (1, 3)])
@pytest.mark.parametrize("argument", ["x", "w", "both"])
def test_mapped_over_tasks_it_is_what_each_gives_alone(monkeypatch, mapped, argument, key):
    x, w = jax.random.normal(key, (3, 2, 5, 6, 2)), jax.random.normal(key, (3, 3, 2, 2, 4))
    x, w = (
        a[0] if axis is None else jnp.moveaxis(a, 0, axis)
        for a, axis in zip((x, w), mapped, strict=True)
    )
    wrt = {"x": 0, "w": 1, "both": (0, 1)}[argument]

    def quantities(convolve):
        whole = partial(convolve, window_strides=(2, 1), padding="SAME", dimension_numbers=LAYOUT)

        def of_task(x, w):
            first = jax.grad(lambda x, w: jnp.sum(jnp.sin(whole(x, w))), wrt)
            second = jax.grad(
                lambda *a: sum(jnp.sum(g**3) for g in jax.tree.leaves(first(*a))), wrt
            )
            return whole(x, w), first(x, w), second(x, w)

        return jax.vmap(of_task, mapped)(x, w)

    in_every_form(monkeypatch, quantities, 1e-3)


def test_under_vmap_over_kernels_no_convolution_of_jax_is_left(key):
    x = jnp.ones((3, 2, 6, 6, 1))
    w = jnp.ones((3, 3, 3, 1, 4))

    def program(convolve):
        mapped = jax.vmap(lambda x, w: convolve(x, w, (2, 2), "SAME", None, None, LAYOUT))
        return jax.make_jaxpr(mapped)(x, w)

    assert mj.ops.grouped_convolutions(program(lax.conv_general_dilated)) == 1
    assert "conv_general_dilated" not in str(program(mj.conv_general_dilated))


def test_flops_of_a_convolution_and_of_its_derivatives(key):
    # 2 images of 6 x 6 give 3 x 3 outputs; each of 4 features reads 3 * 3 * 5 values.
    x, w = jnp.ones((2, 6, 6, 5)), jnp.ones((3, 3, 5, 4))
    once = 2 * (2 * 3 * 3) * 4 * (3 * 3 * 5)
    for convolve in (mj.conv_general_dilated, lax.conv_general_dilated):

        def loss(x, w, convolve=convolve):
            return jnp.sum(convolve(x, w, (2, 2), "SAME", dimension_numbers=LAYOUT) ** 2)

        assert mj.ops.flops(jax.make_jaxpr(loss)(x, w)) == once
        loop = jax.make_jaxpr(
            lambda x, w: jax.lax.scan(lambda c, _: (loss(x, w), None), jnp.zeros(()), None, 7)
        )
        assert mj.ops.flops(loop(x, w)) == 7 * once
    both = jax.make_jaxpr(
        jax.grad(
            lambda w: jnp.sum(
                mj.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=LAYOUT) ** 2
            )
        )
    )
    assert mj.ops.flops(both(w)) == 2 * once


LAYER = (((1,), (0,)), ((), ()))


@settings(max_examples=20, deadline=None)
@given(
    examples=st.integers(0, 20),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    mapped=st.sampled_from([None, (0, 0), (0, None), (None, 0), (1, 1)]),
)
def test_a_product_its_derivatives_and_maps_equal_those_of_lax(examples, widths, mapped):
    x = jax.random.normal(jax.random.key(0), (3, examples, widths[0]))
    w = jax.random.normal(jax.random.key(1), (3, *widths))
    axes = mapped or (None, None)
    x, w = (a[0] if i is None else jnp.moveaxis(a, 0, i) for a, i in zip((x, w), axes, strict=True))

    def quantities(product):
        def of_one(x, w):
            gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(product(*a, LAYER))), argnums=(0, 1))
            second = jax.grad(lambda *a: sum(jnp.sum(g**3) for g in gradient(*a)), argnums=(0, 1))
            forward = jax.jvp(gradient, (x, w), (jnp.cos(x), jnp.cos(w)))
            return product(x, w, LAYER), forward, second(x, w)

        return jax.jit(jax.vmap(of_one, mapped) if mapped else of_one)(x, w)

    chex.assert_trees_all_close(
        quantities(mj.dot_general), quantities(lax.dot_general), rtol=1e-4, atol=1e-4
    )


@optimised
@pytest.mark.parametrize(
    ("lhs", "rhs", "numbers", "options"),
    [
        ((2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,))), {}),
        ((4, 3), (4, 5), (((0,), (0,)), ((), ())), {}),
        ((3, 4), (4, 5), LAYER, {"preferred_element_type": jnp.bfloat16}),
        ((2, 3, 4), (4, 5), (((2,), (0,)), ((), ())), {"precision": "highest"}),
        ((4,), (4, 5), (((0,), (0,)), ((), ())), {}),
    ],
    ids=["batch", "first axis", "another type", "more axes", "a vector"],
)
def test_a_product_of_any_kind_is_what_lax_gives(lhs, rhs, numbers, options, key):
    lhs, rhs = jax.random.normal(key, lhs), jax.random.normal(key, rhs)
    ours, theirs = (f(lhs, rhs, numbers, **options) for f in (mj.dot_general, lax.dot_general))
    assert ours.dtype == theirs.dtype
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5)


def test_a_sum_over_few_examples_in_bfloat16_is_as_exact_as_over_many(key):
    x, g = jax.random.normal(key, (2, 7, 16, 3)).astype(jnp.bfloat16)
    ours, theirs = (
        jax.vmap(
            lambda x, g, f=f: jax.vjp(lambda w: f(x, w, LAYER), jnp.zeros((3, 3), x.dtype))[1](g)
        )(x, g)
        for f in (mj.dot_general, lax.dot_general)
    )
    chex.assert_trees_all_equal(ours, theirs)


def test_flops_of_a_product_and_of_its_gradient():
    x, w = jnp.ones((6, 5)), jnp.ones((5, 4))

    def loss(w):
        return jnp.sum(mj.dot_general(x, w, LAYER) ** 2)

    assert mj.ops.flops(jax.make_jaxpr(loss)(w)) == 2 * 6 * 5 * 4
    assert mj.ops.flops(jax.make_jaxpr(jax.grad(loss))(w)) == 2 * 2 * 6 * 5 * 4


@optimised
@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    window=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    overlapping=st.booleans(),
    padding=st.sampled_from(["VALID", "SAME"]),
)
@example(size=(17, 17), window=(17, 17), overlapping=False, padding="VALID")
def test_pooling_equals_flax(size, window, overlapping, padding):
    x, v = jax.random.normal(jax.random.key(0), (2, 3, *size, 2))
    strides = (1, 1) if overlapping else window

    def quantities(pool):
        gradient = jax.grad(lambda x: jnp.sum(jnp.sin(pool(x, window, strides, padding))))
        return pool(x, window, strides, padding), *jax.jvp(gradient, (x,), (v,))

    ours, theirs = (jax.jit(lambda f=f: quantities(f))() for f in (mj.ops.max_pool, nn.max_pool))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 4, 3)])
def test_normalise_has_mean_0_and_variance_1_and_the_derivatives_of_the_formula(shape, key):
    x, v = jax.random.normal(key, (2, *shape)) * 3 + 1
    axes = tuple(range(len(shape) - 1))

    def formula(x):
        mean, variance = jnp.mean(x, axes, keepdims=True), jnp.var(x, axes, keepdims=True)
        return (x - mean) / jnp.sqrt(variance + 1e-5)

    def quantities(normalise):
        gradient = jax.grad(lambda x: jnp.sum(jnp.sin(normalise(x))))
        return normalise(x), *jax.jvp(gradient, (x,), (v,))

    out = mj.ops.normalise(x)
    chex.assert_trees_all_close(jnp.mean(out, axes), jnp.zeros(3), atol=1e-5)
    chex.assert_trees_all_close(jnp.var(out, axes), jnp.ones(3), atol=1e-3)
    chex.assert_trees_all_close(
        quantities(mj.ops.normalise), quantities(formula), rtol=1e-4, atol=1e-5
    )


def test_pooling_first_is_what_pooling_last_is(key):
    x = jax.random.normal(key, (3, 6, 8, 5))
    v = jax.random.normal(jax.random.fold_in(key, 1), x.shape)
    pool = partial(mj.ops.max_pool, window_shape=(2, 2), strides=(2, 2))

    def quantities(form):
        gradient = jax.grad(lambda x: jnp.sum(jnp.sin(form(x))))
        return form(x), *jax.jvp(gradient, (x,), (v,))

    chex.assert_trees_all_close(
        quantities(lambda x: mj.ops.normalise(pool(x), by=mj.ops.moments(x))),
        quantities(lambda x: pool(mj.ops.normalise(x))),
        rtol=1e-4,
        atol=1e-5,
    )


@optimised
@pytest.mark.parametrize(
    ("images", "strides", "first"),
    [((9, 64, 64, 1), (1, 1), None), ((9, 64, 64, 1), (1, 1), 5), ((4, 9, 8, 3), (2, 2), 2)],
    ids=["one by one", "one by one, first", "at once"],
)
def test_moments_of_a_first_layer_are_those_of_its_result(images, strides, first, key):
    x, v = 3 + jax.random.normal(key, (2, *images))
    kernel = jax.random.normal(jax.random.fold_in(key, 1), (3, 3, images[-1], 32))
    pool = partial(mj.ops.max_pool, window_shape=(2, 2), strides=(2, 2))

    def of(known, kernel, x, v):
        def quantities(kernel, x):
            layer = mj.ops.Convolution(kernel, strides)
            # Only of a `Convolution` it is known what it sees.
            layer = layer if known else layer.__call__
            pooled, moments = mj.ops.pool_and_moments(x, layer, pool, first)
            return jnp.sum(jnp.sin(mj.ops.normalise(pooled, by=moments)))

        gradient = jax.grad(quantities, argnums=(0, 1))
        second = jax.jvp(partial(gradient, kernel), (x,), (v,))
        mapped = jax.vmap(lambda k: gradient(k, x)[0])(jnp.stack([kernel, 2 * kernel]))
        return quantities(kernel, x), second, mapped

    found, expected = jax.jit(lambda *given: (of(True, *given), of(False, *given)))(kernel, x, v)
    # Sums over 36,864 places round by a share of their greatest entry, and some entries cancel.
    sizes = jax.tree.map(lambda leaf: jnp.abs(leaf).max(), expected)
    found, expected = (jax.tree.map(jnp.divide, tree, sizes) for tree in (found, expected))
    chex.assert_trees_all_close(found, expected, rtol=0, atol=1e-4)


@optimised
def test_an_inner_loop_sees_the_patches_of_its_images_once(key):
    x = jax.random.normal(key, (25, 64, 64, 3))
    kernel = jax.random.normal(key, (3, 3, 3, 32))

    def loop(kernel, x):
        def step(kernel, _):
            _, moments = mj.ops.pool_and_moments(x, mj.ops.Convolution(kernel), lambda y: y[:, :1])
            return kernel + moments.variance.reshape(1, 1, 1, -1), None

        return jax.lax.scan(step, kernel, length=5)[0]

    program = jax.jit(loop).lower(kernel, x).compile().as_text() or ""
    outside = program[program.index("\nENTRY") :]
    assert any(" while(" in line and "f32[25,27,27]" in line for line in outside.splitlines())


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (mj.mlp(), (3, 1)),
        (mj.conv4(2, filters=4), (3, 16, 16, 1)),
        (mj.conv4(2, filters=16, downsample="pool"), (3, 16, 16, 1)),
    ],
    ids=["mlp", "conv4", "conv4 with pooling"],
)
def test_models_are_exported_for_any_number_of_examples(model, shape, key):
    x = jax.random.normal(key, shape)
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(key, x))
    any_number = jax.export.symbolic_shape(", ".join(["n", *map(str, shape[1:])]))

    def quantities(params, x):
        return model.apply(params, x), jax.grad(lambda p: jnp.sum(model.apply(p, x) ** 2))(params)

    exported = jax.export.export(jax.jit(quantities))(
        params, jax.ShapeDtypeStruct(any_number, x.dtype)
    )
    for images in (x, jnp.concatenate([x, 2 * x + 1])):
        chex.assert_trees_all_close(
            exported.call(params, images), jax.jit(quantities)(params, images), rtol=1e-3, atol=1e-4
        )


def test_the_form_is_chosen_by_the_platform_that_is_compiled_for(key):
    # A program for another platform than this machine's is exported, and has no loop over images.
    layer = mj.ops.Convolution(jax.random.normal(key, (3, 3, 1, 32)))

    def run(x):
        return mj.ops.pool_and_moments(x, layer, lambda y: y)

    x = jax.ShapeDtypeStruct((9, 64, 64, 1), jnp.float32)
    loops = {
        platform: jax.export.export(jax.jit(run), platforms=[platform])(x)
        .mlir_module()
        .count("stablehlo.while")
        for platform in ("cpu", "cuda")
    }
    assert loops["cpu"] >= 1
    assert loops["cuda"] == 0


@optimised
def test_mapped_over_tasks_moments_of_a_first_layer_have_second_derivatives(key):
    x = jax.random.normal(key, (3, 2, 8, 8, 1))
    kernels, v = jax.random.normal(key, (2, 3, 3, 3, 1, 9))
    pool = partial(mj.ops.max_pool, window_shape=(2, 2), strides=(2, 2))

    def of(known):
        def loss(kernel, x):
            layer = mj.ops.Convolution(kernel)
            pooled, moments = mj.ops.pool_and_moments(
                x, layer if known else layer.__call__, pool, None
            )
            return jnp.sum(jnp.sin(mj.ops.normalise(pooled, by=moments)))

        def second(kernel, x, v):
            return jax.jvp(lambda k: jax.grad(loss)(k, x), (kernel,), (v,))

        return jax.jit(jax.vmap(second))(kernels, x, v)

    chex.assert_trees_all_close(of(True), of(False), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_greatest_shares_its_derivative_as_jax_does(axes, mapped, key):
    # Few different numbers, so that many are equal.
    x = jax.random.randint(key, (2, 4, 5, 3), 0, 3).astype(jnp.float32)
    changes = jax.random.normal(key, x.shape)

    def quantities(of_greatest):
        def loss(x):
            return jnp.sum(jnp.sin(of_greatest(x) + 1))

        def derived(x, v):
            return of_greatest(x), *jax.jvp(jax.grad(loss), (x,), (v,))

        return jax.vmap(derived)(x, changes) if mapped else derived(x[0], changes[0])

    ours = quantities(lambda x: reduce_max(x, axes))
    chex.assert_trees_all_close(ours, quantities(lambda x: jnp.max(x, axes)), atol=1e-6)
    ours = quantities(lambda x: maximum(x, x[::-1]))
    chex.assert_trees_all_close(ours, quantities(lambda x: jnp.maximum(x, x[::-1])), atol=1e-6)
