"""Learned optimisers: their updates by hand, and what holds for every one of them."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import metajax as mj
from metajax.optimizers.mlp import (
    FACTORED,
    INPUTS,
    MOMENTA,
    OF_A_COORDINATE,
    SQUARES,
    accumulate,
    at_time,
    features,
    zero_averages,
)
from metajax.optimizers.parts import Dense, affine

OPTIMIZERS = {
    "lstm": mj.optimizers.lstm(hidden=2, layers=2),
    "meta_lstm": mj.optimizers.meta_lstm(hidden=3),
    "mlp": mj.optimizers.mlp(hidden=3),
    "hyperparameters": mj.optimizers.hyperparameters(
        optax.adam, positive={"learning_rate": 0.1}, fraction={"b1": 0.9, "b2": 0.9}, eps_root=1e-8
    ),
    "schedule": mj.optimizers.schedule("sgd", 2, 0.1, momentum=0.9),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def some_weights(optimizer, key):
    """No longer those of `init`, which make some networks silent."""
    leaves, tree = jax.tree.flatten(optimizer.init(key))
    keys = jax.random.split(key, len(leaves))
    moved = [w + 0.3 * jax.random.normal(k, w.shape) for k, w in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, moved)


def two_steps(rule, gradients, params) -> Any:
    """The updates of two steps, the second with a gradient half as large."""

    @jax.jit
    def take(gradients, params):
        first, state = rule.update(gradients, rule.init(params), params)
        half = jax.tree.map(lambda g: g / 2, gradients)
        second, _ = rule.update(half, state, optax.apply_updates(params, first))
        return first, second

    return take(gradients, params)


def test_an_untrained_lstm_does_nothing(key):
    optimizer = mj.optimizers.lstm(hidden=3)
    rule = optimizer.build(optimizer.init(key))
    for updates in two_steps(rule, jnp.array([1.0, -2.0]), jnp.ones(2)):
        np.testing.assert_array_equal(updates, 0)


def test_an_lstm_of_one_unit_by_hand():
    # With all weights 0 but the candidate's bias b: gates are 1/2, so the cell is tanh(b)/2, then
    # 3/4 tanh(b); the output is tanh(cell)/2, and the update is scale * (w output + c).
    optimizer = mj.optimizers.lstm(hidden=1, layers=1, scale=0.1)
    weights = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    cell = weights["cells"][0]._replace(bias=jnp.array([[0.0, 0.0, 0.0, 2.0]]))
    output = weights["output"]._replace(kernel=jnp.array([[3.0]]), bias=jnp.array([[1.0]]))
    rule = optimizer.build({"cells": [cell], "output": output})
    updates = two_steps(rule, jnp.array([0.5]), jnp.zeros(1))
    for share, update in zip((0.5, 0.75), updates, strict=True):
        expected = 0.1 * (3 * np.tanh(share * np.tanh(2.0)) / 2 + 1)
        np.testing.assert_allclose(update, [expected], rtol=1e-5)


def test_meta_lstm_by_hand():
    # Gates that read nothing: forget sigmoid(0) = 1/2 and enter sigmoid(log 3) = 3/4.
    optimizer = mj.optimizers.meta_lstm(hidden=2)
    weights = jax.tree.map(jnp.zeros_like, optimizer.init(jax.random.key(0)))
    enter = weights["enter"]._replace(bias=jnp.log(jnp.array([[3.0]])))
    rule = optimizer.build({**weights, "enter": enter})
    gradients, params = jnp.array([[1.0, -4.0]]), jnp.array([[2.0, 8.0]])
    update, _ = two_steps(rule, gradients, params)
    np.testing.assert_allclose(params + update, [[0.25, 7.0]], rtol=1e-6)


def test_an_untrained_meta_lstm_descends_and_forgets_a_little(key):
    optimizer = mj.optimizers.meta_lstm(hidden=2, rate=0.25)
    rule = optimizer.build(optimizer.init(key))
    params = jnp.array([1.0])
    update, _ = two_steps(rule, jnp.array([2.0]), params)
    kept = 1 / (1 + np.exp(-6.0))
    np.testing.assert_allclose(params + update, [kept - 0.25 * 2], rtol=1e-5)


def test_an_untrained_mlp_is_adam(key):
    optimizer = mj.optimizers.mlp(hidden=3, rate=0.05)
    rule = optimizer.build(optimizer.init(key))
    adam = optax.adam(0.05, b1=0.9, b2=0.999, eps=0.0, eps_root=1e-10)
    params = {"kernel": jax.random.normal(key, (3, 2)), "bias": jnp.array([1.0, -2.0])}
    gradients = jax.tree.map(jnp.sin, params)
    ours, theirs = (two_steps(r, gradients, params) for r in (rule, adam))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4)


def test_the_features_of_the_mlp_by_hand():
    # Two gradients, g then h, of a matrix of two rows: decayed sums over what they weigh.
    g, h = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[-1.0, 1.0], [0.5, 2.0]])
    param = np.array([[1.0, 0.0], [0.0, 1.0]])
    other = jnp.full(3, 7.0)  # another array, whose size must not show
    trees = [{"a": jnp.asarray(x, jnp.float32), "b": other} for x in (param, g, h)]

    @jax.jit
    def read_after_two(param, g, h):
        averages = accumulate(accumulate(zero_averages(param), g), h)
        return features(h, param, averages)

    adam, read, times = read_after_two(*trees)
    assert len(read) + len(times) == INPUTS
    adam, read = adam[:4], read[:, :4]

    def average(decay, first, second):
        return (decay * first + second) / (decay + 1)

    def relative(x):
        return x / np.sqrt(np.mean(x**2))

    momenta = [average(d, g, h) for d in MOMENTA]
    inverse = [1 / np.sqrt(average(d, g**2, h**2)) for d in SQUARES]
    squares = average(FACTORED, g**2, h**2)
    rows, columns = squares.mean(axis=1, keepdims=True), squares.mean(axis=0, keepdims=True)
    factor = 1 / np.sqrt(rows * columns / squares.mean())
    expected = [relative(x) for x in (h, param, *momenta, *inverse, factor)]
    expected += [np.full((2, 2), np.log(np.mean(x**2)) / 20) for x in (h, param)]
    expected += [-np.log(one) / 10 for one in inverse]
    expected += [m * inverse[-1] for m in momenta] + [h * one for one in inverse]
    expected += [h * factor, momenta[1] * factor]
    by_hand = np.stack([x.ravel() for x in expected])
    np.testing.assert_allclose(read, by_hand, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(times[0], np.tanh(2 / 1 - 1), rtol=1e-5)
    np.testing.assert_allclose(adam, (momenta[1] * inverse[-1]).ravel(), rtol=1e-4)


def test_a_layer_at_a_time_is_that_of_coordinates_and_time(key):
    layer = Dense(jax.random.normal(key, (INPUTS, 3)), jnp.ones((1, 3)))
    x, times = jnp.split(jnp.sin(jnp.arange(INPUTS * 2.0)).reshape(INPUTS, 2), [OF_A_COORDINATE])
    times = times[:, :1]
    both = jnp.concatenate([x, jnp.broadcast_to(times, (len(times), 2))])
    np.testing.assert_allclose(affine(at_time(times, layer), x), affine(layer, both), rtol=1e-5)


def test_magnitude_direction_and_slope_of_the_mlp(key):
    # A silent network but for its biases: direction 1/2, a magnitude that ends at log 2, and a slope
    # that ends at log 3, whose sinh is 4/3. The gradient of the first step is 0.3.
    optimizer = mj.optimizers.mlp(hidden=2, rate=0.01, sgd_rate=1.0)
    weights = optimizer.init(key)
    bias = jnp.array([[0.5, *(5 * np.arctanh(np.log([2.0, 3.0]) / 5))]])
    rule = optimizer.build({**weights, "output": weights["output"]._replace(bias=bias)})
    update, _ = two_steps(rule, jnp.array([0.3]), jnp.zeros(1))
    expected = -0.01 * 2 * (1 + 0.5) - np.tanh(1.0 * 4 / 3 * 0.3)
    np.testing.assert_allclose(update, [expected], rtol=1e-5)


def test_the_hypergradient_of_a_rate_by_hand(key):
    # At x = 1 one step on y = wx from 0 towards 3 lands on v = 6a. With a = exp(l) = 1/4,
    # d(v - 1)^2/dl = 2(v - 1) 6a = 3/2.
    line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
    sgd = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.25})
    learner = mj.learned(lambda inner: mj.maml(line, mj.mse, inner, num_steps=1), sgd)
    one = jnp.ones((1, 1))
    tasks = mj.Task(support=mj.Examples(one, 3 * one), query=mj.Examples(one, one))
    meta_params = learner.init(key, one[0])
    gradient = jax.grad(mj.query_loss(learner, mj.mse))(meta_params, tasks, key)
    np.testing.assert_allclose(gradient.optimizer.logs["learning_rate"], 1.5, rtol=1e-5)
    np.testing.assert_allclose(gradient.learner, 0.5, rtol=1e-5)  # 2(v - 1)(1 - 2a)


def test_the_hypergradient_of_a_decay_by_hand(key):
    # Momentum d on the slope 1: steps of a, then a(1 + d), so w = -a(2 + d) and dw/d(logit) is
    # -a d(1 - d).
    momentum = mj.optimizers.hyperparameters("sgd", fraction={"momentum": 0.8}, learning_rate=0.5)

    def end(weights):
        return mj.descend(momentum.build(weights), 2)(lambda w: jnp.ones_like(w), jnp.zeros(()))

    weights = momentum.init(key)
    np.testing.assert_allclose(end(weights), -0.5 * 2.8, rtol=1e-5)
    gradient = jax.grad(end)(weights)
    np.testing.assert_allclose(gradient.logits["momentum"], -0.5 * 0.8 * 0.2, rtol=1e-5)


def test_every_step_of_a_schedule_has_its_own_hypergradient(key):
    # On the slope 1 the end is minus the sum of the rates, and the last serves two of three steps.
    rates = mj.optimizers.schedule(optax.sgd, 2, 0.5)

    def end(weights):
        return mj.descend(rates.build(weights), 3)(lambda w: jnp.ones_like(w), jnp.zeros(()))

    np.testing.assert_allclose(jax.grad(end)(rates.init(key)), [-0.5, -1.0], rtol=1e-5)


@every_optimizer
def test_updates_belong_to_coordinates_whatever_their_order_or_array(optimizer, key):
    rule = optimizer.build(some_weights(optimizer, key))
    gradients, params = jnp.array([0.5, -2.0, 1e-6, 0.0, 3.0, -0.1]), jnp.arange(6.0)
    order = jnp.array([3, 0, 5, 1, 4, 2])
    plain = two_steps(rule, gradients, params)
    permuted = two_steps(rule, gradients[order], params[order])
    chex.assert_trees_all_close(
        jax.tree.map(lambda u: u[order], plain), permuted, rtol=1e-4, atol=1e-6
    )
    # The same array beside an unlike one: nothing leaks from one to the other.
    both = two_steps(rule, (gradients, 100 * jnp.ones((2, 2))), (params, jnp.zeros((2, 2))))
    chex.assert_trees_all_close([b[0] for b in both], list(plain), rtol=1e-4, atol=1e-6)


@every_optimizer
def test_dtypes_and_trees_are_kept(optimizer, key):
    rule = optimizer.build(some_weights(optimizer, key))
    params = {"half": jnp.ones((2, 3), jnp.bfloat16), "scalar": jnp.zeros(()), "none": ()}

    @jax.jit
    def descend(params):
        return mj.descend(rule, (1, 3))(lambda p: jax.tree.map(lambda x: x + 1, p), params)

    ends = descend(params)
    chex.assert_trees_all_equal_dtypes(ends, params)
    assert ends["half"].shape == (2, 2, 3)
    assert not jnp.array_equal(ends["half"][0], params["half"])


@every_optimizer
def test_vmap_over_tasks_is_a_loop(optimizer, key):
    rule = optimizer.build(some_weights(optimizer, key))
    starts = jax.random.normal(key, (3, 4))

    def solve(start):
        return mj.descend(rule, 3)(lambda w: w - 1, start)

    one_by_one = jnp.stack([jax.jit(solve)(start) for start in starts])
    chex.assert_trees_all_close(jax.vmap(solve)(starts), one_by_one, rtol=1e-4, atol=1e-5)


@every_optimizer
def test_zero_gradients_have_finite_hypergradients(optimizer, key):
    def end(weights, start):
        rule = optimizer.build(weights)
        return jnp.sum(mj.descend(rule, 3)(lambda w: w * jnp.array([0.0, 1.0]), start))

    gradients = jax.jit(jax.grad(end, argnums=(0, 1)))(some_weights(optimizer, key), jnp.zeros(2))
    chex.assert_tree_all_finite(gradients)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hypergradients_against_finite_differences(name, key, float64):
    del float64
    optimizer = OPTIMIZERS[name]
    flat, unravel = ravel_pytree(some_weights(optimizer, key))
    start = jnp.array([[1.0, -0.5], [0.3, 2.0]])

    @jax.jit
    @jax.value_and_grad
    def value(flat):
        end = mj.descend(optimizer.build(unravel(flat)), 3)(lambda w: jnp.sin(w), start)
        return jnp.sum(jnp.cos(end))

    assert flat.dtype == jnp.float64
    h = 1e-5
    directions = jax.random.normal(key, (4, flat.size))
    differences = [(value(flat + h * d)[0] - value(flat - h * d)[0]) / (2 * h) for d in directions]
    gradient = value(flat)[1]
    assert jnp.linalg.norm(gradient) > 1e-4
    np.testing.assert_allclose(directions @ gradient, differences, rtol=1e-4, atol=1e-8)


def test_many_stops_in_one_loop_are_what_each_gives_alone():
    solve = mj.descend(optax.sgd(0.5, momentum=0.5), range(2, 42, 2))
    path = solve(lambda w: w, jnp.array([8.0, 1.0]))
    assert path.shape == (20, 2)
    for i in (0, 7, 19):
        alone = mj.descend(optax.sgd(0.5, momentum=0.5), 2 * i + 2)(
            lambda w: w, jnp.array([8.0, 1.0])
        )
        np.testing.assert_allclose(path[i], alone, rtol=1e-6)
    program = str(jax.make_jaxpr(lambda w: solve(lambda w: jnp.sin(w), w))(jnp.ones(2)))
    assert program.count("sin") == 1  # compiled once, not twenty times


def test_a_path_that_is_judged_everywhere_keeps_weights_alone_with_remat(key):
    # Twenty more steps on 400 examples of a hidden layer of 5 would keep 20 * 400 * 5 floats; with
    # remat they keep 16 parameters and the rule's state.
    x = jax.random.normal(key, (400, 1))
    tasks = mj.Task(mj.Examples(x[None], x[None]), mj.Examples(x[None, :4], x[None, :4]))
    learner = mj.learned(
        lambda inner: mj.from_scratch(mj.mlp((5,)), mj.mse, inner, 1, adjoint=mj.remat),
        mj.optimizers.lstm(hidden=2, layers=1),
    )
    meta_params = learner.init(key, x)

    def megabytes(num_steps):
        objective = mj.query_loss(learner, mj.mse, num_steps=range(1, num_steps + 1))
        program = jax.jit(jax.grad(objective)).lower(meta_params, tasks, key)
        memory = program.compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes / 1e6

    assert megabytes(40) - megabytes(20) < 20 * 400 * 5 * 4 / 1e6 / 2


def test_what_makes_no_sense_is_refused():
    optimizers = mj.optimizers
    for make, message in {
        lambda: optimizers.lstm(hidden=0): "lstm: hidden=0 must be an integer of at least 1",
        lambda: optimizers.meta_lstm(rate=1.0): "meta_lstm: rate=1.0 must be between 0 and 1",
        lambda: optimizers.mlp(rate=0.0): "mlp: rate=0.0 must be a number above 0",
        lambda: optimizers.mlp(sgd_rate=-1.0): "mlp: sgd_rate=-1.0 must be a number above 0",
        lambda: optimizers.schedule(
            "sgd", 0, 0.1
        ): "schedule: num_steps=0 must be an integer of at least 1",
        lambda: optimizers.hyperparameters("adam"): "nothing is learned; give some by name",
        lambda: optimizers.hyperparameters(
            "sgd", positive={"learning_rate": 0}
        ): "positive learning_rate=0 must be above 0",
        lambda: optimizers.hyperparameters(
            "adam", fraction={"b1": 1.0}
        ): "fraction b1=1.0 must be between 0 and 1",
        lambda: optimizers.hyperparameters(
            "adm", positive={"learning_rate": 1}
        ): "make='adm' is not in optax",
    }.items():
        with pytest.raises(ValueError, match=message):
            make()
    for name in ("meta_lstm", "mlp"):
        rule = OPTIMIZERS[name].build(OPTIMIZERS[name].init(jax.random.key(0)))
        with pytest.raises(ValueError, match="the update reads parameters, but none were given"):
            rule.update(jnp.ones(1), rule.init(jnp.ones(1)))


def test_an_optimizer_whose_hypergradient_is_nan_is_refused_before_training(key):
    adam = mj.optimizers.hyperparameters("adam", fraction={"b2": 0.9}, learning_rate=0.1)
    learner = mj.learned(lambda inner: mj.from_scratch(mj.mlp(), mj.mse, inner, 1), adam)
    with pytest.raises(ValueError, match="eps_root > 0"):
        learner.init(key, jnp.ones((1, 1)))


def test_tuning_finds_the_best_rate_of_a_parabola(key):
    # One step on eigenvalues of 1 leaves (1 - 2a)^2 of the loss: a = 1/2 ends at 0, and 1e30 at inf.
    problem = mj.problems.quadratics(2, condition=1.0)
    rates = (0.1, 0.5, 0.7, 1e30)
    found = mj.optimizers.tuned(optax.sgd, problem, 1, key=key, num_tasks=3, rates=rates)
    assert found.rate == 0.5
    assert found.losses[3] == np.inf
    np.testing.assert_allclose(found.losses[0] / found.losses[2], (0.8 / 0.4) ** 2, rtol=1e-3)
    with pytest.raises(ValueError, match="no rate of 1e\\+30 to 1e\\+30 gives a finite loss"):
        mj.optimizers.tuned(optax.sgd, problem, 1, key=key, num_tasks=3, rates=(1e30,))
