"""Inner loops in mini-batches against loops on paper."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

CONSTANT = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w + 0 * x)


def support(*targets):
    return mj.Examples(x=jnp.zeros(len(targets)), y=jnp.array(targets, jnp.float32))


@pytest.mark.parametrize("inner", [optax.sgd(0.125), optax.sgd(0.125, momentum=0.5)])
def test_each_step_reads_the_next_part_and_the_optimiser_goes_on(inner, key):
    # Parts of one example: steps of 0.125 * 2 (w - y) over both targets in turn, in one of two orders.
    learner = mj.in_batches(mj.maml(CONSTANT, mj.mse, inner, 5), 2)
    found = float(learner.adapt(jnp.zeros(()), support(1.0, 9.0), key))
    ends = []
    for order in ((1.0, 9.0), (9.0, 1.0)):
        w, state = jnp.zeros(()), inner.init(jnp.zeros(()))
        for step in range(5):
            updates, state = inner.update(2 * (w - order[step % 2]), state, w)
            w = w + updates
        ends.append(float(w))
    assert min(abs(found - end) for end in ends) < 1e-5


def test_one_part_is_the_learner_itself(key):
    learner = mj.maml(CONSTANT, mj.mse, optax.sgd(0.1), 3)
    given = support(1.0, 2.0, 6.0)
    whole = learner.adapt(jnp.zeros(()), given, key)
    np.testing.assert_array_equal(mj.in_batches(learner, 1).adapt(jnp.zeros(()), given, key), whole)


def test_anil_reads_features_and_targets_of_the_same_part(key):
    # With a rate of 0.5 a step on one example ends at its target over its feature: 3 for all of them.
    line = mj.Model(init=lambda key, x: jnp.ones(()), apply=lambda w, x: w * x)
    learner = mj.in_batches(mj.anil(line, line, mj.mse, optax.sgd(0.05), 60), 2)
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    meta_params = learner.init(key, x)
    adapted = learner.adapt(meta_params, mj.Examples(x, 3 * x), key)
    assert float(adapted.head) == pytest.approx(3.0, abs=1e-3)


def test_masked_examples_weigh_nothing(key):
    learner = mj.in_batches(mj.maml(CONSTANT, mj.mse, optax.sgd(0.5), 8), 2)
    given = mj.Examples(jnp.zeros(4), jnp.array([5.0, 5.0, jnp.nan, jnp.nan]))
    given = given._replace(mask=jnp.array([True, True, False, False]))
    assert float(learner.adapt(jnp.zeros(()), given, key)) == pytest.approx(5.0)


def test_parts_must_be_even_and_there_must_be_an_inner_loop(key):
    learner = mj.in_batches(mj.maml(CONSTANT, mj.mse, optax.sgd(0.5), 1), 2)
    with pytest.raises(ValueError, match="3 support examples do not divide evenly into k=2 parts"):
        learner.adapt(jnp.zeros(()), support(1.0, 2.0, 3.0), key)
    with pytest.raises(ValueError, match="this learner has no inner loop"):
        mj.in_batches(mj.protonet(mj.pixels), 2)
