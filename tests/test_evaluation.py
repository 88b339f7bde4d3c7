"""Evaluation of sources, batches and lists, on the device and on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
LEARNER = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=1)


def task(target, queries=1):
    """From 0 a step goes half of the way to the target; queries at 0 give a quarter of its square."""
    one = jnp.ones((1, 1))
    query = mj.Examples(jnp.ones((queries, 1)), jnp.zeros((queries, 1)))
    return mj.Task(mj.Examples(one, target * one), query)


def test_every_task_of_a_list_is_taken_once_whatever_its_size():
    tasks = [task(2.0), task(4.0, queries=3), task(6.0), task(8.0, queries=3)]
    scores = mj.evaluate(LEARNER, jnp.zeros(()), tasks, mj.mse)
    np.testing.assert_allclose(scores.values, [1, 4, 9, 16], rtol=1e-6)
    assert float(scores.mean) == pytest.approx(7.5)
    first = mj.evaluate(LEARNER, jnp.zeros(()), iter(tasks), mj.mse, num_tasks=2)
    np.testing.assert_allclose(first.values, [1, 4], rtol=1e-6)
    steps = mj.evaluate(LEARNER, jnp.zeros(()), tasks, mj.mse, num_steps=(0, 1))
    np.testing.assert_allclose(steps.values, [[0, 1], [0, 4], [0, 9], [0, 16]], rtol=1e-6)


def test_a_batch_is_evaluated_like_the_source_it_was_drawn_from(key):
    sample = mj.tasks.sinusoid(shot=3, query_shot=4)
    learner = mj.maml(mj.mlp((4,)), mj.mse, optax.sgd(0.01), num_steps=1)
    meta_params = learner.init(key, jnp.ones((1, 1)))
    batch = mj.tasks.batch(sample, key, 5)
    drawn = mj.evaluate(learner, meta_params, sample, mj.mse, key=key, num_tasks=5)
    given = mj.evaluate(learner, meta_params, batch, mj.mse, key=key)
    np.testing.assert_allclose(given.values, drawn.values, rtol=1e-5)
    spread = mj.evaluate(learner, meta_params, batch, mj.mse, key=key, mesh=mj.task_mesh())
    np.testing.assert_allclose(spread.values, drawn.values, rtol=1e-5)


def test_predictions_come_to_the_host_and_scores_of_any_function_are_compared(key):
    sample = mj.tasks.glyphs(way=3, shot=2, query_shot=2, size=12)
    tasks = mj.tasks.batch(sample, key, 6)
    learner = mj.nearest_neighbour(mj.pixels)
    found = mj.predictions(learner, (), tasks)
    again = mj.predictions(learner, (), sample, key=key, num_tasks=6)
    assert isinstance(found, np.ndarray) and found.shape == (6, 6, 6)
    np.testing.assert_allclose(found, again, rtol=1e-4, atol=1e-5)
    by_hand = mj.score(
        [np.mean(p.argmax(-1) == y) for p, y in zip(found, tasks.query.y, strict=True)]
    )
    scores = mj.evaluate(learner, (), tasks, mj.accuracy)
    np.testing.assert_allclose(by_hand.values, scores.values, rtol=1e-6)
    assert float(by_hand.interval) == pytest.approx(float(scores.interval), rel=1e-5)
    difference = mj.compare(scores, by_hand)
    assert (float(difference.mean), float(difference.interval)) == pytest.approx((0, 0), abs=1e-6)


def test_predictions_of_lists_steps_and_masked_queries(key):
    tasks = [task(2.0), task(4.0, queries=3)]
    one, three = mj.predictions(LEARNER, jnp.zeros(()), tasks)
    assert (one.tolist(), three.tolist()) == ([[1.0]], [[2.0], [2.0], [2.0]])
    steps = mj.predictions(LEARNER, jnp.zeros(()), [task(2.0), task(4.0)], num_steps=(0, 1))
    assert steps[..., 0, 0].tolist() == [[0, 1], [0, 2]]
    masked = task(4.0, queries=3)
    query = masked.query._replace(mask=jnp.array([True, False, True]))
    (found, other) = mj.predictions(LEARNER, jnp.zeros(()), 2 * [masked._replace(query=query)])
    np.testing.assert_array_equal(found[:, 0], [2.0, np.nan, 2.0])
    np.testing.assert_array_equal(found, other)


def test_a_score_is_the_mean_and_its_interval_of_those_that_count():
    values = np.array([1.0, 2.0, 3.0, 50.0])
    found = mj.score(values, mask=[True, True, True, False])
    assert float(found.mean) == pytest.approx(2)
    assert float(found.interval) == pytest.approx(4.302653 / 3**0.5, rel=1e-5)  # Student's t of 2
    assert float(mj.score(values[:3]).interval) == pytest.approx(float(found.interval))
    assert float(jax.jit(mj.score)(values, values < 9).interval) == float(found.interval)
    assert found.num_empty == 1
    difference = mj.compare(found, mj.score(values - 1))
    assert float(difference.mean) == pytest.approx(1)
    assert np.isnan(mj.score([1.0, np.nan]).mean)  # a nan is not dropped
    for few in (3.0, [1.0]):
        with pytest.raises(ValueError, match="an interval needs the values of at least 2 tasks"):
            mj.score(few)
    with pytest.raises(ValueError, match="1 of 2 tasks have queries"):
        mj.score([1.0, 2.0], mask=[True, False])


def test_predictions_that_are_nan_score_nan():
    nothing = mj.Learner(
        lambda key, x: (), lambda m, s, k: (), lambda a, x: jnp.full((1, 1), jnp.nan)
    )
    scores = mj.evaluate(nothing, (), [task(1.0), task(2.0)], mj.mse)
    assert np.isnan(scores.mean) and scores.num_empty == 0


@pytest.mark.parametrize(
    "tasks, options, message",
    [
        (task, {}, "key=None and num_tasks=None; a source needs both"),
        (
            lambda key: task(1.0),
            {"key": 1, "num_tasks": 3},
            "returns the same task for every key.*Draw with jax.random from the key",
        ),
        (lambda key: 3, {"key": 1, "num_tasks": 3}, "returned a int; it must return a"),
        (mj.tasks.sinusoid(), {"key": 1, "num_tasks": 1}, "num_tasks=1 must be an integer of at l"),
        (mj.tasks.sinusoid(), {"key": 1, "num_tasks": 2.5}, "num_tasks=2.5 must be an integer"),
        ([task(1.0)], {}, "there are 1 tasks, but at least 2 are needed"),
        ([task(1.0), task(2.0)], {"num_tasks": 3}, "there are 2 tasks, but num_tasks=3 are asked"),
        ([task(1.0), 7], {}, "a list of tasks holds mj.Task alone, but this one holds Task, int"),
        (task(1.0, queries=2), {}, r"share their first axis, meta_batch, but their shapes are"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(tasks, options, message):
    if "key" in options:
        options = options | {"key": jax.random.key(options["key"])}
    with pytest.raises(ValueError, match=message):
        mj.evaluate(LEARNER, jnp.zeros(()), tasks, mj.mse, **options)


def test_keys_and_steps_that_make_no_sense_are_refused(key):
    sample = mj.tasks.sinusoid()
    options: Any = {"num_tasks": 3}
    seeds: Any = ((0, "key=0 must be a typed key"), (jax.random.PRNGKey(0), "typed key"))
    for wrong, message in seeds:
        with pytest.raises(ValueError, match=message):
            mj.evaluate(LEARNER, jnp.zeros(()), sample, mj.mse, key=wrong, **options)
    with pytest.raises(ValueError, match="this learner has no inner loop"):
        mj.evaluate(mj.protonet(mj.pixels), (), sample, mj.mse, key=key, num_steps=(1,), **options)
    with pytest.raises(ValueError, match=r"the metric returns shape \(2, 5\) for 10 queries"):
        mj.evaluate(
            LEARNER, jnp.zeros(()), sample, lambda p, y: jnp.zeros((2, 5)), key=key, **options
        )


def test_a_source_behind_jit_depends_on_its_key_or_does_not(key):
    fixed = mj.tasks.batch(mj.tasks.sinusoid(shot=2), key, 1)
    constant = jax.tree.map(lambda leaf: leaf[0], fixed)
    with pytest.raises(ValueError, match="same task for every key"):
        mj.evaluate(
            LEARNER, jnp.zeros(()), jax.jit(lambda key: constant), mj.mse, key=key, num_tasks=2
        )
    # Drawn from the key and thrown away.
    wasteful = jax.jit(lambda key: (jax.random.normal(key), constant)[1])
    with pytest.raises(ValueError, match="same task for every key"):
        mj.evaluate(LEARNER, jnp.zeros(()), wasteful, mj.mse, key=key, num_tasks=2)
    varied = jax.jit(mj.tasks.sinusoid(shot=2))
    assert mj.evaluate(LEARNER, jnp.zeros(()), varied, mj.mse, key=key, num_tasks=2).mean > 0
