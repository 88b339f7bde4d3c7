"""Losses and metrics, one value per example."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.masks import mean_loss


def test_cross_entropy_is_that_of_optax_and_so_is_its_gradient(key):
    logits, labels = jax.random.normal(key, (6, 3)), jnp.array([0, 2, 1, 1, 0, 2])
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels
    np.testing.assert_allclose(mj.cross_entropy(logits, labels), theirs(logits, labels), rtol=1e-6)
    ours, expected = (
        jax.grad(lambda logits, loss=loss: loss(logits, labels).sum())(logits)
        for loss in (mj.cross_entropy, theirs)
    )
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("labels", [[1, 2, 3], [-1, 0, 1]])
def test_labels_out_of_range_give_nan_and_no_plausible_number(labels):
    labels, known = jnp.array(labels), np.isin(labels, (0, 1, 2))
    for metric in (mj.cross_entropy, mj.accuracy):
        assert (np.isfinite(metric(jnp.eye(3), labels)) == known).all()


def test_predictions_that_are_nan_score_nan(key):
    logits = jnp.array([[jnp.nan, 0.0], [0.0, 1.0]])
    assert np.isnan(mj.accuracy(logits, jnp.array([1, 1]))).tolist() == [True, False]
    nothing, target = jnp.full((1, 2, 1), jnp.nan), jnp.zeros((1, 1))
    for metric in (mj.coverage, mj.gaussian_nll, mj.error_of_mean):
        assert np.isnan(metric(nothing, target)).all()
    edges = jnp.arange(5.0)
    for metric in (mj.binned_coverage(edges), mj.binned_nll(edges)):
        assert np.isnan(metric(jnp.full((1, 4), jnp.nan), target)).all()


def test_absolute_and_squared_errors_are_means_over_outputs():
    predictions, targets = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 5.0], [1.0, -1.0]])
    assert mj.mse(predictions, targets).tolist() == [4.5, 1.0]
    assert mj.mae(predictions, targets).tolist() == [1.5, 1.0]
    for loss in (mj.mse, mj.mae):
        with pytest.raises(ValueError, match=r"predictions have shape \(2, 2\) and targets \(2,\)"):
            loss(predictions, targets[:, 0])


@pytest.mark.parametrize("metric", [mj.cross_entropy, mj.accuracy, mj.reliability()])
@pytest.mark.parametrize("labels", [jnp.zeros((3, 1), int), jnp.zeros(2, int), jnp.zeros(3)])
def test_labels_that_would_broadcast_into_a_wrong_number_are_refused(metric, labels):
    with pytest.raises(
        ValueError, match=r"logits have shape \(3, 5\) .*; give integers of shape \(3,\)"
    ):
        metric(jnp.zeros((3, 5)), labels)


@pytest.mark.parametrize("metric", [mj.gaussian_nll, mj.error_of_mean, mj.coverage])
def test_targets_that_would_broadcast_are_refused(metric):
    for predictions in (jnp.ones((3, 2, 1)), jnp.ones((3, 1))):
        with pytest.raises(ValueError, match=r"give means and deviations \(n, 2, c\) and targets"):
            metric(predictions, jnp.ones(3))


def test_calibration_error_of_a_model_that_is_sure_and_right_nine_times_in_ten(key):
    logits = jnp.tile(jnp.array([99.0, 0.0]), (10, 1))
    by_bin = mj.reliability()(logits, jnp.array([1] + 9 * [0])).mean(axis=0)
    assert float(mj.calibration_error(by_bin)) == pytest.approx(0.1)
    even = mj.reliability()(jnp.zeros((10, 2)), jnp.tile(jnp.arange(2), 5)).mean(axis=0)
    assert float(mj.calibration_error(even)) == pytest.approx(0.0, abs=1e-6)


def test_evaluate_pools_calibration_over_tasks(key):
    learner = mj.protonet(mj.pixels)
    sample = mj.tasks.glyphs(way=3, size=12)
    scores = mj.evaluate(learner, (), sample, mj.reliability(5), key=key, num_tasks=30)
    assert scores.mean.shape == (2, 5)
    assert 0 <= float(mj.calibration_error(scores.mean)) <= 1


def test_coverage_of_the_true_distribution_is_95_percent(key):
    targets = 3 + 2 * jax.random.normal(key, (20_000, 1))
    predictions = jnp.tile(jnp.array([[[3.0], [2.0]]]), (20_000, 1, 1))
    assert float(mj.coverage(predictions, targets).mean()) == pytest.approx(0.95, abs=0.005)
    # Entropy of a Gaussian of deviation 2: log(2 sqrt(2 pi e)) = 2.112.
    assert float(mj.gaussian_nll(predictions, targets).mean()) == pytest.approx(2.112, abs=0.02)
    assert float(mj.error_of_mean(predictions, targets).mean()) == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("mask, expected", [(None, 30 / 4), ([True, True, False], 10 / 3)])
def test_a_shrunk_loss_divides_by_more_examples_than_there_are(mask, expected):
    # Squared errors of 1, 9 and 20; one further example of error 0.
    loss = mj.losses.shrunk(mj.mse, 1.0)
    targets = jnp.sqrt(jnp.array([[1.0], [9.0], [20.0]]))
    examples = mj.Examples(None, targets, None if mask is None else jnp.array(mask))
    assert float(mean_loss(loss, jnp.zeros((3, 1)), examples)) == pytest.approx(expected)


def test_a_step_on_a_shrunk_loss_is_a_shrunk_mean(key):
    # Three ratings of 2, 4 and 6 with 3 more of nothing: 12 / 6. Twice the same for two steps.
    bias = mj.Model(lambda key, x: jnp.zeros(1), lambda b, x: b[None] + 0 * x)
    support = mj.Examples(jnp.zeros((3, 1)), jnp.array([[2.0], [4.0], [6.0]]))
    one, many = (
        mj.maml(bias, mj.losses.shrunk(mj.mse, 3.0), optax.sgd(0.5), num_steps=steps)
        for steps in (1, 200)
    )
    assert one.adapt(jnp.zeros(1), support, key).tolist() == pytest.approx([2.0])
    # In the end nothing is shrunk: the minimum is the mean.
    assert many.adapt(jnp.zeros(1), support, key).tolist() == pytest.approx([4.0])


def test_what_cannot_be_shrunk_is_refused():
    with pytest.raises(ValueError, match=r"shrunk: strength=-1 must be a number of at least 0"):
        mj.losses.shrunk(mj.mse, -1)
    with pytest.raises(ValueError, match="shrunk: the loss returns a scalar"):
        mj.losses.shrunk(mj.mse, 1).average(jnp.zeros(()), None)
