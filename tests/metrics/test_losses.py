"""Metrics on examples that are not there, and on how sure a prediction was."""

import jax
import jax.numpy as jnp
import pytest

import metajax as mj


def test_padding_changes_neither_loss_nor_accuracy_nor_gradient(key):
    logits = jax.random.normal(key, (6, 3))
    labels = jnp.array([0, 2, 1, -1, -1, -1])
    for metric in (mj.cross_entropy, mj.accuracy):
        assert float(metric(logits, labels)) == pytest.approx(float(metric(logits[:3], labels[:3])))
    gradient = jax.grad(mj.cross_entropy)(logits, labels)
    assert not gradient[3:].any()
    assert float(mj.cross_entropy(logits, jnp.full(6, -1))) == 0  # and not 0 / 0


@pytest.mark.parametrize("metric", [mj.cross_entropy, mj.accuracy, mj.reliability()])
@pytest.mark.parametrize("labels", [jnp.zeros((3, 1), int), jnp.zeros(2, int), jnp.zeros(3)])
def test_labels_that_would_broadcast_into_a_wrong_number_are_refused(metric, labels):
    with pytest.raises(ValueError, match=r"logits are \(3, 5\) .*; give integers of shape \(3,\)"):
        metric(jnp.zeros((3, 5)), labels)


@pytest.mark.parametrize("metric", [mj.gaussian_nll, mj.error_of_mean, mj.coverage])
def test_targets_that_would_broadcast_are_refused(metric):
    for predictions in (jnp.ones((3, 2, 1)), jnp.ones((3, 1))):
        with pytest.raises(ValueError, match=r"give means and deviations \(n, 2, c\) and targets"):
            metric(predictions, jnp.ones(3))


def test_padded_support_examples_are_no_prototype(key):
    x = jax.random.normal(key, (4, 2))
    learner = mj.protonet(mj.pixels)
    padded = learner.adapt((), mj.Examples(x, jnp.array([0, 1, 1, -1])), key)
    whole = learner.adapt((), mj.Examples(x[:3], jnp.array([0, 1, 1])), key)
    ours, theirs = (learner.predict(adapted, x)[:, :2] for adapted in (padded, whole))
    assert jnp.allclose(ours, theirs)


def test_calibration_error_of_a_model_that_is_sure_and_right_nine_times_in_ten(key):
    logits = jnp.tile(jnp.array([99.0, 0.0]), (10, 1))
    by_bin = mj.reliability()(logits, jnp.array([1] + 9 * [0]))
    assert float(mj.calibration_error(by_bin)) == pytest.approx(0.1)
    padded = mj.reliability()(jnp.tile(logits, (2, 1)), jnp.array([1] + 9 * [0] + 10 * [-1]))
    assert jnp.allclose(padded, by_bin)
    even = mj.reliability()(jnp.zeros((10, 2)), jnp.tile(jnp.arange(2), 5))
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
    assert float(mj.coverage(predictions, targets)) == pytest.approx(0.95, abs=0.005)
    # Entropy of a Gaussian of deviation 2: log(2 sqrt(2 pi e)) = 2.112.
    assert float(mj.gaussian_nll(predictions, targets)) == pytest.approx(2.112, abs=0.02)
    assert float(mj.error_of_mean(predictions, targets)) == pytest.approx(4.0, abs=0.1)
