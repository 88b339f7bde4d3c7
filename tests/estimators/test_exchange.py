"""Means over devices: as each array by itself, in few exchanges."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

import metajax as mj
from metajax.estimators.exchange import SMALL, mean_over
from metajax.mesh import AXIS

MESH = mj.task_mesh(2)
TREE = {
    "scalar": jnp.float32(3.0),
    "matrix": jnp.arange(6.0).reshape(2, 3),
    "none": jnp.zeros((0, 4)),
    "large": jnp.ones(SMALL + 1),
    "half": [jnp.ones(3, jnp.bfloat16), jnp.full((1, 2), 2, jnp.bfloat16)],
}


def over_devices(mean):
    def of_device(tree):
        own = 1 + jax.lax.axis_index(AXIS)
        return mean(jax.tree.map(lambda x: x * own.astype(x.dtype), tree))

    spread = partial(jax.shard_map, mesh=MESH, in_specs=P(), out_specs=P(), check_vma=False)
    return jax.jit(spread(of_device))


@pytest.fixture(scope="module")
def found():
    assert MESH.size == 2
    return over_devices(partial(mean_over, MESH)).lower(TREE).compile()


def test_it_is_the_mean_of_each_array(found):
    expected = over_devices(lambda tree: jax.lax.pmean(tree, AXIS))(TREE)
    chex.assert_trees_all_equal_shapes_and_dtypes(found(TREE), expected)
    chex.assert_trees_all_close(found(TREE), expected, rtol=1e-6)
    assert found(TREE)["scalar"] == 4.5


def test_small_arrays_of_a_type_are_exchanged_at_once():
    program = str(jax.make_jaxpr(over_devices(partial(mean_over, MESH)))(TREE))
    assert program.count(" psum") == 3  # float32, bfloat16, and the large one


def test_an_outer_step_exchanges_once(key):
    learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
    objective = mj.query_loss(learner, mj.mse)
    tasks = mj.tasks.batch(mj.tasks.sinusoid(), key, 2)
    meta_params = learner.init(key, tasks.support.x[0])
    estimate = jax.jit(mj.parallel(2, mesh=MESH)(objective).estimate)
    text = estimate.lower(meta_params, (), tasks, key).compile().as_text()
    assert text is not None
    assert text.count(" all-reduce(") == 1
