"""Classifiers by forward pass: which labels they take, and their predictions by hand."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.tables import smooth

import metajax as mj

NO_PAIR: Any = smooth(4).apply
CLASSIFIERS = {
    "protonet": mj.protonet,
    "simpleshot": mj.simpleshot,
    "matching": mj.matching,
    "relation": lambda embed: mj.relation(embed, smooth(1)),
    "r2d2": mj.r2d2,
    "lrd2": lambda embed: mj.lrd2(embed, 3),
    "knn": mj.knn,
    "decision_tree": lambda embed: mj.decision_tree(1, embed),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    ("y", "found"),
    [
        (jnp.ones((4, 1)), "float32 (4, 1)"),
        (jnp.ones(4), "float32 (4,)"),
        (jnp.ones(4, bool), "bool (4,)"),
        (jnp.ones((4, 3), int), "int32 (4, 3)"),
        ({"label": jnp.ones(4, int)}, "a dict"),
    ],
    ids=["float column", "float", "bool", "one-hot", "dict"],
)
def test_targets_that_are_no_labels_are_refused(name, y, found, key):
    learner = CLASSIFIERS[name](mj.pixels)
    x = jnp.ones((4, 2))
    meta_params = learner.init(key, x)
    expected = f"{name}: support.y is {found}, but must be integer labels (n,), 0 .. way - 1."
    with pytest.raises(ValueError, match=re.escape(expected)):
        learner.adapt(meta_params, mj.Examples(x, y), key)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_of_any_integer_type_are_the_same(name, key):
    learner = CLASSIFIERS[name](smooth(4))
    x = jax.random.normal(key, (4, 2))
    meta_params = learner.init(key, x)

    def predict(labels):
        return learner.predict(learner.adapt(meta_params, mj.Examples(x, labels), key), x)

    expected = predict(jnp.array([0, 1, 1, 0]))
    swapped = predict(jnp.array([1, 0, 0, 1]))
    assert jnp.abs(swapped - expected)[:, :2].max() > 1e-3
    for kind in (np.uint8, np.int64):
        np.testing.assert_allclose(predict(np.array([0, 1, 1, 0], kind)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_model_may_be_any_pair(name, key):
    embed = smooth(4)
    x, labels = jax.random.normal(key, (4, 2)), jnp.array([0, 1, 1, 0])

    def predict(learner):
        meta_params = learner.init(key, x)
        return learner.predict(learner.adapt(meta_params, mj.Examples(x, labels), key), x)

    build = CLASSIFIERS[name]
    pair: Any = (embed.init, embed.apply)
    np.testing.assert_array_equal(predict(build(pair)), predict(build(embed)))


def direct(features, means):
    return -np.sum((features[:, None] - means[None]) ** 2, axis=-1)


@pytest.mark.parametrize("offset", [0.0, 1.0], ids=["centred", "common offset"])
def test_prototypes_predict_minus_squared_distances(offset, key):
    # Features of norm 30. With a common offset of that norm distances are a thousandth of it.
    draws = np.random.default_rng(0)
    directions = draws.normal(size=(45, 64))
    features = 30 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    if offset:
        features = 30 / 8 + features / 30
    features = features.astype(np.float32)
    labels = np.arange(25) % 5
    learner = mj.protonet(mj.pixels)
    adapted = learner.adapt((), mj.Examples(jnp.asarray(features[:25]), jnp.asarray(labels)), key)
    found = jax.jit(learner.predict)(adapted, jnp.asarray(features[25:]))[:, :5]
    exact = features.astype(np.float64)
    means = np.stack([exact[:25][labels == c].mean(axis=0) for c in range(5)])
    np.testing.assert_allclose(found, direct(exact[25:], means), rtol=1e-4)


def test_the_derivative_of_prototypical_logits_is_that_of_the_direct_form(key):
    # The centre that distances are computed from has none, and must not need one.
    features = jax.random.normal(key, (9, 4)) + 3
    learner = mj.protonet(mj.pixels)
    weights = jax.random.normal(jax.random.fold_in(key, 1), (3, 3))
    labels = jnp.array([0, 1, 2, 0, 1, 2])

    def ours(features):
        adapted = learner.adapt((), mj.Examples(features[:6], labels), key)
        return jnp.sum(weights * learner.predict(adapted, features[6:])[:, :3])

    def theirs(features):
        means = (features[:3] + features[3:6]) / 2
        return -jnp.sum(weights * jnp.sum((features[6:, None] - means[None]) ** 2, axis=-1))

    expected = jax.grad(theirs)(features)
    np.testing.assert_allclose(jax.grad(ours)(features), expected, rtol=1e-4, atol=1e-4)


def test_simpleshot_by_hand(key):
    # Directions of the support are (1, 0) and (0, 1) for class 0, whose mean is (1/2, 1/2), and (3/5, 4/5)
    # for class 1; the query's is (0, 1), at squared distances of 1/2 and 2/5. Of features as they are,
    # class 0 is nearer.
    x = jnp.array([[2.0, 0.0], [0.0, 8.0], [30.0, 40.0]])
    support, query = mj.Examples(x, jnp.array([0, 0, 1])), jnp.array([[0.0, 7.0]])
    found = []
    for learner in (mj.simpleshot(mj.pixels, sharpness=20.0), mj.protonet(mj.pixels)):
        adapted = learner.adapt(learner.init(key, x), support, key)
        found.append(learner.predict(adapted, query)[0, :2])
    np.testing.assert_allclose(found[0], [-10, -8], rtol=1e-5)
    assert found[1][0] > found[1][1]


def test_prototypes_build_no_array_of_queries_columns_and_features(optimised, key):
    del optimised
    queries, columns, width = 75, 25, 4096
    learner = mj.protonet(mj.pixels)
    support = mj.Examples(jnp.ones((columns, width)), jnp.arange(columns) % 5)

    def total(support, x):
        return jnp.sum(learner.predict(learner.adapt((), support, key), x)[:, :5])

    for program in (total, jax.grad(total, argnums=1)):
        compiled = jax.jit(program).lower(support, jnp.ones((queries, width))).compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        # The queries and the support set a few times over, and far from all pairs of them.
        assert memory.temp_size_in_bytes < queries * columns * width * 4 / 4


def test_relation_pools_three_shots_by_hand(key):
    # Features are the inputs; a score is 10 * class + query. Of class 0 they are 1, 2 and 6.
    score = mj.Model(
        init=lambda key, x: (), apply=lambda _, pairs: 10 * pairs[:, :1] + pairs[:, 1:]
    )
    support = mj.Examples(jnp.array([[1.0], [5.0], [2.0], [6.0]]), jnp.array([0, 1, 0, 0]))
    query = jnp.array([[0.5], [-1.0]])
    pools: Any = (("sum", 9.0), ("mean", 3.0))
    for pool, of_class in pools:
        learner = mj.relation(mj.pixels, score, pool=pool)
        adapted = learner.adapt(learner.init(key, support.x), support, key)
        found = learner.predict(adapted, query)
        np.testing.assert_allclose(
            found[:, :2], [[10 * of_class + 0.5, 50.5], [10 * of_class - 1.0, 49.0]], rtol=1e-6
        )
        assert (found[:, 2:] == jnp.finfo(jnp.float32).min).all()
    unmasked = support._replace(mask=jnp.array([True, True, True, False]))
    learner = mj.relation(mj.pixels, score)
    adapted = learner.adapt(learner.init(key, support.x), unmasked, key)
    assert float(learner.predict(adapted, query)[0, 0]) == pytest.approx(30.5)
    unknown: Any = "max"
    with pytest.raises(ValueError, match="relation: pool='max' is unknown"):
        mj.relation(mj.pixels, score, pool=unknown)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mj.matching(mj.pixels, sharpness=0.0), "matching: sharpness=0.0 must be a number"),
        (lambda: mj.lrd2(mj.pixels, 0), "lrd2: num_steps=0 must be an integer of at least 1"),
        (
            lambda: mj.gaussian_process_optimum(length=0.0),
            "gaussian_process_optimum: length=0.0 must be a number above 0",
        ),
        (
            lambda: mj.linear_gaussian_optimum(float("nan")),
            "linear_gaussian_optimum: noise=nan must be a number of at least 0",
        ),
        (lambda: mj.protonet(NO_PAIR), "protonet: the model is a method"),
    ],
)
def test_settings_out_of_range_are_refused(build: Any, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
