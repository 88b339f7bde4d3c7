"""Inner gradients that are clipped."""

import chex
import jax.numpy as jnp
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


@pytest.mark.parametrize("max_norm", [0.0, -1.0])
def test_a_norm_that_lets_nothing_pass_is_refused(max_norm):
    with pytest.raises(ValueError, match=f"max_norm={max_norm}; it is above 0"):
        mj.clip_by_global_norm(max_norm)
