"""The outer rate of the sine waves' recipe."""

import jax
import numpy as np
import pytest

from metajax import recipes
from metajax.recipes.synthetic.paper import outer_rate
from metajax.recipes.synthetic.sinusoid import Sinusoid


def test_the_outer_rate_climbs_and_falls():
    rate = outer_rate(Sinusoid(outer_steps=100, outer_rate=2.0, warm_up=0.2))
    # A cosine over the 80 steps after the climb is halfway down at its 40th.
    np.testing.assert_allclose(
        jax.vmap(rate)(np.array([0, 10, 20, 60, 100])), [0, 1, 2, 1, 0], atol=1e-6
    )


def test_an_outer_rate_that_stays():
    rate = outer_rate(Sinusoid(outer_steps=100, outer_rate=2.0, warm_up=0.0, cosine=False))
    assert [rate(n) for n in (0, 99)] == [2.0, 2.0]


def test_it_is_tested_on_ten_thousand_tasks():
    assert recipes.build(Sinusoid()).test_tasks == 10_000


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_warm_up_that_never_ends_is_refused(share):
    with pytest.raises(ValueError, match=r"warm_up=.* below 1"):
        recipes.build(Sinusoid(warm_up=share))


def test_a_learner_that_clips_nothing_refuses_a_clip():
    with pytest.raises(ValueError, match=r"inner_clip=2\.0 has no effect with learner='meta_sgd'"):
        recipes.build(Sinusoid(learner="meta_sgd", inner_clip=2.0))


def test_published_errors_are_of_five_shots():
    assert recipes.build(Sinusoid()).published
    assert not recipes.build(Sinusoid(test_shot=10)).published
