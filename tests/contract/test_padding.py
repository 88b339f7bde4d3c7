"""Masked examples, whatever they hold and wherever they are, change nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.padding import KINDS, LEARNERS, case, differences, takes, with_masked

import metajax as mj

CASES = [
    (
        learner,
        next(kind for kind in ("dict", "dict, float targets", "float") if takes(make, KINDS[kind])),
    )
    for learner, make in LEARNERS.items()
]
CASES += [("maml", "float"), ("cavia", "float"), ("transformer", "float")]
"""Every learner on dictionaries where it takes them; benchmarks/padding.py has all kinds."""


@pytest.mark.parametrize("learner, kind", CASES)
def test_masked_examples_change_nothing(learner, kind, key):
    found = case(LEARNERS[learner], KINDS[kind], key)
    assert differences(found, [jnp.nan], key)[0] < 1e-4


def test_it_would_be_seen_if_they_did(key):
    # Without its mask, a support set with examples of (0, 0) has another gradient.
    found = case(LEARNERS["maml"], KINDS["float"], key)
    adapt = found.learner.adapt

    def without_mask(meta_params, support, key, **options):
        return adapt(meta_params, support._replace(mask=None), key, **options)

    learner = found.learner._replace(adapt=without_mask)
    assert differences(found._replace(learner=learner), [0.0], key)[0] > 1e-2


@pytest.mark.parametrize(
    "name", ["maml", "protonet", "r2d2", "knn", "transformer", "snail", "neural_process"]
)
def test_without_any_support_example_all_is_finite(name, key):
    make = LEARNERS[name]
    found = case(make, KINDS["integer" if make.labels else "float"], key)
    support = with_masked(found.tasks.support, jnp.nan)
    tasks = found.tasks._replace(
        support=support._replace(mask=jnp.zeros(support.y.shape[:2], bool))
    )
    predictions = jax.vmap(
        lambda support, x: found.learner.predict(
            found.learner.adapt(found.meta_params, support, key), x
        )
    )
    assert np.isfinite(jax.jit(predictions)(tasks.support, tasks.query.x)).all()


def test_masked_examples_do_not_reach_a_black_box(key):
    def mean(scale, support_x, support_y, x):
        return np.full((len(x), 1), scale * support_y.mean()) + support_x.sum()

    learner = mj.black_box(mean, lambda key, x: jnp.ones(()), outputs=1)
    tasks = case(LEARNERS["maml"], KINDS["float"], key).tasks
    init, estimate = mj.evolution(2, 0.1)(mj.query_loss(learner, mj.mse))

    @jax.jit
    def of(tasks):
        return estimate(jnp.array(2.0), init(jnp.array(2.0), tasks, key), tasks, key)

    padded = mj.Task(*(with_masked(part, jnp.nan) for part in tasks))
    chex.assert_trees_all_close(of(padded), of(tasks), rtol=1e-4)
