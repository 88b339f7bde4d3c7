"""Every promise of a learner, tried on every learner."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract.tables import (
    CLASSIFICATION,
    ESTIMATORS,
    LEARNERS,
    padded_with_masked,
    predictor,
    query_predictions,
    some_meta_params,
    tasks_of,
)

import metajax as mj

every_learner = pytest.mark.parametrize("row", LEARNERS.values(), ids=LEARNERS)
classifies = pytest.mark.parametrize(
    "row",
    [row for row in LEARNERS.values() if row.sample is CLASSIFICATION],
    ids=[name for name, row in LEARNERS.items() if row.sample is CLASSIFICATION],
)
ON_IMAGES = {
    name: row for name, row in LEARNERS.items() if row.sample(jax.random.key(0)).support.x.ndim == 4
}
inner_loop = pytest.mark.parametrize(
    "row",
    [row for row in LEARNERS.values() if row.start],
    ids=[name for name, row in LEARNERS.items() if row.start],
)


@every_learner
def test_same_under_jit_and_vmap_as_in_a_python_loop(row, key):
    meta_params, tasks = some_meta_params(row, key), tasks_of(row, key, 3)
    keys = jax.random.split(key, 3)

    def predict(task, key):
        return query_predictions(row, meta_params, task, key)

    one_by_one = jnp.stack(
        [
            predictor(row)(meta_params, jax.tree.map(lambda leaf, i=i: leaf[i], tasks), keys[i])
            for i in range(3)
        ]
    )
    first = jax.tree.map(lambda leaf: leaf[0], tasks)
    chex.assert_trees_all_close(one_by_one[0], predict(first, keys[0]), rtol=1e-4, atol=1e-4)
    mapped = jax.jit(jax.vmap(predict))(tasks, keys)
    chex.assert_trees_all_close(one_by_one, mapped, rtol=1e-4, atol=1e-4)


@every_learner
def test_order_of_the_support_set_matters_to_sequences_alone(row, key):
    meta_params, task = some_meta_params(row, key), row.sample(key)
    order = jax.random.permutation(key, len(task.support.y))
    permuted = task._replace(support=jax.tree.map(lambda leaf: leaf[order], task.support))
    first, second = (predictor(row)(meta_params, t, key) for t in (task, permuted))
    if row.ordered:
        assert jnp.max(jnp.abs(first - second)) > 1e-3
    else:
        chex.assert_trees_all_close(first, second, rtol=1e-4, atol=1e-4)


@classifies
def test_only_classes_with_support_examples_are_predicted(row, key):
    meta_params, task = some_meta_params(row, key), row.sample(key)
    probability = jax.nn.softmax(predictor(row)(meta_params, task, key))
    np.testing.assert_allclose(probability[:, :3].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("row", ON_IMAGES.values(), ids=ON_IMAGES)
def test_masked_images_change_neither_predictions_nor_losses_nor_hypergradients(row, key):
    # As many as exist, so that batch statistics see each of them twice; contract/padding.py has the rest.
    meta_params, tasks = some_meta_params(row, key), tasks_of(row, key, 2)
    support, query = len(tasks.support.y[0]), len(tasks.query.y[0])
    padded = padded_with_masked(tasks, support, query, jnp.nan)

    @jax.jit
    def predict(tasks):
        tasks = tasks._replace(query=jax.vmap(mj.filled)(tasks.query))  # as `query_loss` does
        return jax.vmap(lambda task: query_predictions(row, meta_params, task, key))(tasks)

    ours, theirs = predict(padded), predict(tasks)
    existing = tuple(slice(0, length) for length in theirs.shape)
    chex.assert_trees_all_close(ours[existing], theirs, rtol=1e-4, atol=1e-4)
    init, estimate = mj.lift(row.estimator)(mj.query_loss(row.learner, row.loss))
    found, expected = (
        jax.jit(estimate)(meta_params, init(meta_params, t, key), t, key) for t in (padded, tasks)
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-3, atol=1e-5)


@every_learner
def test_same_key_same_bits(row, key):
    meta_params = row.learner.init(key, row.sample(key).support.x)
    again = row.learner.init(key, row.sample(key).support.x)
    chex.assert_trees_all_equal(meta_params, again)
    chex.assert_trees_all_equal(
        *(predictor(row)(start, row.sample(key), key) for start in (meta_params, again))
    )


@every_learner
def test_init_reads_shapes_only(row, key):
    x = row.sample(key).support.x
    chex.assert_trees_all_equal(row.learner.init(key, x), row.learner.init(key, jnp.zeros_like(x)))


@every_learner
def test_init_can_be_traced(row, key):
    x = row.sample(key).support.x
    chex.assert_trees_all_close(
        row.learner.init(key, x), jax.jit(row.learner.init)(key, x), atol=1e-6
    )


@every_learner
def test_adapting_uses_the_support_set(row, key):
    meta_params, tasks = some_meta_params(row, key), tasks_of(row, key, 2)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], tasks) for i in range(2))
    here, elsewhere = (
        predictor(row)(meta_params, first._replace(support=task.support), key)
        for task in (first, second)
    )
    assert jnp.max(jnp.abs(here - elsewhere)) > 1e-4


@every_learner
def test_training_improves_the_objective(row, key):
    objective = mj.query_loss(row.learner, row.loss)
    init, update = mj.outer_step(objective, optax.adam(1e-2), row.estimator)
    tasks = tasks_of(row, key, 4)
    state = init(row.learner.init(key, row.sample(key).support.x))
    losses = []
    for _ in range(30):
        state, metrics = update(state, tasks, key)
        losses.append(float(metrics.loss))
    assert int(state.step) == 30
    assert losses[-1] < losses[0] if row.trains else losses[-1] == losses[0]


@every_learner
def test_a_second_call_compiles_nothing(row, key):
    # A trace is counted whenever Python runs the objective; compiled code does not run it.
    chex.clear_trace_counter()
    plain = mj.query_loss(row.learner, row.loss)

    @chex.assert_max_traces(n=1)
    def traced_once(*args):
        return plain(*args)

    def objective(*args) -> jax.Array:
        return jnp.asarray(traced_once(*args))

    init, update = mj.outer_step(objective, optax.adam(1e-3), row.estimator)
    state = init(row.learner.init(key, row.sample(key).support.x))
    for i in range(3):
        state, _ = update(state, tasks_of(row, jax.random.fold_in(key, i), 4), key)


@every_learner
def test_evaluating_again_compiles_nothing(row, key):
    traces, after = [], []

    def metric(predictions, targets):
        traces.append(1)
        return row.loss(predictions, targets)

    meta_params = some_meta_params(row, key)
    for i in range(3):
        mj.evaluate(
            row.learner, meta_params, row.sample, metric, key=jax.random.key(i), num_tasks=4
        )
        after.append(len(traces))
    assert after[0] == after[2]


@pytest.mark.parametrize("name", ["maml", "maml, batch statistics", "protonet"])
@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_every_estimator_agrees_with_the_derivative(name, estimator, key):
    row = LEARNERS[name]
    objective = mj.query_loss(row.learner, row.loss)
    meta_params, tasks = some_meta_params(row, key), tasks_of(row, key, 4)
    init, estimate = mj.lift(estimator)(objective)
    chex.assert_trees_all_close(
        jax.jit(estimate)(meta_params, init(meta_params, tasks, key), tasks, key)[:2],
        jax.jit(jax.value_and_grad(objective))(meta_params, tasks, key),
        rtol=2e-4,
        atol=1e-5,
    )


# What differs between them is how a task's predictions come about, which the laws above are about.
@pytest.mark.parametrize("name", ["maml", "maml, batch statistics", "protonet", "black_box"])
def test_evaluation_is_the_same_inside_jit_where_it_stays_on_one_device(name, key):
    row = LEARNERS[name]
    meta_params = some_meta_params(row, key)
    assert len(jax.local_devices()) == 2

    def values(meta_params, mesh=None):
        options = {"key": key, "num_tasks": 3, "mesh": mesh}
        return mj.evaluate(row.learner, meta_params, row.sample, row.loss, **options).values

    spread = values(meta_params, mj.task_mesh())
    assert len(spread.sharding.device_set) == 2
    chex.assert_trees_all_close(spread, jax.jit(values)(meta_params), rtol=1e-4)


@inner_loop
def test_zero_steps_is_the_initialisation(row, key):
    meta_params, support = some_meta_params(row, key), row.sample(key).support
    chex.assert_trees_all_close(
        jax.jit(partial(row.learner.adapt, num_steps=0))(meta_params, support, key),
        row.start(meta_params, support, key),
        rtol=1e-5,
        atol=1e-6,
    )


@inner_loop
def test_several_steps_at_once_are_what_each_gives_alone(row, key):
    meta_params, support = some_meta_params(row, key), row.sample(key).support
    adapt = jax.jit(row.learner.adapt, static_argnames="num_steps")
    together = adapt(meta_params, support, key, num_steps=(3, 0, 1))
    for i, steps in enumerate((3, 0, 1)):
        alone = adapt(meta_params, support, key, num_steps=steps)
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], together), alone, atol=1e-5
        )


@every_learner
def test_reptile_points_from_where_tasks_lead(row, key):
    meta_params, tasks = some_meta_params(row, key), tasks_of(row, key, 3)
    keys = jax.random.split(key, 3)
    adapt = jax.jit(jax.vmap(row.learner.adapt, in_axes=(None, 0, 0)))
    adapted = adapt(meta_params, tasks.support, keys)
    hypergradient = jax.jit(jax.grad(mj.reptile(row.learner)))
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], adapted)
    if shapes != jax.tree.map(jnp.shape, meta_params):
        with pytest.raises(ValueError, match="give a learner that adapts all of its meta-param"):
            hypergradient(meta_params, tasks, key)
        return
    expected = jax.tree.map(lambda p, a: p - a.mean(axis=0), meta_params, adapted)
    chex.assert_trees_all_close(hypergradient(meta_params, tasks, key), expected, atol=1e-5)


@every_learner
def test_only_an_inner_loop_takes_num_steps(row, key):
    meta_params = some_meta_params(row, key)

    def evaluate():
        return mj.evaluate(
            row.learner, meta_params, row.sample, row.loss, key=key, num_tasks=3, num_steps=(0, 2)
        )

    assert (row.learner.num_steps is None) == (row.start is None)
    if row.start:
        assert evaluate().values.shape == (3, 2)
    else:
        with pytest.raises(
            ValueError, match=r"this learner has no inner loop\. Leave num_steps out"
        ):
            evaluate()


@every_learner
def test_evaluation_is_the_mean_over_tasks(row, key):
    meta_params = some_meta_params(row, key)
    scores = mj.evaluate(row.learner, meta_params, row.sample, row.loss, key=key, num_tasks=5)

    def of_task(key):
        task_key, adapt_key = jax.random.split(key)
        task = row.sample(task_key)
        return row.loss(predictor(row)(meta_params, task, adapt_key), task.query.y).mean()

    by_hand = [of_task(k) for k in jax.random.split(key, 5)]
    np.testing.assert_allclose(scores.values, by_hand, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.mean, np.mean(by_hand), rtol=1e-4)
    np.testing.assert_allclose(
        scores.interval, 2.776445 * np.std(by_hand, ddof=1) / np.sqrt(5), rtol=1e-3
    )
