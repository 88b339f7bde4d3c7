"""Objectives and updates under jit, outside of it, and on a device, by chex's variants."""

from typing import Any

import chex
import jax
import optax
from absl.testing import parameterized
from contract.tables import LEARNERS, some_meta_params, tasks_of

import metajax as mj

variants: Any = chex.variants


class VariantsTest(chex.TestCase):
    variant: Any

    @variants(with_jit=True, without_jit=True)
    @parameterized.parameters("maml", "maml, batch statistics", "protonet", "imaml")
    def test_hypergradient_is_the_same(self, name):
        row, key = LEARNERS[name], jax.random.key(0)
        objective = mj.query_loss(row.learner, row.loss)
        arguments = some_meta_params(row, key), tasks_of(row, key, 2), key
        chex.assert_trees_all_close(
            self.variant(jax.grad(objective))(*arguments),
            jax.jit(jax.grad(objective))(*arguments),
            rtol=1e-3,
            atol=1e-5,
        )

    @variants(with_jit=True, without_jit=True)
    def test_update_is_the_same(self):
        row, key = LEARNERS["protonet"], jax.random.key(0)
        init, update = mj.outer_step(mj.query_loss(row.learner, row.loss), optax.adam(1e-2))
        state, tasks = init(some_meta_params(row, key)), tasks_of(row, key, 2)
        new, metrics = self.variant(update)(state, tasks, key)
        again, same = update(state, tasks, key)
        chex.assert_trees_all_close((new, metrics), (again, same), rtol=1e-4, atol=1e-6)
