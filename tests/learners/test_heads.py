"""Heads that are solved for each task, compared with the minimum of their stated losses."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
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
    ("bias", "features"), [(0.0, FEATURES), (1.0, BIASED)], ids=["no bias", "bias"]
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


def test_with_a_bias_what_is_like_no_class_has_the_lowest_greatest_logit(key):
    # Every class has a direction of its own, beside one that all share; the outsider shares neither.
    common, way = 1.0, 10
    x = jnp.concatenate([jnp.eye(way), jnp.full((way, 1), common), jnp.zeros((way, 1))], axis=1)
    outsider = jnp.zeros((1, way + 2)).at[0, -1].set(1.0)
    like_many = jnp.zeros((1, way + 2)).at[0, way].set(1.0)
    greatest = {}
    for bias in (0.0, 8.0):
        learner = mj.lrd2(mj.pixels, 10, bias=bias)
        adapted = learner.adapt(learner.init(key, x), mj.Examples(x, jnp.arange(way)), key)
        logits = learner.predict(adapted, jnp.concatenate([x[:1], like_many, outsider]))
        greatest[bias] = logits.max(axis=-1)
    assert greatest[0.0][2] == 0 > greatest[0.0][1]  # above what is a little like every class
    member, _, alien = greatest[8.0]
    assert alien < -1 and alien < member


def test_a_bias_column_by_hand(key):
    # Of one example x = 0 the features are a column of a constant c alone: its weight is c / (c^2 + ridge),
    # and every query gets c times that. Without the column there is nothing to separate.
    support = mj.Examples(jnp.zeros((1, 2)), jnp.array([0]))
    for bias, expected in ((1.0, 0.25), (3.0, 0.75), (0.0, 0.0)):
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
from metajax.cpu import prepare_cpu
prepare_cpu()
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


def test_ridge_is_the_posterior_mean_of_bayesian_regression(key, float64):
    del float64
    rng = np.random.default_rng(1)
    mean, variance = rng.normal(size=(5, 2)), np.exp(rng.normal(size=5))
    targets = rng.normal(size=(12, 2))
    learner = mj.ridge(mj.pixels, outputs=2, mean=mean, variance=variance, noise=0.7)
    support = mj.Examples(FEATURES, targets)
    adapted = learner.adapt(learner.init(key, support.x), support, key)
    precision = FEATURES.T @ FEATURES / 0.7 + np.diag(1 / variance)
    right = FEATURES.T @ targets / 0.7 + mean / variance[:, None]
    np.testing.assert_allclose(adapted.weights, np.linalg.solve(precision, right), rtol=1e-6)


def test_ridge_without_examples_is_the_prior_and_with_many_least_squares(key, float64):
    del float64
    targets = np.random.default_rng(2).normal(size=(12, 1))
    learner = mj.ridge(mj.pixels, mean=2.0, noise=1e-9)
    meta_params = learner.init(key, FEATURES)
    none = mj.Examples(FEATURES, targets, jnp.zeros(12, bool))
    np.testing.assert_allclose(learner.adapt(meta_params, none, key).weights, 2.0, rtol=1e-9)
    found = learner.adapt(meta_params, mj.Examples(FEATURES, targets), key).weights
    expected = np.linalg.lstsq(FEATURES, targets, rcond=None)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_prior_of_ridge_is_learned(key):
    # Slopes are 3 + N(0, 0.2^2) and the noise has variance 0.1^2: outer steps find them.
    def sample(key):
        slope_key, x_key, noise_key = jax.random.split(key, 3)
        x = jax.random.normal(x_key, (12, 1))
        y = (3 + 0.2 * jax.random.normal(slope_key)) * x + 0.1 * jax.random.normal(
            noise_key, (12, 1)
        )
        return mj.Task(mj.Examples(x[:2], y[:2]), mj.Examples(x[2:], y[2:]))

    learner = mj.ridge(mj.pixels, mean=2.0)
    rate = optax.cosine_decay_schedule(0.1, 300)
    state = mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(rate), sample, key=key, outer_steps=300,
        meta_batch=32, show_progress=False,
    )  # fmt: skip
    assert float(state.meta_params.mean[0, 0]) == pytest.approx(3, abs=0.1)
    # Only the ratio of both variances changes the posterior mean: 0.01 / 0.04.
    ratio = np.exp(state.meta_params.log_noise - state.meta_params.log_variance[0])
    assert float(ratio) == pytest.approx(0.25, rel=0.4)


REFUSED_RIDGE = {
    "noise=0 must be a number above 0": lambda: mj.ridge(mj.pixels, noise=0),
    "variance=-1.0 must be above 0": lambda: mj.ridge(mj.pixels, variance=-1.0),
    "outputs=0 must be an integer": lambda: mj.ridge(mj.pixels, outputs=0),
    r"mean has shape \(3, 1\), which does not broadcast to \(5, 1\)": lambda: mj.ridge(
        mj.pixels, mean=np.zeros((3, 1))
    ).init(jax.random.key(0), FEATURES),
    r"support.y is int64 \(12,\), but with outputs=1": lambda: mj.ridge(mj.pixels).adapt(
        mj.ridge(mj.pixels).init(jax.random.key(0), FEATURES), SUPPORT, jax.random.key(0)
    ),
}


@pytest.mark.parametrize("message", REFUSED_RIDGE)
def test_what_is_no_prior_is_refused(message):
    with pytest.raises(ValueError, match=f"ridge: {message}"):
        REFUSED_RIDGE[message]()


def test_a_neural_process_that_is_a_shrunk_mean_by_hand(key):
    # The encoder is the target, the decoder its representation: 6 / (1 + 2), and 0 without examples.
    encode = mj.Model(lambda key, x: (), lambda params, x: x[:, -1:])
    decode = mj.Model(lambda key, x: (), lambda params, x: x[:, :1] * jnp.array([[1.0, 0.0]]))
    learner = mj.neural_process(encode, decode, strength=2.0)
    support = mj.Examples(jnp.ones((2, 1)), jnp.array([[6.0], [9.0]]), jnp.array([True, False]))
    meta_params = learner.init(key, support.x)
    for mask, expected in (([True, False], 2.0), ([True, True], 3.75), ([False, False], 0.0)):
        given = support._replace(mask=jnp.array(mask))
        found = learner.predict(learner.adapt(meta_params, given, key), support.x)
        assert found[:, 0, 0].tolist() == pytest.approx([expected] * 2)
    with pytest.raises(ValueError, match="neural_process: strength=0 must be a number above 0"):
        mj.neural_process(encode, decode, strength=0)
