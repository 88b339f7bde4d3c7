"""Statistics of one batch that a network keeps for all others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

NETWORKS: dict[str, Any] = {
    "conv4": lambda **options: mj.conv4(None, filters=4, **options),
    "resnet12": lambda **options: mj.resnet12(None, widths=(2, 3, 4, 5), **options),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture
def images(key):
    return 2 + jax.random.normal(key, (12, 16, 16, 3)) * jnp.array([[[[1.0, 2, 3]]]])


def _renamed(params: Any) -> Any:
    """Parameters of batch statistics for a network of support statistics."""
    if not isinstance(params, dict):
        return params
    return {
        name.replace("BatchStatistics", "SupportStatistics"): _renamed(values)
        for name, values in params.items()
    }


def test_on_the_same_batch_nothing_changes(network, images, key):
    model = network()
    params = model.init(key, images)
    kept = mj.calibrated(model, params, images)
    np.testing.assert_allclose(
        model.apply(kept, images), model.apply(params, images), rtol=1e-4, atol=1e-5
    )
    assert set(params) == {"params"} and set(kept) == {"params", "moments"}


def test_it_is_the_statistics_of_the_first_examples(network, images, key):
    # The same network whose statistics are those of its first examples, a support set.
    other = network(normalisation="support", support=8)
    model = network()
    params = model.init(key, images)
    renamed = _renamed(params)
    kept = mj.calibrated(model, params, images[:8])
    expected = other.apply(renamed, images)[8:]
    np.testing.assert_allclose(model.apply(kept, images[8:]), expected, rtol=1e-4, atol=1e-5)
    alone = model.apply(kept, images[8:9])
    np.testing.assert_allclose(alone, expected[:1], rtol=1e-4, atol=1e-5)
    again = mj.calibrated(model, kept, images[4:])  # from the weights, not from what was kept
    assert not np.allclose(model.apply(again, images), model.apply(kept, images), atol=1e-3)


def test_an_inner_loop_leaves_kept_statistics_alone(images, key):
    model = NETWORKS["conv4"]()
    learner = mj.pretrained(
        mj.finetune(model, mj.cross_entropy, optax.sgd(0.1), 3, columns=2),
        model,
        mj.linear(5),
        reference=images,
    )
    support = mj.Examples(images[:4] + 1, jnp.array([0, 1, 0, 1]))
    meta_params = learner.init(key, images)
    adapted = jax.jit(learner.adapt)(meta_params, support, key)
    kept = mj.calibrated(model, meta_params.body, images)
    for a, b in zip(
        jax.tree.leaves(adapted.body["moments"]), jax.tree.leaves(kept["moments"]), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    apart = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), adapted.body, kept)
    assert max(jax.tree.leaves(apart["params"])) > 1e-4
    whole = learner.predict(adapted, images)
    np.testing.assert_allclose(learner.predict(adapted, images[:1]), whole[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mj.conv4(None, filters=2, normalisation="layer"), "no batch statistics to keep"),
        (mj.Model(lambda key, x: {}, lambda params, x: x), "the model is no flax network"),
        (mj.pixels, "the model is no flax network"),
    ],
    ids=["other", "no flax", "no weights"],
)
def test_models_without_batch_statistics_are_refused(model, message, images, key):
    with pytest.raises(ValueError, match=message):
        mj.calibrated(model, model.init(key, images), images)
