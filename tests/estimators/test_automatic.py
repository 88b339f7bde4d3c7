"""Tasks are shared out by the size of their program, and what is computed does not depend on it."""

import chex
import jax
import jax.numpy as jnp
import pytest

import metajax as mj
from metajax.estimators.automatic import AT_ONCE, WORTH_SPREADING, Spread, spread
from metajax.marks import marks

NOISY = mj.TaskMean(lambda w, task, key: w * task * jax.random.normal(key))
SPREADING = {
    "chunked": mj.chunked(2),
    "sharded": mj.sharded(mj.task_mesh(4)),
    "both": mj.sharded(mj.task_mesh(4), mj.chunked(1)),
    "clipped": mj.clipped(1e6),
    "automatic": mj.automatic(mj.task_mesh()),
}


def of_size(number):
    """A mean of tasks, each of which computes an array of so many numbers, and their sum."""
    return mj.TaskMean(lambda w, task, key: jnp.sum(w * jnp.full(number, task)))


@pytest.mark.parametrize("estimator", SPREADING.values(), ids=SPREADING)
def test_randomness_does_not_depend_on_how_tasks_are_shared_out(estimator, key):
    tasks = jnp.arange(1.0, 5.0)
    keys = jax.random.split(key, 4)
    by_hand = sum(x * jax.random.normal(k) for x, k in zip(tasks, keys, strict=True)) / 4
    value, gradient, _ = jax.jit(estimator(NOISY).estimate)(jnp.float32(2), (), tasks, key)
    chex.assert_trees_all_close((value, gradient), (2 * by_hand, by_hand), rtol=1e-6)


@pytest.mark.parametrize("estimator", SPREADING.values(), ids=SPREADING)
def test_a_task_without_queries_weighs_nothing_in_any_part(estimator, key):
    # Three tasks with queries have losses (w - 0)^2, (w - 1)^2, (w - 2)^2; the gradient at 0 is -2.
    line = mj.Model(lambda key, x: jnp.zeros(()), lambda w, x: w * x)
    learner = mj.Learner(line.init, lambda w, support, key: w, line.apply)
    one, y = jnp.ones((4, 1)), jnp.array([[0.0], [1.0], [2.0], [jnp.nan]])
    query = mj.Examples(one, y, jnp.array([[True], [True], [True], [False]]))
    tasks = mj.Task(mj.Examples(one, y), query)
    objective = mj.query_loss(learner, mj.mse)
    value, gradient, _ = jax.jit(estimator(objective).estimate)(jnp.zeros(()), (), tasks, key)
    assert (float(value), float(gradient)) == pytest.approx((5 / 3, -2.0))


@pytest.mark.parametrize(
    "number, meta_batch, expected",
    [
        (10, 8, Spread(1, 8, False)),
        (10, 5, Spread(1, 5, False)),
        (AT_ONCE // 20, 8, Spread(2, 4, True)),
        (WORTH_SPREADING, 5, Spread(1, 1, True)),
        (AT_ONCE // 16, 16, Spread(2, 4, True)),
        (AT_ONCE, 8, Spread(2, 1, True)),
    ],
)
def test_the_size_of_the_program_decides(number, meta_batch, expected, key):
    arguments = jnp.float32(2), jnp.ones(meta_batch), key
    assert spread(of_size(number), *arguments, mj.task_mesh()) == expected


def test_many_small_arrays_are_worth_spreading(key):
    # A loop of 1000 steps computes 1000 times as much, and its greatest array stays small.
    def loop(w, task, key):
        body = lambda _, x: (jnp.sin(x), None)  # noqa: E731
        return jnp.sum(jax.lax.scan(lambda x, _: body(_, x), w * jnp.ones(500), None, 1000)[0])

    found = spread(mj.TaskMean(loop), jnp.float32(2), jnp.ones(4), key, mj.task_mesh())
    assert found == Spread(2, 2, True)


def test_what_is_no_mean_over_tasks_stays_whole(key):
    def greatest(w, tasks, key):
        return w * jnp.max(tasks)

    estimate = mj.automatic(mj.task_mesh())(greatest).estimate
    assert float(jax.jit(estimate)(jnp.float32(2), (), jnp.arange(4.0), key)[1]) == 3


def test_a_program_shows_what_was_chosen(key):
    estimate = mj.automatic(mj.task_mesh())(of_size(10)).estimate
    jaxpr = jax.make_jaxpr(estimate)(jnp.float32(2), (), jnp.ones(4), key).jaxpr
    assert marks(jaxpr, "spread") == (("1", "4", "False"),)
