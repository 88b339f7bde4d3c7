"""A distribution over bins, against numerical integrals of its density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj

EDGES = jnp.array([-2.0, -1.5, 0.0, 0.25, 3.0])
STEP = 0.002
GRID = jnp.arange(-25, 25, STEP)[:, None] + STEP / 2


def test_density_mean_and_interval_agree_with_integrals(key):
    logits = jax.random.normal(key, (1, 4))
    nll, covers = mj.binned_nll(EDGES), mj.binned_coverage(EDGES)

    @jax.jit
    def at(y):
        return jnp.exp(-nll(logits, y[None]))[0], covers(logits, y[None])[0]

    density, covered = jax.vmap(at)(GRID)
    assert float(density.sum() * STEP) == pytest.approx(1, abs=1e-4)
    mean = float((GRID[:, 0] * density).sum() * STEP)
    assert float(mj.binned_mean(EDGES)(logits)[0, 0]) == pytest.approx(mean, abs=1e-3)
    assert float((density * covered).sum() * STEP) == pytest.approx(0.95, abs=5e-3)
    below = float((density * (GRID[:, 0] < 0)).sum() * STEP)
    assert below == pytest.approx(float(jax.nn.softmax(logits)[0, :2].sum()), abs=1e-3)


def test_half_of_a_tail_lies_within_its_edges():
    logits = jnp.array([[30.0, 0.0, 0.0, 0.0]])
    nll = mj.binned_nll(EDGES)
    density = jax.jit(jax.vmap(lambda y: jnp.exp(-nll(logits, y[None])[0])))(GRID)
    inside = density * (GRID[:, 0] > -2)
    assert float(inside.sum() * STEP) == pytest.approx(0.5, abs=1e-3)


def test_gradient_reaches_all_logits_and_is_that_of_cross_entropy(key):
    # The density within a bin is no function of the logits: d nll / d logits = softmax - one-hot.
    logits = jax.random.normal(key, (1, 4))
    gradient = jax.grad(lambda *a: mj.binned_nll(EDGES)(*a)[0])(logits, jnp.array([[0.1]]))
    expected = jax.nn.softmax(logits) - jnp.array([[0.0, 0.0, 1.0, 0.0]])
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_edges_are_close_where_targets_are_and_nowhere_far_apart(key):
    targets = jax.random.normal(key, (1000,))
    edges = mj.bin_edges(targets, 10)
    counts, widths = np.histogram(targets, edges)[0], np.diff(edges)
    evenly = (targets.max() - targets.min()) / 10
    # With half of the bins for shares and half for width, none holds or spans more than two tenths.
    assert counts.max() <= 201 and widths.max() <= 2.01 * evenly
    assert widths[4:6].max() < 0.7 * evenly and widths[[0, -1]].min() > evenly


def test_the_mean_of_targets_in_bins_is_near_theirs(key):
    # Heavy tails: the hundredth of the targets at an end spans more than all others.
    targets = jax.random.normal(key, (4000, 1)) ** 3
    edges = mj.bin_edges(targets, 100)
    bins = jnp.clip(jnp.searchsorted(edges, targets[:, 0]) - 1, 0, 99)
    means = mj.binned_mean(edges)(30.0 * jax.nn.one_hot(bins, 100))
    assert mj.mse(means, targets).mean() < 0.002 * jnp.var(targets)


def test_what_does_not_fit_into_bins_is_refused(key):
    targets = jax.random.normal(key, (1000,))
    edges = mj.bin_edges(targets, 10)
    with pytest.raises(ValueError, match="bins=2 must be at least 3"):
        mj.bin_edges(targets, 2)
    with pytest.raises(ValueError, match="bins=3 and 4 targets leave some bin empty"):
        mj.bin_edges(jnp.ones(4), 3)
    for loss in (mj.binned_nll(edges), mj.binned_coverage(edges)):
        with pytest.raises(
            ValueError, match=r"predictions are \(2, 9\), targets \(2, 1\) and there"
        ):
            loss(jnp.zeros((2, 9)), jnp.zeros((2, 1)))
