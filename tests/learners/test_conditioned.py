"""The conditioned detector: what it looks for, and what its inner steps change."""

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


def test_steps_of_the_head_leave_the_rest_as_it_is(key):
    body, head = map(mj.linen_model, (nn.Conv(4, (4, 4), strides=(4, 4)), nn.Conv(5, (1, 1))))
    learner = mj.conditioned(
        body, head, mj.detection_loss, optax.sgd(0.1), 2, tunes="head", patch=8, parts=1
    )
    meta_params = learner.init(key, X)
    support = mj.Examples(X, Boxes(CORNERS, jnp.array([[True], [False]])))
    before, after = (learner.adapt(meta_params, support, key, num_steps=n) for n in (0, 2))
    np.testing.assert_array_equal(before.templates, after.templates)
    np.testing.assert_array_equal(jax.tree.leaves(before.body)[0], jax.tree.leaves(after.body)[0])
    assert np.abs(jax.tree.leaves(before.head)[0] - jax.tree.leaves(after.head)[0]).max() > 1e-3


def test_settings_that_do_not_go_together_are_named():
    with pytest.raises(ValueError, match="conditioned: num_steps=2 and an inner loop need both"):
        mj.conditioned(SAME, SAME, num_steps=2)
    with pytest.raises(ValueError, match="conditioned: tunes='body'"):
        mj.conditioned(SAME, SAME, tunes="body")
    with pytest.raises(ValueError, match="detector: width=24 must be a multiple of 16"):
        mj.detector(24)
    learner = mj.conditioned(SAME, SAME, patch=6, parts=4)
    with pytest.raises(ValueError, match="patch=6 are 6 x 6, which parts=4 does not divide"):
        learner.adapt(Parts((), ()), mj.Examples(X, Boxes(CORNERS, jnp.ones((2, 1), bool))), None)
