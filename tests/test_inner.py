"""Inner loops: their steps, and gradients that are clipped."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj


@pytest.mark.parametrize("max_norm", [0.5, 4.9, 5.1, float("inf")])
def test_clipped_gradients_are_those_of_optax(max_norm):
    gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(-4.0)}  # of norm 5
    ours, theirs = mj.clip_by_global_norm(max_norm), optax.clip_by_global_norm(max_norm)
    found, expected = (rule.update(gradients, rule.init(gradients))[0] for rule in (ours, theirs))
    chex.assert_trees_all_close(found, expected, rtol=1e-6)


def test_clipping_has_a_derivative_where_all_gradients_are_zero(key):
    def learner(clip):
        return mj.maml(mj.mlp(), mj.mse, optax.chain(clip(1.0), optax.sgd(0.1)), num_steps=1)

    with pytest.raises(ValueError, match="is nan where a gradient is exactly zero"):
        learner(optax.clip_by_global_norm).init(key, jnp.zeros((1, 1)))
    learner(mj.clip_by_global_norm).init(key, jnp.zeros((1, 1)))


def test_an_inner_loop_that_would_overflow_stays_near():
    # Descent on w^2 / 2 at a rate of 3 doubles and turns w; clipped at 1, each step has length 3.
    def end(clip):
        return mj.descend(optax.chain(clip, optax.sgd(3.0)), 200)(lambda w: w, jnp.array(1.0))

    assert not jnp.isfinite(end(optax.identity()))
    assert abs(end(mj.clip_by_global_norm(1.0))) <= 3


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_a_norm_that_lets_nothing_pass_is_refused(max_norm):
    with pytest.raises(ValueError, match=f"max_norm={max_norm} must be a number above 0"):
        mj.clip_by_global_norm(max_norm)


@pytest.mark.parametrize("size", [1e-10, 1.0, 1e10, 1e25, 1e38])
def test_gradients_of_any_size_are_shortened_to_the_same_length(size):
    # The square of 1e25 is no float32.
    gradient = {"a": jnp.array([3 * size / 5, 0.0]), "b": jnp.array(-4 * size / 5)}
    limit = min(size, 1.0) / 2
    rule = mj.clip_by_global_norm(limit)
    clipped, _ = rule.update(gradient, rule.init(gradient))
    expected = {"a": jnp.array([0.6 * limit, 0.0]), "b": jnp.array(-0.8 * limit)}
    chex.assert_trees_all_close(clipped, expected, rtol=1e-5)


def test_an_infinite_gradient_is_shortened_to_its_limit_and_a_nan_stays_one():
    rule = mj.clip_by_global_norm(2.0)

    def clipped(gradient) -> Any:
        return rule.update(jnp.array(gradient), rule.init(jnp.zeros(3)))[0]

    found = clipped([jnp.inf, 7.0, -jnp.inf])
    np.testing.assert_allclose(found, [2**0.5, 0.0, -(2**0.5)], rtol=1e-6)
    assert jnp.isnan(clipped([jnp.nan, 1.0, 0.0])).any()


@pytest.mark.parametrize("gradient", [[0.3, 0.4], [3.0, 4.0], [0.0, 0.0], [2e19, 1e19]])
def test_clipping_has_the_derivative_of_its_formula(gradient, float64):
    del float64
    gradient = jnp.array(gradient)
    rule = mj.clip_by_global_norm(1.0)

    def clipped(g):
        return rule.update(g, rule.init(g))[0]

    norm = jnp.linalg.norm(gradient)
    unit = gradient / jnp.maximum(norm, 1)
    longer = (jnp.eye(2) - jnp.outer(unit, unit)) / jnp.maximum(norm, 1)
    expected = longer if norm > 1 else jnp.eye(2)
    np.testing.assert_allclose(jax.jacobian(clipped)(gradient), expected, rtol=1e-6, atol=1e-30)


def test_each_step_can_read_arguments_of_its_own():
    # Step t adds t: from 10 to 10 + 0 + 1 + 2.
    solve = mj.descend(optax.sgd(1.0), (0, 1, 3), at_step=lambda args, t: (args[0] * t,))
    path = solve(lambda w, unit: -unit + 0 * w, jnp.array(10.0), jnp.array(1.0))
    assert path.tolist() == [10, 10, 13]


@pytest.mark.parametrize("num_steps", [np.int64(3), np.int32(3), jnp.array(3)])
def test_steps_may_come_from_numpy(num_steps, key):
    assert float(mj.descend(optax.sgd(0.5), num_steps)(lambda w: w, jnp.array(8.0))) == 1
    line = mj.Model(lambda key, x: jnp.zeros(()), lambda w, x: w * x)
    learner = mj.maml(line, mj.mse, optax.sgd(0.25), num_steps)
    support = mj.Examples(jnp.ones(1), jnp.full(1, 8.0))
    assert float(learner.adapt(jnp.zeros(()), support, key)) == 7
    assert float(learner.adapt(jnp.zeros(()), support, key, num_steps=np.int64(1))) == 4


@pytest.mark.parametrize("num_steps", [-1, (), (1, -2), 2.5, "3", None, True])
def test_numbers_of_steps_that_make_no_sense_are_refused(num_steps):
    with pytest.raises(
        ValueError, match=r"num_steps=.* must be an integer of at least 0, or several"
    ):
        mj.descend(optax.sgd(0.5), num_steps)


@pytest.mark.parametrize(
    "inner, message",
    [
        (optax.adam, "inner is adam, not an optax transformation; call it"),
        (optax.lbfgs(), "needs more than a gradient .*'value'"),
        (optax.polyak_sgd(), "needs more than a gradient .*'value'"),
    ],
    ids=["not called", "lbfgs", "polyak"],
)
def test_inner_optimisers_that_cannot_serve_are_refused_by_name(inner, message):
    with pytest.raises(ValueError, match=message):
        mj.descend(inner, 1)(lambda w: w, jnp.array(8.0))


def test_an_optimiser_that_divides_by_the_norm_of_parameters_is_named_as_such(key):
    inner = optax.chain(optax.adaptive_grad_clip(0.1), optax.sgd(0.1))
    learner = mj.maml(mj.mlp(), mj.mse, inner, 1, adjoint=mj.first_order)
    with pytest.raises(ValueError, match="nan where parameters are exactly zero"):
        learner.init(key, jnp.zeros((1, 1)))
