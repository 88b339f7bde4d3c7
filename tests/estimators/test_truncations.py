"""Estimators of an unroll against arithmetic on paper, and the loop around those that keep a state."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

# Two coordinates alike: a state becomes DECAY times itself plus theta, and its cube is the loss.
DECAY, SIGMA, HORIZON, LENGTH = 0.8, 0.5, 4, 2
THETA = np.array([0.4, -0.7])


def advance(theta, state, task, key):
    del task, key
    state = DECAY * state + theta
    return state, jnp.sum(state**3)


CUBES = mj.Unroll(lambda theta, task, key: task, advance, HORIZON)
"""A task is the state to start from."""

ESTIMATORS = {
    "truncated_backprop": mj.truncated_backprop(LENGTH, staggered=False),
    "truncated_evolution": mj.truncated_evolution(LENGTH, 2, SIGMA, staggered=False),
    "persistent_evolution": mj.persistent_evolution(LENGTH, 2, SIGMA, staggered=False),
    "noise_reuse_evolution": mj.noise_reuse_evolution(LENGTH, 2, SIGMA, staggered=False),
}


def on_paper(name, start):
    """Expected value, and gradient `(2,)`, of each truncation of an episode.

    After t steps the state is p + sum_k c_k e_k, where p has no perturbation in it, c_k is a sum of
    powers of the decay over the steps of truncation k, and e_k its perturbation, of variance V. Of
    the cube's expectation p^3 + 3 p V sum_k c_k^2 the derivative by theta is
    3 B (p^2 + V sum_k c_k^2), where B is the sum of all c_k. One perturbation for all truncations
    makes B^2 of the sum of squares; and where truncations before the last count for nothing, its c
    stands for B and for the sum.
    """
    values, gradients = np.zeros(HORIZON), np.zeros((HORIZON, 2))
    for t in range(1, HORIZON + 1):
        powers = DECAY ** np.arange(t)[::-1]  # of step 1, ..., t
        c = [powers[k : k + LENGTH].sum() for k in range(0, t, LENGTH)]
        p = DECAY**t * start + sum(c) * THETA
        reach, spread = {
            "truncated_backprop": (c[-1], 0.0),
            "truncated_evolution": (c[-1], c[-1] ** 2),
            "persistent_evolution": (sum(c), sum(part**2 for part in c)),
            "noise_reuse_evolution": (sum(c), sum(c) ** 2),
        }[name]
        values[t - 1] = np.sum(p**3 + 3 * p * SIGMA**2 * spread)
        gradients[t - 1] = 3 * reach * (p**2 + SIGMA**2 * spread)
    return values.reshape(-1, LENGTH).mean(axis=1), gradients.reshape(-1, LENGTH, 2).mean(axis=1)


STARTS = np.array([[[1.0, 0.5], [-0.5, 1.5]], [[9.0, 9.0], [9.0, 9.0]], [[0.0, -1.0], [2.0, 1.0]]])
"""Batches of two tasks. That of the second outer step is never begun on; that of the third is."""


def two_episodes(name, repeats, key):
    """Values and gradients of four outer steps, each `(repeats, 4, ...)`, theta held."""
    init, estimate = ESTIMATORS[name](CUBES)
    batches = jnp.asarray(STARTS[[0, 1, 2, 1]])

    @jax.jit
    @jax.vmap
    def run(key):
        def step(state, inputs):
            value, gradient, state = estimate(jnp.asarray(THETA), state, *inputs)
            return state, (value, gradient)

        keys = jax.random.split(key, 5)
        state = init(jnp.asarray(THETA), batches[0], keys[4])
        return jax.lax.scan(step, state, (batches, keys[:4]))[1]

    return [np.asarray(part) for part in run(jax.random.split(key, repeats))]


def expected_of(name):
    episodes = [[on_paper(name, start) for start in STARTS[batch]] for batch in (0, 2)]
    values = [np.mean([v for v, _ in episode], axis=0) for episode in episodes]
    gradients = [np.mean([g for _, g in episode], axis=0) for episode in episodes]
    return np.concatenate(values), np.concatenate(gradients)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_truncation_has_the_value_and_gradient_on_paper(name, key, float64):
    del float64
    measured, expected = two_episodes(name, 20_000, key), expected_of(name)
    deviations = [np.std(part, axis=0) / 20_000**0.5 for part in measured]
    errors = [np.mean(part, axis=0) - e for part, e in zip(measured, expected, strict=True)]
    if name == "truncated_backprop":  # it draws nothing
        np.testing.assert_allclose(np.concatenate([e.ravel() for e in errors]), 0, atol=1e-9)
        return
    for error, deviation in zip(errors, deviations, strict=True):
        assert np.max(np.abs(error) / deviation) < 4.5
    # It could not have been taken for another: in the second truncation all gradients differ.
    for other in ESTIMATORS:
        gap = np.abs(expected_of(other)[1] - expected[1])[1::2]
        assert np.min(gap / deviations[1][1::2]) > 9 or other == name, other


def test_an_unroll_is_an_objective_for_estimators_that_keep_nothing(key, float64):
    del float64
    tasks = jnp.asarray(STARTS[0])
    value, gradient = jax.jit(jax.value_and_grad(CUBES))(jnp.asarray(THETA), tasks, key)
    # The exact derivative of the mean cube, from a derivative of B in each step.
    expected = np.zeros(2)
    total = 0.0
    for start in STARTS[0]:
        for t in range(1, HORIZON + 1):
            b = (DECAY ** np.arange(t)).sum()
            p = DECAY**t * start + b * THETA
            total += np.sum(p**3) / 8
            expected += 3 * b * p**2 / 8
    np.testing.assert_allclose(value, total)
    np.testing.assert_allclose(gradient, expected)

    # Around the whole unroll, evolution is what noise reuse adds up to over an episode.
    _, estimate = mj.evolution(2, SIGMA)(CUBES)
    keys = jax.random.split(key, 20_000)
    _, each, _ = jax.jit(jax.vmap(lambda key: estimate(jnp.asarray(THETA), (), tasks, key)))(keys)
    each = np.asarray(each)
    smoothed = expected_of("noise_reuse_evolution")[1][:2].mean(axis=0)
    error = (np.mean(each, axis=0) - smoothed) / (np.std(each, axis=0) / 20_000**0.5)
    assert np.max(np.abs(error)) < 4.5


def test_backprop_through_the_whole_horizon_is_exact(key):
    tasks = jnp.asarray(STARTS[0], jnp.float32)
    init, estimate = mj.truncated_backprop(HORIZON)(CUBES)
    theta = jnp.asarray(THETA, jnp.float32)
    state = jax.jit(init)(theta, tasks, key)
    *measured, _ = jax.jit(estimate)(theta, state, tasks, key)
    exact = jax.jit(jax.value_and_grad(CUBES))(theta, tasks, key)
    chex.assert_trees_all_close(tuple(measured), exact, rtol=1e-5)


@pytest.mark.parametrize("name", ["truncated_backprop", "noise_reuse_evolution"])
def test_staggered_particles_start_anew_in_turn_on_the_task_at_their_place(name, key):
    options = (LENGTH,) if name == "truncated_backprop" else (LENGTH, 1, SIGMA)
    init, estimate = (jax.jit(part) for part in getattr(mj, name)(*options)(CUBES))
    batches = jnp.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    theta = jnp.asarray(THETA, jnp.float32)
    state = init(theta, batches[0], key)
    assert state.position.tolist() == [0, 0, 2, 2]
    _, _, state = estimate(theta, state, batches[1], key)
    assert state.position.tolist() == [2, 2, 0, 0]
    chex.assert_trees_all_equal(state.task, jnp.concatenate([batches[1, :2], batches[0, 2:]]))
    _, _, state = estimate(theta, state, batches[2], key)
    assert state.position.tolist() == [0, 0, 2, 2]
    chex.assert_trees_all_equal(state.task, jnp.concatenate([batches[1, :2], batches[2, 2:]]))


def test_what_is_kept_is_split_with_the_tasks(key):
    inside = mj.truncated_backprop(LENGTH)  # draws nothing, so that parts agree with the whole
    theta, tasks = jnp.asarray(THETA, jnp.float32), jnp.arange(8.0).reshape(4, 2) / 8
    wrapped = [mj.chunked(2, inside), mj.sharded(mj.task_mesh(4), mj.chunked(1, inside))]
    whole = inside(CUBES)
    begun, estimate = jax.jit(whole.init)(theta, tasks, key), jax.jit(whole.estimate)
    for estimator in wrapped:
        part, state = estimator(CUBES), begun
        estimate_parts = jax.jit(part.estimate)
        chex.assert_trees_all_equal(jax.jit(part.init)(theta, tasks, key), begun)
        for _ in range(3):
            expected = estimate(theta, state, tasks, key)
            measured = estimate_parts(theta, state, tasks, key)
            chex.assert_trees_all_close(measured, expected, rtol=1e-5)
            state = expected[2]


LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
RATE = mj.LearnedOptimizer(
    lambda key: {"log_rate": jnp.log(0.05)}, lambda weights: optax.sgd(jnp.exp(weights["log_rate"]))
)
LEARNER = mj.Learner(
    lambda key, x: RATE.init(key),
    lambda meta_params, support, key: jnp.zeros(()),
    lambda adapted, x: adapted * x,
)
"""Of the loop's arguments the objective is what matters here; adapting is not asked for."""
TRAINING = mj.unroll(LINE, mj.mse, RATE, horizon=4)


def sample(key):
    slope = 1 + jax.random.uniform(key)
    return mj.Task(*2 * [mj.Examples(jnp.ones((1, 1)), slope * jnp.ones((1, 1)))])


def fit(estimator, *, objective: Any = TRAINING, run_dir=None, outer_steps=60, **options):
    return mj.fit(
        LEARNER,
        objective,
        optax.adam(0.05),
        sample,
        key=jax.random.key(0),
        outer_steps=outer_steps,
        meta_batch=4,
        estimator=estimator,
        report_every=20,
        run_dir=run_dir,
        show_progress=False,
        **options,
    )


@pytest.mark.parametrize(
    "estimator",
    [
        jax.value_and_grad,
        mj.evolution(2, 0.1),
        mj.truncated_backprop(2),
        mj.truncated_evolution(2, 2, 0.1),
        mj.persistent_evolution(2, 2, 0.1),
        mj.sharded(mj.task_mesh(4), mj.noise_reuse_evolution(2, 2, 0.1)),
    ],
    ids=["backprop", "evolution", "tbptt", "truncated evolution", "pes", "nres on two devices"],
)
def test_one_call_trains_by_any_estimator(estimator):
    # At x = 1 a step multiplies the distance by 1 - 2a. From a = 0.05 the mean over four steps of
    # 0.9^(2t) is 0.61 of the first squared distance; Adam can move log a by 3, to a = 1.
    state = fit(estimator)
    rate = float(jnp.exp(state.meta_params["log_rate"]))
    assert np.mean((1 - 2 * rate) ** (2 * np.arange(1, 5))) < 0.1


def test_a_run_that_keeps_particles_is_resumed_to_the_same_bits(tmp_path):
    estimator = mj.persistent_evolution(2, 2, 0.1)
    whole = fit(estimator)
    fit(estimator, run_dir=tmp_path / "run", outer_steps=27)
    parts = fit(estimator, run_dir=tmp_path / "run", resume=True)
    assert whole.estimator_state.position.shape == (4,)
    chex.assert_trees_all_equal(whole, parts)
    run = mj.restore(tmp_path / "run")
    assert run.step == 60
    chex.assert_trees_all_equal(run.meta_params, whole.meta_params)


def test_what_cannot_be_truncated_is_refused(key):
    with pytest.raises(ValueError, match="persistent_evolution: the objective hides its inner st"):
        fit(mj.persistent_evolution(2, 2, 0.1), objective=mj.query_loss(LEARNER, mj.mse))
    with pytest.raises(ValueError, match=r"length=3 does not divide the horizon of 4.*\[1, 2, 4\]"):
        fit(mj.truncated_backprop(3))
    with pytest.raises(ValueError, match="num_pairs=0 must be an integer of at least 1"):
        mj.noise_reuse_evolution(2, 0, 0.1)
    with pytest.raises(ValueError, match="horizon=0 must be an integer of at least 1"):
        mj.unroll(LINE, mj.mse, RATE, horizon=0)
    init, _ = mj.outer_step(TRAINING, optax.adam(0.05), mj.truncated_backprop(2))
    with pytest.raises(ValueError, match=r"Call init\(meta_params, tasks, key\) with a first"):
        init(RATE.init(key))


def test_the_loss_of_an_unroll_is_on_the_chosen_set(key):
    support, query = (mj.Examples(jnp.ones((1, 1)), y * jnp.ones((1, 1))) for y in (2.0, 5.0))
    tasks = jax.tree.map(lambda leaf: leaf[None], mj.Task(support, query))
    half = {"log_rate": jnp.log(0.5)}  # the first step lands on the support's 2
    by_support = mj.unroll(LINE, mj.mse, RATE, horizon=1, loss_on="support")
    by_query = mj.unroll(LINE, mj.mse, RATE, horizon=1)
    assert float(by_support(half, tasks, key)) == pytest.approx(0, abs=1e-6)
    assert float(by_query(half, tasks, key)) == pytest.approx(9)
