"""The network of an image recipe, chosen by name."""

import jax
import pytest

from metajax import recipes
from metajax.recipes.vision.across import Across


@pytest.mark.parametrize("learner", ["maml", "protonet", "cavia"])
def test_the_network_is_the_one_that_is_named(learner, key):
    def channels(network):
        e = recipes.build(Across(learner=learner, network=network, filters=4))
        x = jax.eval_shape(e.train, key).support.x
        params = jax.eval_shape(e.learner.init, key, x)
        return {leaf.shape[-1] for leaf in jax.tree.leaves(params) if leaf.ndim == 4}

    assert channels("conv4") == {4}
    assert channels("resnet12") == {4, 10, 20, 40}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"network": "resnet"}, "network='resnet' is unknown; did you mean 'resnet12'"),
        ({"network": "resnet12", "filters": 5}, "filters=5 must be even with network='resnet12'"),
    ],
)
def test_networks_that_cannot_be_made_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        recipes.build(Across(learner="protonet", **change))
