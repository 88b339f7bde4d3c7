"""Objectives that weigh several steps, and those that change while training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
ONE = jnp.ones((2, 1))
TASKS = mj.Task(support=mj.Examples(ONE, 3 * ONE), query=mj.Examples(ONE, ONE))
LEARNER = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=2)


def test_weights_of_several_steps(key):
    # From 0 towards 3 by halves: 1.5 and 2.25, of query losses 0.25 and 1.5625.
    weighted = mj.query_loss(LEARNER, mj.mse, num_steps=(1, 2), weights=jnp.array([0.2, 0.8]))
    expected = 0.2 * 0.25 + 0.8 * 1.5625
    assert float(weighted(jnp.zeros(()), TASKS, key)) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"2 weights and num_steps=2; give num_steps as a tuple"):
        mj.query_loss(LEARNER, mj.mse, num_steps=2, weights=jnp.ones(2))


def test_reptile_goes_from_one_mini_batch_to_the_next():
    # From 0 a step goes halfway to the mean target of its batch: to 2 over 4 and then 1.5 over 1, or to 0.5
    # and then 2.25; both at once lead to 1.25.
    support = mj.Examples(x=jnp.ones((1, 2, 1)), y=jnp.array([[[4.0], [1.0]]]))
    tasks = mj.Task(support, support)
    learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=9)

    def ends(num_batches):
        objective = mj.reptile(learner, num_steps=1, num_batches=num_batches)
        gradient = jax.vmap(jax.grad(objective), in_axes=(None, None, 0))
        return set(
            (-gradient(jnp.zeros(()), tasks, jax.random.split(jax.random.key(0), 20))).tolist()
        )

    assert ends(1) == {1.25}
    assert ends(2) == {1.5, 2.25}


def test_reptile_refuses_mini_batches_that_cannot_be(key):
    with pytest.raises(ValueError, match="num_batches=0 must be an integer of at least 1"):
        mj.reptile(LEARNER, num_batches=0)
    with pytest.raises(
        ValueError, match="1 support examples do not divide evenly into num_batches=2"
    ):
        mj.reptile(LEARNER, num_batches=2)(jnp.zeros(()), TASKS, key)


def test_multi_step_weights_go_from_equal_to_the_last():
    np.testing.assert_allclose(mj.multi_step_weights(jnp.array(0), 5, 100), 0.2)
    halfway = mj.multi_step_weights(jnp.array(50), 5, 100)
    np.testing.assert_allclose(halfway, [0.1, 0.1, 0.1, 0.1, 0.6], rtol=1e-6)
    late = mj.multi_step_weights(jnp.array(10_000), 5, 100)
    np.testing.assert_allclose(late, [0.006] * 4 + [0.976], rtol=1e-5)


@pytest.mark.parametrize(
    "estimator", [jax.value_and_grad, mj.chunked(1), mj.sharded(mj.task_mesh(2))]
)
def test_an_annealed_objective_is_the_one_of_its_step(estimator, key):
    # Minimise (w - step)^2 by steps of 1/4 on the gradient 2 (w - step).
    def at(step):
        return lambda w, tasks, key: jnp.mean((w - step) ** 2 + 0 * tasks.support.x)

    init, update = mj.outer_step(mj.Annealed(at), optax.sgd(0.25), estimator)
    state, expected = init(jnp.ones(())), 1.0
    for step in range(3):
        state, metrics = update(state, TASKS, key)
        assert float(metrics.loss) == pytest.approx((expected - step) ** 2)
        expected -= 0.5 * (expected - step)
        assert float(state.meta_params) == pytest.approx(expected)


def test_the_order_of_the_derivative_can_be_annealed(key):
    def order(adjoint):
        learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), 1, adjoint=adjoint)
        return mj.query_loss(learner, mj.mse)

    first, second = order(mj.first_order), order(mj.unrolled)

    def at(step):
        return lambda *arguments: jax.lax.cond(step < 1, first, second, *arguments)

    init, update = mj.outer_step(mj.Annealed(at), optax.sgd(1.0))
    state, before = update(init(jnp.zeros(())), TASKS, key)
    assert float(before.gradient_norm) == pytest.approx(1.0)  # 2 (3/2 - 1), and exact half of it
    _, after = update(state._replace(meta_params=jnp.zeros(())), TASKS, key)
    assert float(after.gradient_norm) == pytest.approx(0.5)


def test_the_inductive_objective_is_the_inductive_evaluation(key):
    images = np.random.default_rng(0).uniform(size=(6, 4, 8, 8, 1)).astype(np.float32)
    sample = mj.tasks.episodes(images, way=3, shot=1, query_shot=2)
    learner = mj.protonet(mj.conv4(None, filters=2))
    meta_params = learner.init(key, sample(key).support.x)
    scores = mj.evaluate(learner, meta_params, sample, mj.cross_entropy, key=key, num_tasks=4)
    assert scores.inductive is not None
    tasks = jax.vmap(lambda key: sample(jax.random.split(key)[0]))(jax.random.split(key, 4))
    for inductive, expected in ((False, scores), (True, scores.inductive)):
        objective = mj.query_loss(learner, mj.cross_entropy, inductive=inductive)
        value = float(objective(meta_params, tasks, key))
        assert value == pytest.approx(float(expected.mean), rel=1e-4)
    assert float(scores.mean) != pytest.approx(float(scores.inductive.mean), rel=1e-3)
