"""What the estimators refuse, and what `parallel` chooses; that they are right is in contract/."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import metajax as mj


def mean(w, tasks: Any, key):
    return jnp.mean(w * tasks)


@pytest.mark.parametrize(
    "estimator, message",
    [
        (mj.chunked(4), r"meta_batch=6 does not split into passes of tasks_per_pass=4; use one of"),
        (
            mj.sharded(mj.task_mesh()),
            r"meta_batch=5 does not split over 2 devices. Use a multiple of 2",
        ),
    ],
)
def test_a_meta_batch_that_does_not_split_is_refused(estimator, message, key):
    tasks = jnp.ones(5 if "devices" in message else 6)
    with pytest.raises(ValueError, match=message):
        estimator(mean).estimate(1.0, (), tasks, key)


def test_what_makes_no_sense_is_refused():
    for max_norm in (0, float("nan")):
        with pytest.raises(ValueError, match=f"max_norm={max_norm} must be a number above 0"):
            mj.clipped(max_norm)
    with pytest.raises(ValueError, match="tasks_per_pass=0 must be an integer of at least 1"):
        mj.chunked(0)
    with pytest.raises(ValueError, match="each device 3 tasks, which do not split into"):
        mj.parallel(6, tasks_per_pass=2, mesh=mj.task_mesh(6))
    with pytest.raises(ValueError, match="meta_batch=5 does not split over the 2 devices"):
        mj.parallel(5, mesh=mj.task_mesh())
    wrong: Any = ((0, None), (4, 0), (2.5, None))
    for meta_batch, tasks_per_pass in wrong:
        with pytest.raises(ValueError, match="must be an integer of at least 1"):
            mj.parallel(meta_batch, tasks_per_pass)


def test_one_task_cannot_decide_a_clipped_step(key):
    def objective(w, tasks, key):
        return jnp.mean(tasks[:, 0] * w[0] + tasks[:, 1] * w[1])

    tasks = jnp.array([[3.0, 4.0], [0.0, -1.0], [3e6, 0.0]])  # hypergradients of norms 5, 1 and 3e6
    value, gradient, _ = mj.clipped(2.0)(objective).estimate(jnp.ones(2), (), tasks, key)
    assert float(value) == pytest.approx((7 - 1 + 3e6) / 3)
    chex.assert_trees_all_close(gradient, jnp.array([1.2 + 0 + 2, 1.6 - 1 + 0]) / 3, rtol=1e-6)


@pytest.mark.parametrize("size", [1e25, jnp.inf])
def test_a_hypergradient_that_overflows_counts_as_one_of_the_greatest_norm(size, key):
    tasks = jnp.array([1.0, size, -3.0])
    _, gradient, _ = mj.clipped(2.0)(mean).estimate(1.0, (), tasks, key)
    assert float(gradient) == pytest.approx((1 + 2 - 2) / 3)


@pytest.mark.parametrize(
    "estimator",
    [jax.value_and_grad, mj.chunked(2), mj.clipped(1.0), mj.sharded(mj.task_mesh(4)),
     mj.parallel(4, 2), mj.evolution(2, 0.1)],
    ids=["value_and_grad", "chunked", "clipped", "sharded", "parallel", "evolution"],
)  # fmt: skip
def test_every_estimator_has_the_one_form(estimator, key):
    tasks = jnp.arange(4.0)
    init, estimate = mj.lift(estimator)(mean)
    state = init(jnp.float32(2), tasks, key)
    value, gradient, after = estimate(jnp.float32(2), state, tasks, key)
    assert (value.shape, gradient.shape, after) == ((), (), state)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.polyak_sgd(),
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau()),
    ],
    ids=["lbfgs", "polyak", "reduce on plateau"],
)
def test_outer_optimisers_that_read_the_value_get_it(optimizer, key):
    def objective(w, tasks, key):
        return jnp.mean((w - tasks) ** 2)

    init, update = mj.outer_step(objective, optimizer)
    state = init(jnp.zeros(()))
    tasks: Any = jnp.full(4, 3.0)
    for _ in range(40):
        state, _ = update(state, tasks, key)
    assert float(state.meta_params) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    "meta_batch, tasks_per_pass, devices, a_pass",
    [(6, None, 2, 1), (5, None, 1, 1), (1, None, 1, 1), (6, 6, 2, 3), (5, 5, 1, 5)],
)
def test_parallel_uses_as_many_devices_as_divide_the_tasks(
    meta_batch, tasks_per_pass, devices, a_pass, key
):
    seen = []

    def objective(w, tasks, key):
        seen.append(tasks.shape[0])
        return mean(w, tasks, key)

    mesh = mj.task_mesh(meta_batch)
    _, estimate = mj.parallel(meta_batch, tasks_per_pass, mesh=mesh)(objective)
    value, gradient, _ = jax.jit(estimate)(jnp.float32(2), (), jnp.arange(float(meta_batch)), key)
    assert set(seen) == {a_pass}
    assert len(value.sharding.device_set) == devices
    assert float(value) == pytest.approx(2 * float(gradient)) == pytest.approx(meta_batch - 1)


def test_memory_does_not_grow_with_the_meta_batch(key):
    # A task of 1000 x 1000 products keeps 4 MB; without passes they would all be there at once.
    def objective(w, tasks, key):
        return jnp.mean(
            jax.vmap(lambda x: jnp.sum(jnp.sin(jnp.sin(w * x[:, None]) * x[None])))(tasks)
        )

    def megabytes(meta_batch, estimator):
        tasks = jnp.ones((meta_batch, 1000))
        _, estimate = estimator(objective)
        program = jax.jit(estimate).lower(jnp.float32(2), (), tasks, key).compile()
        memory = program.memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes / 1e6

    growth = megabytes(16, mj.chunked(2)) - megabytes(4, mj.chunked(2))
    assert growth < 1


def test_evolution_is_the_gradient_of_the_smoothed_objective(key):
    # Smoothed by a Gaussian of deviation s, w^3 is w^3 + 3 w s^2, and its derivative 3 w^2 + 3 s^2.
    w, s, pairs = jnp.array([0.5, -1.0]), 0.7, 100_000
    _, estimate = mj.evolution(pairs, s)(lambda w, tasks, key: jnp.sum(w**3))
    value, gradient, _ = estimate(w, (), None, key)
    # A pair's slope has a deviation below 12 here; five standard errors.
    assert jnp.max(jnp.abs(gradient - 3 * w**2 - 3 * s**2)) < 5 * 12 / pairs**0.5
    assert value == pytest.approx(float(jnp.sum(w**3 + 3 * w * s**2)), abs=0.1)


def test_evolution_takes_no_derivative_and_trains(key):
    def objective(meta_params, tasks, key):
        return jnp.mean(
            jnp.round(10 * jnp.abs(meta_params["w"][None] - tasks.support.x))
        )  # flat almost everywhere

    init, update = mj.outer_step(objective, optax.adam(0.05), mj.evolution(32, 0.3))
    state, tasks = init({"w": jnp.zeros(3)}), mj.Task(*2 * [mj.Examples(jnp.ones((2, 3)), ())])
    for step in range(200):
        state, _ = update(state, tasks, jax.random.fold_in(key, step))
    assert float(objective(state.meta_params, tasks, key)) <= 1
    with pytest.raises(ValueError, match="num_pairs=0 must be an integer of at least 1"):
        mj.evolution(0, 0.1)
