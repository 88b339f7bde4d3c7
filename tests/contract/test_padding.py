"""Appending masked examples, whatever they hold, changes nothing."""

import jax.numpy as jnp
import pytest
from contract.padding import KINDS, LEARNERS, case, difference, takes

CASES = [
    (learner, kind)
    for learner, make in LEARNERS.items()
    for kind in KINDS
    if takes(make, KINDS[kind])
]


@pytest.mark.parametrize("learner, kind", CASES)
def test_masked_examples_change_nothing(learner, kind, key):
    found = case(LEARNERS[learner], KINDS[kind], key)
    for fill in (0.0, jnp.nan):
        assert difference(found, fill, key) < 1e-4
