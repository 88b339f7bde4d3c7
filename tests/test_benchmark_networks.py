"""The public networks of the benchmark: their hypergradients are finite, and point uphill."""

import jax
import numpy as np
import optax
import pytest
from networks import NETWORKS, network

import metajax as mj


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name != "resnet12"]
)  # tests/nn has it
def test_a_step_against_the_hypergradient_lowers_the_objective(name, key):
    module = network(name)
    model, sets = module.model(), []
    for half in range(2):
        keys = jax.random.split(jax.random.fold_in(key, half), 2)
        sets.append(jax.vmap(lambda k: module.examples(k, 3))(keys))
    x = jax.tree.map(lambda leaf: leaf[0], sets[0].x)
    params = jax.jit(model.init)(key, x)
    objective = mj.query_loss(mj.maml(model, module.LOSS, optax.sgd(0.01), 1), module.LOSS)
    at = jax.jit(jax.value_and_grad(objective))
    before, gradient = at(params, mj.Task(*sets), key)
    after, _ = at(jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), mj.Task(*sets), key)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((before, gradient)))
    assert after < before


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name != "resnet12"]
)  # tests/nn has it
def test_predictions_and_targets_belong_to_examples(name, key):
    module = network(name)
    model, examples = module.model(), module.examples(key, 3)
    params = jax.eval_shape(model.init, key, examples.x)
    losses = jax.eval_shape(lambda p, e: module.LOSS(model.apply(p, e.x), e.y), params, examples)
    assert losses.shape == (3,)
