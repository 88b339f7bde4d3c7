"""The conditioned detector: what it looks for, and what its inner steps change."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.boxes import Boxes
from metajax.learners.parts import Parts

SAME = mj.Model(lambda key, x: (), lambda params, x: x)
X = jnp.zeros((2, 8, 8, 2)).at[0, 2:6, 2:6].set(jnp.array([0.0, 1.0]))
CORNERS = jnp.array([[[2.0, 2, 6, 6]], [[jnp.nan] * 4]])


def test_templates_are_the_mean_of_boxes_that_exist(key):
    learner = mj.conditioned(SAME, SAME, patch=4, parts=1)
    given = [Boxes(CORNERS, jnp.array(mask)[:, None]) for mask in ([True, False], [False, False])]
    with_one, without = (
        learner.adapt(Parts((), ()), mj.Examples(X, boxes), key).templates for boxes in given
    )
    assert with_one.shape == (1, 2) and with_one[0, 0] == 0 and with_one[0, 1] > 0.7
    np.testing.assert_array_equal(without, 0)


def _boxed(key):
    """Two support and two query pictures, with a brighter square each."""
    place_key, noise_key = jax.random.split(key)
    low = jax.random.uniform(place_key, (4, 1, 2), maxval=4)
    inside = jnp.arange(8).reshape(1, 8, 1) + 0.5 - low
    inside = (inside > 0) & (inside < 4)
    bright = inside[..., 0][:, :, None] & inside[..., 1][:, None]
    x = bright[..., None] + 0.1 * jax.random.normal(noise_key, (4, 8, 8, 1))
    every = mj.Examples(x, Boxes(jnp.concatenate([low, low + 4], axis=-1), jnp.ones((4, 1), bool)))
    return mj.Task(*(jax.tree.map(lambda leaf, i=i: leaf[i : i + 2], every) for i in (0, 2)))


def _finds(tunes):
    layers = [nn.Conv(4, (4, 4), strides=(4, 4)), nn.tanh]
    body, head = mj.linen_model(nn.Sequential(layers)), mj.linen_model(nn.Conv(5, (1, 1)))
    return mj.conditioned(
        body, head, mj.detection_loss, optax.sgd(0.01), 2, tunes=tunes, patch=8, parts=1
    )


def test_masked_pictures_change_neither_predictions_nor_hypergradients(key):
    learner = _finds("all")
    tasks = jax.vmap(_boxed)(jax.random.split(key, 2))
    meta_params = learner.init(key, tasks.support.x[0])

    def pad(examples):
        def more(leaf):
            fill = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else True
            return jnp.concatenate([leaf, jnp.full_like(leaf, fill)], axis=1)

        x, y = jax.tree.map(more, (examples.x, examples.y))
        return mj.Examples(x, y, jnp.tile(jnp.arange(4) < 2, (2, 1)))

    found = jax.jit(jax.value_and_grad(mj.query_loss(learner, mj.detection_loss)))
    padded = mj.Task(*map(pad, tasks))
    chex.assert_trees_all_close(
        found(meta_params, padded, key), found(meta_params, tasks, key), rtol=1e-3, atol=1e-5
    )
    other = tasks._replace(support=jax.tree.map(lambda leaf: leaf[::-1], tasks.support))
    assert abs(found(meta_params, other, key)[0] - found(meta_params, tasks, key)[0]) > 1e-4


@pytest.mark.parametrize("tunes", ["all", "head"])
def test_steps_change_what_is_tuned_alone(tunes, key):
    learner, support = _finds(tunes), _boxed(key).support
    meta_params = learner.init(key, support.x)
    adapt = jax.jit(learner.adapt, static_argnames="num_steps")
    states = adapt(meta_params, support, key, num_steps=(0, 2))
    before, after = (jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in (0, 1))
    chex.assert_trees_all_equal(before.head, meta_params.head)
    changed = {
        name: max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        > 1e-5
        for name, pair in zip(before._fields, zip(before, after, strict=True), strict=True)
    }
    assert changed == {"body": tunes == "all", "head": True, "templates": tunes == "all"}


def test_settings_that_do_not_go_together_are_named():
    with pytest.raises(ValueError, match="conditioned: num_steps=2 and an inner loop need both"):
        mj.conditioned(SAME, SAME, num_steps=2)
    with pytest.raises(ValueError, match="conditioned: tunes='body'"):
        mj.conditioned(SAME, SAME, tunes="body")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="detector: width=24 must be a multiple of 16"):
        mj.detector(24)
    learner = mj.conditioned(SAME, SAME, patch=6, parts=4)
    with pytest.raises(ValueError, match="patch=6 are 6 x 6, which parts=4 does not divide"):
        learner.adapt(Parts((), ()), mj.Examples(X, Boxes(CORNERS, jnp.ones((2, 1), bool))), None)
