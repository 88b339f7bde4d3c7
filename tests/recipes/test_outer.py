"""The outer optimisers of image recipes: their rates over the steps, and their defaults."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from metajax import recipes
from metajax.recipes.vision.omniglot import Omniglot
from metajax.recipes.vision.outer import OUTER, OuterName


def _steps(name: OuterName, rate: float, number: int, weight: float = 0.0) -> list[float]:
    """The updates of one weight under a gradient of 1."""
    optimizer = OUTER[name].build(rate, number)
    params, found = jnp.array(weight), []
    state = optimizer.init(params)
    for _ in range(number):
        update: Any
        update, state = optimizer.update(jnp.array(1.0), state, params)
        found.append(float(update))
    return found


def test_the_rate_of_adam_falls_along_a_cosine():
    expected = -0.1 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose(_steps("adam", 0.1, 4), expected, rtol=1e-4)


def test_the_rate_of_sgd_climbs_and_falls():
    # With momentum 0.9, Nesterov's step after n gradients of 1 is 1 + 0.9 + ... + 0.9^n.
    momentum = (1 - 0.9 ** np.arange(2, 12)) / 0.1
    fall = 0.1 * (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    expected = -momentum * np.concatenate([[0.1 / 3, 0.2 / 3], fall])
    np.testing.assert_allclose(_steps("sgd", 0.1, 10), expected, rtol=1e-4)
    decayed = _steps("sgd", 0.1, 1, weight=1000.0)
    assert decayed == [pytest.approx(-0.1 * 1.9 * 1.5)]  # one step has no time to climb


def test_every_optimiser_has_a_rate_of_its_own():
    def resolved(**settings):
        e = recipes.build(Omniglot(source="glyphs", filters=4, **settings))
        return e.settings.outer_rate

    assert (resolved(), resolved(outer_optimizer="sgd")) == (1e-3, 0.1)
    assert resolved(outer_optimizer="sgd", outer_rate=0.3) == 0.3
    with pytest.raises(ValueError, match="outer_optimizer='sdg' is unknown; did you mean 'sgd'"):
        resolved(outer_optimizer="sdg")
