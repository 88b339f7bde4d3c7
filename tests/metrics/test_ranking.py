"""Discounted cumulative gain against arithmetic on paper and the program of TREC."""

from itertools import permutations
from math import log2

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj


def value(metric, predictions, targets, mask=None):
    pairs = metric(jnp.asarray(predictions), jnp.asarray(targets))
    return float(metric.average(pairs, None if mask is None else jnp.asarray(mask)))


def test_by_hand():
    # The order of predictions is 2, 0, 3 with discounts 1, 1 / log2(3), 1/2; the ideal one is 3, 2, 0.
    found = value(mj.ndcg(3), [5.0, 1.0, 3.0], [2.0, 3.0, 0.0])
    assert found == pytest.approx((2 + 3 / 2) / (3 + 2 / log2(3)), rel=1e-6)
    # Of two places the last one falls away.
    assert value(mj.ndcg(2), [5.0, 1.0, 3.0], [2.0, 3.0, 0.0]) == pytest.approx(
        2 / (3 + 2 / log2(3)), rel=1e-6
    )


def test_exponential_gain_by_hand():
    metric = mj.ndcg(2, gain=lambda y: 2**y - 1)
    found = value(metric, [1.0, 2.0], [2.0, 1.0])
    assert found == pytest.approx((1 + 3 / log2(3)) / (3 + 1 / log2(3)), rel=1e-6)


def test_ties_are_the_mean_over_their_orders():
    predictions, targets = [1.0, 1.0, 0.0, 1.0], [3.0, 1.0, 5.0, 0.0]
    values = []
    for order in permutations(range(3)):
        apart = np.array(predictions)
        apart[[0, 1, 3]] += 0.1 * np.array(order)
        values.append(value(mj.ndcg(2), apart, targets))
    assert value(mj.ndcg(2), predictions, targets) == pytest.approx(np.mean(values), rel=1e-5)


def test_masked_queries_have_no_place():
    metric = mj.ndcg(2)
    found = value(metric, [9.0, 2.0, 1.0], [9.0, 1.0, 3.0], [False, True, True])
    assert found == pytest.approx(value(metric, [2.0, 1.0], [1.0, 3.0]), rel=1e-6)


def test_limits():
    targets = [4.0, 2.0, 1.0, 0.0]
    assert value(mj.ndcg(5), targets, targets) == pytest.approx(1)
    assert value(mj.ndcg(5), [1.0, 2.0], [0.0, 0.0]) == 0
    assert np.isnan(value(mj.ndcg(2), [np.nan, 1.0], [1.0, 2.0]))


def test_evaluate_averages_by_the_metric(key):
    # Its value of each task is that of the task's own pairs, masked queries left out.
    x = jax.random.normal(key, (6, 5, 1))
    mask = jnp.arange(5)[None] < jnp.array([5, 4, 3, 2, 5, 3])[:, None]
    part = mj.Examples(x, jnp.abs(x - 0.5), mask)
    learner = mj.Learner(lambda key, x: (), lambda m, support, key: (), lambda m, x: x)
    scores = mj.evaluate(learner, (), mj.Task(part, part), mj.ndcg(3), inductive=False)
    expected = [value(mj.ndcg(3), x[i], part.y[i], mask[i]) for i in range(6)]
    np.testing.assert_allclose(scores.values, expected, rtol=1e-5)


def test_trec_agrees():
    ir_measures = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(0)
    for k in (1, 5, 20):
        predictions, targets = rng.normal(size=12), rng.integers(0, 11, size=12)
        run = [ir_measures.ScoredDoc("q", str(i), p) for i, p in enumerate(predictions)]
        qrels = [ir_measures.Qrel("q", str(i), int(y)) for i, y in enumerate(targets)]
        expected = ir_measures.calc_aggregate([ir_measures.nDCG @ k], qrels, run)
        found = value(mj.ndcg(k), predictions, targets.astype(float))
        assert found == pytest.approx(expected[ir_measures.nDCG @ k], rel=1e-5)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="ndcg: k=0 must be an integer of at least 1"):
        mj.ndcg(0)
    with pytest.raises(ValueError, match=r"ndcg: predictions have shape \(3, 2\)"):
        mj.ndcg(1)(jnp.zeros((3, 2)), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"and targets \(2,\)"):
        mj.ndcg(1)(jnp.zeros(3), jnp.zeros(2))
