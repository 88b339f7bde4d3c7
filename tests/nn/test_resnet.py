"""ResNet-12: its size, and its values and derivatives beside flax's as its users write it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.resnet12 import ResNet12 as Reference

import metajax as mj

WIDTHS = (2, 3, 4, 5)
IMAGES = np.random.default_rng(0).normal(size=(4, 16, 16, 3))


@pytest.mark.parametrize("readout, positions", [("mean", 1), ("flatten", 2 * 2)])
def test_it_has_the_published_size(readout, positions, key):
    widths = (64, 160, 320, 640)
    shapes = jax.eval_shape(mj.resnet12(5, readout=readout).init, key, jnp.ones((1, 32, 32, 3)))
    counted = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    expected = 5 * 640 * positions + 5
    for before, after in zip((3, *widths[:3]), widths, strict=True):
        # Three convolutions and a projection, four shifts, and two scales.
        expected += 9 * (before * after + 2 * after**2) + before * after + 6 * after
    assert counted == expected
    assert 12.4e6 < counted < 12.5e6  # published: 12.4 million


def as_flax(params):
    """Our parameters as flax's: `scale * (x + bias)` is `scale * x + scale * bias`."""
    found = {"Dense_0": params["params"]["Dense_0"]}
    for name, block in params["params"].items():
        if not name.startswith("Block"):
            continue
        scales = [block["Scale_0"]["scale"], 1.0, 1.0, block["Scale_1"]["scale"]]
        found[name] = {}
        for i, scale in enumerate(scales):
            bias = block[f"BatchStatistics_{i}"]["bias"]
            found[name][f"Conv_{i}"] = block[f"Conv_{i}"]
            found[name][f"BatchNorm_{i}"] = {
                "scale": scale * jnp.ones_like(bias),
                "bias": scale * bias,
            }
    return {"params": found}


def _moved(params, key):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    moved = [v + 0.3 * jax.random.normal(k, v.shape) for k, v in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, moved)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("widths, derived", [(WIDTHS, False), ((3,), True)])
def test_values_and_two_derivatives_are_those_of_flax(widths, derived, key):
    ours, theirs = mj.ResNet12(2, widths), Reference(features=widths, classes=2)
    x = jnp.asarray(IMAGES)

    def flax(params, x):
        return theirs.apply(as_flax(params), x, mutable=["batch_stats"])[0]

    @jax.jit
    def quantities():
        params = _moved(ours.init(key, x), key)

        def of(apply):
            if not derived:
                return apply(params, x)
            # The gradient, and its derivative along itself: what an inner step needs, and an outer one.
            gradient = jax.grad(lambda p: jnp.sum(jnp.sin(apply(p, x))))
            return gradient(params), jax.jvp(gradient, (params,), (gradient(params),))[1]

        return of(ours.apply), of(flax)

    for mine, expected in zip(*map(jax.tree.leaves, quantities()), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-7)


def test_its_groups_are_its_normalisation_second_convolutions_and_head(key):
    model = mj.resnet12(2, widths=WIDTHS)
    params = jax.eval_shape(model.init, key, IMAGES)
    sizes = {
        name: sum(
            leaf.size
            for leaf, of_group in zip(
                jax.tree.leaves(params), jax.tree.leaves(group(params)), strict=True
            )
            if of_group
        )
        for name, group in model.groups.items()
    }
    assert sizes == {
        "shifts": 6 * sum(WIDTHS),
        "warp": 9 * sum(width**2 for width in WIDTHS),
        "head": 2 * 5 + 2,
    }


def test_a_context_scales_and_shifts_every_normalised_feature(key):
    net = mj.from_collection(mj.ResNet12(2, WIDTHS, film=True))
    x = jnp.asarray(IMAGES, jnp.float32)

    @jax.jit
    def change(scale):
        """By how much the predictions change with the kernels of 3 x 3, where this is added to all scales."""
        params = net.init(key, x)
        params["params"]["Dense_0"]["kernel"] = jnp.ones((5, 2))
        context = jax.tree.map_with_path(
            lambda path, leaf: leaf + scale * ("scale" in jax.tree_util.keystr(path)),
            net.context(params),
        )
        other = jax.tree.map(lambda leaf: leaf**2 if leaf.shape[:2] == (3, 3) else leaf, params)
        return jnp.abs(net.apply(params, context, x) - net.apply(other, context, x)).max()

    context = jax.eval_shape(lambda: net.context(net.init(key, x)))
    assert sum(leaf.size for leaf in jax.tree.leaves(context)) == 2 * 3 * sum(WIDTHS)
    # A scale of 1 - 1 leaves nothing of a block but the projection beside it.
    assert float(change(-1.0)) < 1e-5 and float(change(0.0)) > 0.01


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: mj.resnet12(5, widths=(4, 5)), r"resnet12: widths=\(4, 5\) must be four"),
        (lambda: mj.resnet12(0), "resnet12: way=0 must be"),
        (lambda: mj.resnet12(5, normalisation="task"), "normalisation='task' and support=None"),
        (
            lambda: mj.resnet12(5).init(jax.random.key(0), jnp.ones((2, 15, 20, 3))),
            "leave nothing after four poolings by 2",
        ),
        (
            lambda: mj.resnet12(5).init(jax.random.key(0), jnp.ones((2, 16, 16))),
            r"images are \(2, 16, 16\); give \(n, height, width, channels\)",
        ),
    ],
)
def test_what_cannot_work_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
