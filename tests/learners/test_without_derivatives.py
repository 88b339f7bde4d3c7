"""Learners that sort, round or call Python: their values by hand, and learning by evolution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj


def answers_of(learner):
    """Probabilities after adapting, compiled."""

    @jax.jit
    def probabilities(meta_params, support, x):
        adapted = learner.adapt(meta_params, support, jax.random.key(0))
        return jnp.exp(learner.predict(adapted, x))

    return probabilities


def test_neighbours_vote_by_hand(key):
    support = mj.Examples(jnp.array([[0.0], [1.0], [3.0], [8.0]]), jnp.array([0, 1, 1, 0]))
    three = mj.knn(mj.pixels, 3)
    start, answers = three.init(key, support.x), answers_of(three)
    # From 0.4 the distances are 0.4, 0.6, 2.6 and 7.6. One vote beforehand for either class.
    for k, expected in ((1, 2 / 3), (2, 2 / 4), (3, 2 / 5), (4, 3 / 6), (9, 3 / 6)):
        learned = start._replace(log_k=jnp.log(1.0 * k))
        first = answers(learned, support, jnp.array([[0.4]]))[0]
        np.testing.assert_allclose(first, [expected, 1 - expected, 0, 0], rtol=1e-5)
    # Two at the same distance from 2 are asked together, in whatever order they came.
    nearest = start._replace(log_k=jnp.zeros(()))
    support = mj.Examples(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([0, 1, 1]))
    for order in ([0, 1, 2], [1, 0, 2]):
        permuted = jax.tree.map(lambda leaf, order=order: leaf[jnp.array(order)], support)
        both = answers(nearest, permuted, jnp.array([[2.0]]))[0]
        np.testing.assert_allclose(both, [0.5, 0.5, 0], rtol=1e-5)


def test_votes_by_distance_have_a_derivative_by_the_metric_and_none_by_k(key):
    support = mj.Examples(jax.random.normal(key, (6, 3)), jnp.array([0, 1, 2, 0, 1, 2]))
    tasks = jax.tree.map(lambda leaf: leaf[None], mj.Task(support, support))

    def gradient_of(vote):
        learner = mj.knn(mj.pixels, 4, rank=2, vote=vote)
        start = learner.init(key, support.x)
        objective = mj.query_loss(learner, mj.cross_entropy)
        return objective, start, jax.jit(jax.grad(objective))(start, tasks, key)

    _, _, counted = gradient_of("count")
    assert float(counted.log_k) == 0
    assert not np.any(counted.log_scales)
    assert not np.any(counted.directions)
    objective, start, shared = gradient_of("distance")
    objective = jax.jit(objective)
    assert float(shared.log_k) == 0
    for name in ("log_scales", "directions"):
        leaf = getattr(start, name)
        step = 1e-2 * jnp.ones_like(leaf) * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))
        above, below = (
            objective(start._replace(**{name: leaf + sign * step}), tasks, key) for sign in (1, -1)
        )
        slope = jnp.sum(getattr(shared, name) * step)
        assert abs(float(slope)) > 1e-4
        assert float(above - below) / 2 == pytest.approx(float(slope), rel=2e-2)


def noisy_sides(key):
    """Two far clusters; one of five support examples in each has the other's label."""
    x_key, query_key = jax.random.split(key)
    side = jnp.arange(10) % 2
    x = 4.0 * side[:, None] + jax.random.normal(x_key, (10, 1)) / 4
    labels = jnp.where(jnp.arange(10) < 2, 1 - side, side)
    query = 4.0 * side[:, None] + jax.random.normal(query_key, (10, 1)) / 4
    return mj.Task(mj.Examples(x, labels), mj.Examples(query, side))


def test_evolution_learns_how_many_neighbours_to_ask_from_errors_alone(key):
    # The nearest of five is the mislabelled one for a fifth of the queries; of three or more
    # neighbours the majority is right.
    learner = mj.knn(mj.pixels, 1.4)
    init, update = mj.outer_step(
        mj.query_loss(learner, lambda logits, labels: 1 - mj.accuracy(logits, labels)),
        optax.adam(0.05),
        mj.evolution(8, 0.3),
    )

    @jax.jit
    def steps(state):
        def step(state, t):
            tasks = jax.vmap(noisy_sides)(jax.random.split(jax.random.fold_in(key, t), 16))
            state, metrics = update(state, tasks, jax.random.fold_in(key, t))
            return state, metrics.loss

        return jax.lax.scan(step, state, jnp.arange(100))

    state, losses = steps(init(learner.init(key, jnp.ones((10, 1)))))
    assert np.mean(losses[:5]) > 0.1
    assert np.mean(losses[-5:]) < 0.05
    assert int(np.round(np.exp(state.meta_params.log_k))) >= 3


def test_a_tree_splits_by_hand(key):
    # 2.5 and 7 separate one class of three equally well; the second split separates the others.
    x = jnp.array([[9.0, 0.0], [0.0, 0.0], [5.0, 0.0], [0.0, 1.0], [5.0, 1.0], [9.0, 1.0]])
    support = mj.Examples(x, jnp.array([2, 0, 1, 0, 1, 2]))
    learner = mj.decision_tree(2)
    start = learner.init(key, x)
    adapt = jax.jit(learner.adapt)
    tree = adapt(start, support, key)
    # The left node is pure: no split gains anything, and it takes the first, by the other feature.
    assert tree.feature.tolist() == [0, 1, 0]
    np.testing.assert_allclose(tree.threshold, [2.5, 0.5, 7.0])
    first = jnp.exp(learner.predict(tree, jnp.array([[6.0, 3.0]])))[0]
    np.testing.assert_allclose(first[:3], [1 / 5, 3 / 5, 1 / 5], rtol=1e-5)
    # A threshold at a quarter of the way.
    early = adapt(start._replace(cut=jnp.log(1 / 3)), support, key)
    assert early.threshold[0] == pytest.approx(1.25)
    # The first feature gains 3 + 1 - 5/2, the second 2 + 1 - 5/2, a third of it.
    x = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [3.0, 1.0]])
    support, stump = mj.Examples(x, jnp.array([0, 0, 0, 1])), jax.jit(mj.decision_tree(1).adapt)
    for importance, feature in ((1.0, 0), (2.9, 0), (3.1, 1)):
        preferences = start._replace(log_importance=jnp.log(jnp.array([1.0, importance])))
        assert stump(preferences, support, key).feature.tolist() == [feature]


def impurity(labels, right):
    """Gini's, of each side times its size."""
    sides = [side for side in (labels[right], labels[~right]) if len(side)]
    return sum(len(s) * (1 - np.sum((np.bincount(s) / len(s)) ** 2)) for s in sides)


def test_a_stump_is_the_best_there_is(key):
    # By trying all.
    learner = mj.decision_tree(1)
    start, adapt = learner.init(key, jnp.zeros((9, 3))), jax.jit(learner.adapt)
    draws = np.random.default_rng(0)
    for _ in range(20):
        values, y = draws.normal(size=(9, 3)).astype(np.float32), draws.integers(3, size=9)
        tree = adapt(start, mj.Examples(jnp.asarray(values), jnp.asarray(y)), key)
        best = min(impurity(y, values[:, j] > t) for j in range(3) for t in values[:, j])
        ours = impurity(y, values[:, int(tree.feature[0])] > float(tree.threshold[0]))
        assert ours == pytest.approx(best)


def test_a_black_box_agrees_with_the_same_in_jax_and_has_no_derivative(key):
    def ridge(numpy):
        def predict(log_strength, support_x, support_y, x):
            gram = support_x.T @ support_x + numpy.exp(log_strength) * numpy.eye(3)
            return x @ numpy.linalg.solve(gram, support_x.T @ support_y)

        return predict

    def start(key, x):
        return jnp.zeros(())

    boxed = mj.black_box(ridge(np), start, outputs=1)
    predict: Any = ridge(jnp)
    transparent = mj.Learner(
        start,
        lambda meta_params, support, key: (meta_params, support.x, support.y),
        lambda adapted, x: predict(*adapted, x),
    )
    sample = mj.tasks.linear_gaussian(3, 5, 4)
    tasks = jax.vmap(sample)(jax.random.split(key, 3))
    boxed_loss, loss = (mj.query_loss(learner, mj.mse) for learner in (boxed, transparent))
    with pytest.raises(ValueError, match="do not support JVP"):
        jax.grad(boxed_loss)(jnp.array(0.3), tasks, key)
    boxed_estimate, estimate = (
        jax.jit(mj.evolution(4, 0.1)(of).estimate)(jnp.array(0.3), (), tasks, key)[:2]
        for of in (boxed_loss, loss)
    )
    np.testing.assert_allclose(boxed_estimate, estimate, rtol=1e-2)


def test_a_black_box_that_answers_in_another_shape_is_named(key):
    learner = mj.black_box(lambda m, sx, sy, x: np.zeros(len(x)), lambda key, x: (), outputs=2)
    support = mj.Examples(jnp.ones((3, 1)), jnp.ones((3, 1)))
    with pytest.raises(Exception, match=r"shape \(3,\), but outputs=2 declares \(3, 2\)"):
        jax.block_until_ready(learner.predict(learner.adapt((), support, key), support.x))


def test_a_black_box_is_called_with_the_examples_that_exist(key):
    seen = []

    def function(meta_params, support_x, support_y, x):
        seen.append((support_x, support_y, x))
        return np.zeros((len(x["ids"]), 1))

    learner = mj.black_box(function, lambda key, x: (), outputs=1)
    x = {"ids": jnp.arange(6).reshape(3, 2), "weight": jnp.array([1.0, jnp.nan, 3.0])}
    support = mj.Examples(x, jnp.array([4, -7, 6]), jnp.array([True, False, True]))

    @jax.jit
    def predict(support, x):
        return learner.predict(learner.adapt((), support, key), x)

    jax.block_until_ready(predict(support, x))
    support_x, support_y, query = seen[-1]
    assert {name: leaf.tolist() for name, leaf in support_x.items()} == {
        "ids": [[0, 1], [4, 5]],
        "weight": [1.0, 3.0],
    }
    assert support_y.tolist() == [4, 6]
    assert query["ids"].shape == (3, 2)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(seen[-1]))


def test_what_makes_no_sense_is_refused():
    for k in (0.5, float("nan")):
        with pytest.raises(ValueError, match=f"knn: k={k} must be"):
            mj.knn(mj.pixels, k)
    with pytest.raises(ValueError, match="rank=-1 must be an integer of at least 0"):
        mj.knn(mj.pixels, rank=-1)
    with pytest.raises(ValueError, match="depth=0 must be an integer of at least 1"):
        mj.decision_tree(0)
    with pytest.raises(ValueError, match="outputs=0 must be an integer of at least 1"):
        mj.black_box(lambda *arguments: np.ones(1), lambda key, x: (), outputs=0)
