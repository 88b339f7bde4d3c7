"""Families of problems for optimisers: what is known of them without training."""

from typing import Any, cast

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

CLUSTERS = mj.tasks.clusters(way=3, shot=2, query_shot=2, dimension=4)
IMAGES = mj.tasks.episodes(
    np.random.default_rng(0).uniform(size=(3, 4, 8, 8, 1)).astype(np.float32),
    way=3,
    shot=2,
    query_shot=1,
)
PROBLEMS = {
    "quadratics": mj.problems.quadratics(3),
    "logistic": mj.problems.logistic(CLUSTERS, 3),
    "mlps": mj.problems.mlps(CLUSTERS, 3, width=4, depth=2, activation="tanh"),
    "convs": mj.problems.convs(IMAGES, 3, filters=2),
}


def test_quadratics_are_what_they_say(key):
    problem = mj.problems.quadratics(6, condition=50.0)
    tasks = jax.jit(jax.vmap(problem.sample))(jax.random.split(key, 300))
    chex.assert_trees_all_equal(tasks.support, tasks.query)
    x, y = (np.asarray(part, float) for part in (tasks.support.x, tasks.support.y))
    eigenvalues = np.linalg.eigvalsh(np.swapaxes(x, 1, 2) @ x / 6)  # of the mean of squares
    assert eigenvalues.min() * 1.0001 >= 1 / 50
    assert eigenvalues.max() <= 1.0001
    # Log-uniform: the mean logarithm is half of log(1/50), with 1800 draws of deviation 3.9 / sqrt(12).
    assert np.log(eigenvalues).mean() == pytest.approx(-np.log(50) / 2, abs=5 * 1.13 / 1800**0.5)
    optima = np.linalg.solve(x, y)
    assert float(np.mean(optima**2)) == pytest.approx(1.0, abs=0.2)
    at_optimum = problem.model.apply(jnp.asarray(optima[0], jnp.float32), tasks.support.x[0])
    assert jnp.mean(problem.loss(at_optimum, tasks.support.y[0])) < 1e-9


def test_training_lowers_the_loss_of_every_family(key):
    # Side by side, so that one program trains them all; each must get better by itself.
    families = list(PROBLEMS.values())
    both = mj.problems.together(families)
    learner = mj.from_scratch(both.model, both.loss, optax.sgd(0.1), 20)

    @jax.jit
    def losses(key):
        support = both.sample(key).support
        ends = learner.adapt((), support, key, num_steps=(0, 20))
        predictions = jax.vmap(learner.predict, in_axes=(0, None))(ends, support.x)
        together = jax.vmap(both.loss, in_axes=(0, None))(predictions, support.y)
        return together, [
            jnp.mean(jax.vmap(one.loss, in_axes=(0, None))(p, y), axis=1)
            for one, p, y in zip(families, predictions, support.y, strict=True)
        ]

    together, each = losses(key)
    np.testing.assert_allclose(together, np.sum(each, axis=0), rtol=1e-5)
    for name, (before, after) in zip(PROBLEMS, each, strict=True):
        assert after < before, name


def test_an_untrained_logistic_regression_knows_nothing(key):
    problem = PROBLEMS["logistic"]
    x, y, _ = problem.sample(key).support
    loss = problem.loss(problem.model.apply(problem.model.init(key, x), x), y)
    np.testing.assert_allclose(loss, np.log(3), rtol=1e-6)


def test_problems_together_are_each_alone(key):
    # SGD steps every coordinate by itself, so nothing passes from one to the other.
    parts = PROBLEMS["quadratics"], PROBLEMS["mlps"]
    both = mj.problems.together(parts)
    task, start_key = both.sample(key), jax.random.key(1)
    sgd = optax.sgd(0.1)
    starts, ends = (
        mj.from_scratch(both.model, both.loss, sgd, n).adapt((), task.support, start_key)
        for n in (0, 3)
    )
    for i, part in enumerate(parts):
        alone = mj.maml(part.model, part.loss, sgd, 3)
        support = mj.Examples(task.support.x[i], task.support.y[i])
        chex.assert_trees_all_close(ends[i], alone.adapt(starts[i], support, key), atol=1e-6)


def test_problems_with_masked_examples_are_not_put_together(key):
    ragged = mj.problems.quadratics(2)
    task = ragged.sample(key)
    masked = task._replace(query=task.query._replace(mask=jnp.array([True, False])))
    both = mj.problems.together([ragged, ragged._replace(sample=lambda key: masked)])
    with pytest.raises(ValueError, match="together: problem 1 has masked examples"):
        both.sample(key)


def test_clusters_have_the_spread_they_say(key):
    # Within a cluster squared distances are 2 d spread^2 / (1 + spread^2), over all 2 d.
    sample = mj.tasks.clusters(way=2, shot=40, query_shot=1, dimension=8, parts=1, spread=0.5)
    task = jax.jit(jax.vmap(sample))(jax.random.split(key, 400))
    x = np.asarray(task.support.x).reshape(400, 2, 40, 8)
    assert x.mean() == pytest.approx(0.0, abs=0.05)
    assert x.var() == pytest.approx(1.0, abs=0.06)
    assert x.var(axis=2, ddof=1).mean() == pytest.approx(0.25 / 1.25, rel=0.02)


def test_what_makes_no_sense_is_refused():
    problems, misspelt = mj.problems, cast(Any, "relo")
    for make, message in {
        lambda: problems.quadratics(0): "quadratics: dimension=0 must be an integer of at least 1",
        lambda: problems.mlps(
            CLUSTERS, 3, width=0
        ): "mlps: width=0 must be an integer of at least 1",
        lambda: problems.convs(CLUSTERS, 3, activation=misspelt): "did you mean 'relu'",
        lambda: problems.together([]): "there are no problems; give at least one",
        lambda: problems.quadratics(
            2, condition=float("nan")
        ): "condition=nan must be a number of at least 1",
        lambda: mj.tasks.clusters(spread=-1.0): "spread=-1.0 must be a number of at least 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            make()


def test_eigenvectors_of_quadratics_are_orthonormal_and_uniform(key):
    # With all eigenvalues 1 a task's rows are the eigenvectors times the root of the dimension.
    sample = mj.problems.quadratics(3, condition=1.0).sample
    x = jax.vmap(sample)(jax.random.split(key, 20_000)).support.x / 3**0.5
    products = jnp.einsum("tij,tkj->tik", x, x)
    chex.assert_trees_all_close(products, jnp.broadcast_to(jnp.eye(3), products.shape), atol=1e-5)
    # Of a uniformly random unit vector in three dimensions: means of the squares, and of fourth powers.
    chex.assert_trees_all_close(jnp.mean(x**2, axis=0), jnp.full((3, 3), 1 / 3), atol=0.01)
    chex.assert_trees_all_close(jnp.mean(x**4, axis=0), jnp.full((3, 3), 1 / 5), atol=0.01)
