"""Baselines and word statistics of sentences against arithmetic on paper and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.recipes.experiment import Shots
from metajax.recipes.language import judge as judging
from metajax.recipes.language.baselines import BASELINES, logistic, tuned
from metajax.recipes.language.discriminants import discriminants
from metajax.recipes.language.judge import auroc, judge
from metajax.recipes.language.networks import BESIDE, LENGTH, beside, centred, residual, weighed
from metajax.recipes.language.support import counted, statistics_of

RNG = np.random.default_rng(0)


def rows(number, width=12):
    found = RNG.normal(size=(number, width))
    return jnp.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), jnp.float32)


@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_logistic_regression_is_that_of_scikit_learn(strength, key):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y, asked = rows(15), jnp.repeat(jnp.arange(3), 5), rows(20)
    learner = logistic(mj.pixels, strength)
    start = learner.init(key, x)
    found = learner.predict(learner.adapt(start, mj.Examples(x, y), key), asked)[:, :3]
    theirs = linear_model.LogisticRegression(
        C=strength, fit_intercept=False, tol=1e-8, max_iter=5000
    )
    expected = theirs.fit(np.asarray(x), np.asarray(y)).decision_function(np.asarray(asked))
    # Scores are known but for a constant of each query.
    ours = np.asarray(found) - np.asarray(found).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, expected - expected.mean(axis=1, keepdims=True), atol=5e-3)


def test_masked_examples_change_no_logistic_regression(key):
    x, y, asked = rows(6), jnp.array([0, 0, 0, 1, 1, 1]), rows(4)
    learner = logistic(mj.pixels, 10.0)
    start = learner.init(key, x)
    whole = learner.predict(learner.adapt(start, mj.Examples(x, y), key), asked)
    padded = mj.Examples(
        jnp.concatenate([x, jnp.full((2, 12), jnp.nan)]),
        jnp.concatenate([y, jnp.array([0, 7])]),
        jnp.arange(8) < 6,
    )
    found = learner.predict(learner.adapt(start, padded, key), asked)
    np.testing.assert_allclose(found[:, :2], whole[:, :2], atol=1e-5)


def test_tasks_that_are_drawn_in_parts_are_those_of_the_source(monkeypatch):
    sample = mj.tasks.episodes(rows(32).reshape(4, 8, 12), way=3, shot=1, query_shot=2)
    learner, size = mj.nearest_neighbour(mj.pixels), Shots(1, 2, 3)
    key = jax.random.fold_in(jax.random.key(5), 0)
    logits = mj.predictions(learner, (), sample, key=key, num_tasks=7)
    expected = 100 * (logits.argmax(axis=-1) == np.repeat(np.arange(3), 2)).mean(axis=1)
    for most in (2**20, 1):  # one part, and four of two tasks
        monkeypatch.setattr(judging, "MOST_BYTES", most)
        found = judge(learner, (), {"a": sample}, size, num_tasks=7, seed=5)
        assert found.accuracy["a"].tolist() == expected.tolist()
    assert len(set(expected)) > 1


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_tells_directions_apart(name):
    centres = np.repeat(np.eye(4), 6, axis=0) + 0.05 * RNG.normal(size=(24, 4))
    sample = mj.tasks.episodes(
        jnp.asarray(centres, jnp.float32).reshape(4, 6, 4), way=3, shot=2, query_shot=2
    )
    learner, meta_params = tuned(name, mj.pixels, sample, num_tasks=4)
    scores = mj.evaluate(
        learner, meta_params, sample, mj.accuracy, key=jax.random.key(1), num_tasks=10
    )
    assert scores.mean == 1


@pytest.mark.parametrize("name", ["logistic regression", "untrained r2d2"])
def test_the_candidate_that_is_best_on_validation_tasks_is_chosen(name):
    # Noise is so strong that the strength matters; the first learner takes the start of any other.
    noisy = jnp.asarray(np.eye(4)[:, None] + RNG.normal(size=(4, 12, 4)), jnp.float32)
    sample = mj.tasks.episodes(noisy, way=3, shot=4, query_shot=4)
    key = jax.random.key(0)

    def score(learner, start):
        return float(
            mj.evaluate(
                learner, start, sample, mj.accuracy, key=key, num_tasks=40, inductive=False
            ).mean
        )

    x, (first, *others) = sample(key).support.x, BASELINES[name](mj.pixels)
    each = [score(first, c.init(key, x)) for c in (first, *others)]
    assert max(each) > min(each)
    learner, start = tuned(name, mj.pixels, sample, num_tasks=40)
    assert score(first, start) == pytest.approx(max(each))
    assert score(others[-1], others[-1].init(key, x)) == pytest.approx(each[-1])
    assert jax.tree.structure(learner.init(key, x)) == jax.tree.structure(start)


def test_areas_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    inside, outside = RNG.integers(6, size=30), RNG.integers(4, size=20)
    labels = np.repeat([1, 0], [30, 20])
    expected = metrics.roc_auc_score(labels, np.concatenate([inside, outside]))
    assert auroc(inside, outside) == pytest.approx(expected)


def test_statistics_count_sentences_and_classes_and_ignore_masked_ones():
    # Ids 1 in all three classes, 2 in two sentences of one, 3 nowhere.
    x = jnp.array([[1, 2], [1, 2], [1, 0], [1, 0], [3, 3]])
    support = mj.Examples(x, jnp.array([0, 0, 1, 2, 1]), jnp.arange(5) < 4)
    found = statistics_of(support, 4)
    np.testing.assert_allclose(found[:, 0], np.log1p([0, 4, 2, 0]), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], [0, 0, 1, 0])


def test_an_untrained_bag_is_tfidf_and_does_not_read_queries(key):
    frequency = np.array([0, 1, 2, 1.5, 1, 3, 1], np.float32)
    model = weighed(frequency, 2, np.zeros((7, 0)))
    learner = counted(mj.protonet(model), 7)
    x = jnp.array([[1, 2, 0], [4, 5, 6], [2, 3, 0], [6, 0, 0]])
    support, query = mj.Examples(x[:2], jnp.arange(2)), x[2:]
    counts = support._replace(x={"ids": support.x})
    meta_params = learner.init(key, {"ids": x})
    expected = mj.protonet(mj.text.bag(frequency, scale=LENGTH))
    plain = expected.predict(expected.adapt((), support, key), query)
    found = learner.predict(learner.adapt(meta_params, counts, key), {"ids": query})
    np.testing.assert_allclose(found, plain, rtol=1e-4)
    # Another query beside it changes nothing.
    alone = learner.predict(learner.adapt(meta_params, counts, key), {"ids": query[:1]})
    np.testing.assert_allclose(found[:1], alone, rtol=1e-5)


def test_the_weights_have_a_derivative_by_the_statistics(key):
    model = weighed(np.array([0, 1, 2, 1.5, 1], np.float32), 2, np.eye(5, 3))
    learner = counted(mj.r2d2(model, ridge=2.0), 5)
    x = jnp.array([[1, 2], [3, 4], [2, 3]])
    task = mj.Task(
        mj.Examples({"ids": x[None, :2]}, jnp.arange(2)[None]),
        mj.Examples({"ids": x[None, 2:]}, jnp.zeros((1, 1), int)),
    )
    meta_params = learner.init(key, {"ids": x})
    slope = jax.grad(mj.query_loss(learner, mj.cross_entropy))(meta_params, task, key)
    norms = jax.tree.map(lambda leaf: float(jnp.abs(leaf).max()), slope.embed)
    assert norms["weigh"]["params"]["Dense_1"]["kernel"] > 0
    assert norms["projection"] > 0 and norms["share"] > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_a_residual_map_starts_at_the_identity(key):
    x = rows(5)
    for centre in (np.zeros(12, np.float32), np.full(12, 0.1, np.float32)):
        model = residual(centre)
        expected = x - centre[None]
        expected = LENGTH * expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(model.apply(model.init(key, x), 7 * x), expected, rtol=1e-5)
        np.testing.assert_allclose(LENGTH * centred(centre).apply((), 7 * x), expected, rtol=1e-5)


def test_inner_products_beside_each_other_are_weighed_sums(key):
    vectors, grams = rows(4), rows(4)
    model = beside(mj.pixels, mj.pixels._replace(apply=lambda params, x: x["grams"]))
    x = {"vectors": vectors, "grams": grams}
    found = model.apply(model.init(key, x), x)
    expected = (vectors @ vectors.T + BESIDE * grams @ grams.T) / (1 + BESIDE)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-6)


def test_discriminants_are_those_of_scikit_learn_where_features_are_independent():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    generator = np.random.default_rng(0)
    means = np.array([[3, 0, 0], [-3, 0, 0], [0, 3, 0]])
    classes = np.repeat(np.arange(3), 4000)
    x = (means[classes] + generator.standard_normal((12_000, 3))).astype(np.float32)
    directions = discriminants([x[:500], x[500:]], classes, 3)
    expected = LinearDiscriminantAnalysis(solver="eigen").fit(x, classes).scalings_[:, :2]
    # Both span the same plane, and nothing is beyond it.
    np.testing.assert_allclose(directions[:, 2], 0)
    ours, _ = np.linalg.qr(directions[:, :2])
    theirs, _ = np.linalg.qr(expected)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=0.05)
