"""Heads that are solved for each task, compared with the minimum of their stated losses."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.tables import smooth
from jax.test_util import check_grads

import metajax as mj

RIDGE = 0.3
FEATURES = np.random.default_rng(0).normal(size=(12, 5))
CLASSES = np.arange(12) % 3
SUPPORT = mj.Examples(FEATURES, CLASSES)


BIASED = np.concatenate([FEATURES, np.ones((12, 1))], axis=1)
with_and_without_bias = pytest.mark.parametrize(
    ("bias", "features"), [(False, FEATURES), (True, BIASED)], ids=["no bias", "bias"]
)


def weights_of(head, key, bias):
    identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
    learner = head(identity, ridge=RIDGE, bias=bias)
    return learner.adapt(learner.init(key, SUPPORT.x), SUPPORT, key).weights[:, :3]


@with_and_without_bias
def test_r2d2_is_the_formula_of_ridge_regression(bias, features, key, float64):
    del float64
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    expected = np.linalg.solve(gram, features.T @ np.eye(3)[CLASSES])
    np.testing.assert_allclose(weights_of(mj.r2d2, key, bias), expected, rtol=1e-6)


def test_a_bias_column_by_hand(key):
    # Of one example x = 0 the features are a column of ones alone: its weight is 1 / (1 + ridge), and
    # every query gets it. Without the column there is nothing to separate.
    support = mj.Examples(jnp.zeros((1, 2)), jnp.array([0]))
    for bias, expected in ((True, 0.25), (False, 0.0)):
        learner = mj.r2d2(mj.pixels, ridge=3.0, scale=1.0, bias=bias)
        adapted = learner.adapt(learner.init(key, support.x), support, key)
        assert learner.predict(adapted, jnp.ones((1, 2))).tolist() == [[pytest.approx(expected)]]


@pytest.mark.parametrize(
    ("width", "ridge", "start"), [(5, None, 2.0), (20, None, 8.0), (20, 3.0, 3.0)]
)
def test_the_ridge_of_r2d2_starts_in_proportion_to_the_features(width, ridge, start, key):
    meta_params = mj.r2d2(mj.linear(width), ridge=ridge).init(key, FEATURES)
    np.testing.assert_allclose(np.exp(meta_params.log_ridge), start, rtol=1e-6)


@with_and_without_bias
def test_lrd2_ends_where_the_logistic_loss_has_no_gradient(bias, features, key, float64):
    del float64
    weights = weights_of(partial(mj.lrd2, num_steps=10), key, bias)

    def loss(weights):
        logits = features @ weights
        signs = 2 * np.eye(3)[CLASSES] - 1
        return jnp.sum(jnp.log1p(jnp.exp(-signs * logits))) + RIDGE / 2 * jnp.sum(weights**2)

    assert jnp.linalg.norm(weights) > 1
    np.testing.assert_allclose(jax.grad(loss)(weights), 0, atol=1e-6)


@pytest.mark.parametrize("head", [mj.r2d2, partial(mj.lrd2, num_steps=3)])
def test_a_head_without_regularisation_is_refused(head):
    with pytest.raises(ValueError, match=r"ridge=0 must be a number above 0"):
        head(mj.pixels, ridge=0, scale=1.0)
    with pytest.raises(ValueError, match=r"scale=nan must be a number above 0"):
        head(mj.pixels, ridge=1.0, scale=float("nan"))


@pytest.mark.parametrize("head", [mj.r2d2, partial(mj.lrd2, num_steps=3)])
def test_every_meta_parameter_of_a_head_has_a_derivative(head, key):
    # One that all logits share, such as a shift, would cancel in the softmax.
    learner = head(smooth(4))
    queries = mj.Examples(SUPPORT.x[::-1] + 0.1, SUPPORT.y[::-1])
    tasks = jax.tree.map(lambda leaf: leaf[None], mj.Task(SUPPORT, queries))
    objective = mj.query_loss(learner, mj.cross_entropy)
    gradient = jax.jit(jax.grad(objective))(learner.init(key, SUPPORT.x), tasks, key)
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 1e-5


@pytest.mark.parametrize("head", [mj.r2d2, partial(mj.lrd2, num_steps=3)])
def test_the_derivative_through_a_head_against_finite_differences(head, key, float64):
    del float64
    learner = head(smooth(4))
    init = learner.init(key, SUPPORT.x)
    meta_params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), init)
    queries = mj.Examples(SUPPORT.x[::-1] + 0.1, SUPPORT.y[::-1])
    tasks = jax.tree.map(lambda leaf: leaf[None], mj.Task(SUPPORT, queries))
    objective = jax.jit(
        lambda meta_params: mj.query_loss(learner, mj.cross_entropy)(meta_params, tasks, key)
    )
    check_grads(objective, (meta_params,), order=1, modes=["rev"], atol=1e-5, rtol=1e-4)


MANY_CLASSES = """
from metajax.cli.machine import one_device_per_core
one_device_per_core()
import jax, jax.numpy as jnp, metajax as mj
learner = mj.lrd2(mj.pixels, 5)
x = jax.random.normal(jax.random.key(0), (2, 60, 64))
tasks = mj.Task(*[mj.Examples(x, jnp.tile(jnp.arange(60), (2, 1)))] * 2)
objective = mj.query_loss(learner, mj.cross_entropy)
meta_params = learner.init(jax.random.key(0), x[0])
gradient = jax.jit(mj.parallel(2, mesh=mj.task_mesh(2))(objective).estimate)
for _ in range(5):
    value = gradient(meta_params, (), tasks, jax.random.key(0))[0].block_until_ready()
print(float(value))
"""


def test_many_classes_on_every_core_do_not_wait_for_each_other():
    # A batch of 60 factorisations of 60 x 60 did, for ever, on two devices by jaxlib 0.10.2.
    free = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", MANY_CLASSES]
    done = subprocess.run(command, env=free, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
