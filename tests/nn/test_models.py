"""Any (init, apply) pair is a model: linen, nnx, or written by hand."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import metajax as mj
from metajax.nn.normalisation import TaskNorm

LINEN = nn.Dense(1)
MODELS = {
    "linen": mj.Model(LINEN.init, LINEN.apply),
    "nnx": mj.nnx_model(lambda rngs: nnx.Linear(1, 1, rngs=rngs)),
    "by hand": mj.Model(lambda key, x: {"w": jnp.ones((1, 1))}, lambda params, x: x @ params["w"]),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_any_model_meta_learns(model, key):
    # Tasks y = (3 +- 1) x: the best start for one small step is the middle, w = 3.
    def sample(key):
        slope = 3 + jax.random.rademacher(key, (), dtype=jnp.float32)
        x = jnp.linspace(-1.0, 1.0, 6)[:, None]
        return mj.Task(mj.Examples(x[::2], slope * x[::2]), mj.Examples(x[1::2], slope * x[1::2]))

    learner = mj.maml(model, mj.mse, optax.sgd(0.1), num_steps=1)
    state = mj.fit(
        learner,
        mj.query_loss(learner, mj.mse),
        optax.adam(0.05),
        sample,
        key=key,
        outer_steps=300,
        meta_batch=16,
        show_progress=False,
    )
    assert float(model.apply(state.meta_params, jnp.ones((1, 1)))[0, 0]) == pytest.approx(
        3, abs=0.2
    )


def test_sinusoid_network_has_mamls_size_and_initialisation(key):
    params = mj.mlp().init(key, jnp.ones((1, 1)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 40 + 40 + 1600 + 40 + 40 + 1
    kernel = params["params"]["Dense_1"]["kernel"]
    # A normal cut off at two deviations has 0.88 of its deviation.
    assert float(jnp.std(kernel)) == pytest.approx(0.0088, rel=0.05)
    assert float(jnp.abs(kernel).max()) <= 0.02


@pytest.mark.parametrize("readout, features", [("mean", 64), ("flatten", 2 * 2 * 64)])
def test_conv4_has_the_published_size(readout, features, key):
    # Four convolutions without bias, as many shifts as filters, and a dense head.
    shapes = jax.eval_shape(mj.conv4(5, readout=readout).init, key, jnp.ones((1, 28, 28, 1)))
    counted = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    assert counted == 9 * 64 + 3 * 9 * 64 * 64 + 4 * 64 + 5 * features + 5


def test_pooling_halves_four_times(key):
    model = mj.conv4(None, filters=8, downsample="pool")
    images = jnp.ones((2, 32, 32, 3))
    assert jax.eval_shape(lambda k: model.apply(model.init(k, images), images), key).shape == (
        2,
        32,
    )


def test_an_unknown_option_suggests_the_nearest():
    misspelt: Any = "strid"
    with pytest.raises(ValueError, match="downsample='strid' is unknown; did you mean 'stride'"):
        mj.conv4(5, downsample=misspelt)


def test_predictions_depend_on_the_batch_only_with_batch_statistics(key):
    sample = mj.tasks.sinusoid()
    learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), 1)
    meta_params = learner.init(key, sample(key).support.x)
    scores = mj.evaluate(learner, meta_params, sample, mj.mse, key=key, num_tasks=4)
    assert scores.inductive is not None
    np.testing.assert_allclose(scores.values, scores.inductive.values, rtol=1e-5)
    images = mj.tasks.episodes(
        np.random.default_rng(0).uniform(size=(5, 4, 16, 16, 1)),
        way=2,
        shot=1,
        query_shot=2,
        transform=lambda key, x: x.astype(jnp.float32),
    )
    learner = mj.maml(mj.conv4(2, filters=4), mj.cross_entropy, optax.sgd(0.1), 1)
    meta_params = learner.init(key, images(key).support.x)
    scores = mj.evaluate(learner, meta_params, images, mj.cross_entropy, key=key, num_tasks=4)
    assert scores.inductive is not None
    assert not np.allclose(scores.values, scores.inductive.values, rtol=1e-3)


@pytest.mark.parametrize("normalisation", ["batch", "layer", "instance", "none"])
def test_only_batch_statistics_let_queries_see_each_other(normalisation, key):
    model = mj.conv4(3, filters=4, normalisation=normalisation)
    images = jax.random.uniform(key, (4, 16, 16, 1))
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(key, images))
    together = model.apply(params, images)[0]
    alone = model.apply(params, images[:1])[0]
    assert bool(jnp.allclose(together, alone, atol=1e-4)) == (normalisation != "batch")
    brighter = model.apply(params, 3 * images)  # all but "none" take contrast away
    assert bool(jnp.allclose(brighter[0], together, atol=0.02)) == (normalisation != "none")


@pytest.mark.parametrize("offset, axes", [(30.0, (0, 1, 2)), (-30.0, (1, 2))])
def test_tasknorm_goes_from_the_support_sets_statistics_to_each_images(offset, axes, key):
    x = jax.random.normal(key, (5, 4, 4, 3)) * jnp.arange(1.0, 6.0).reshape(5, 1, 1, 1)
    layer = TaskNorm(support=2)
    params = layer.init(key, x)
    params["params"]["offset"] = jnp.float32(offset)
    of = x[:2] if 0 in axes else x
    mean, variance = (f(of, axis=axes, keepdims=True) for f in (jnp.mean, jnp.var))
    expected = (x - mean) / jnp.sqrt(variance + 1e-5)
    np.testing.assert_allclose(jnp.asarray(layer.apply(params, x)), expected, atol=1e-4)


def test_film_adapts_a_scale_and_a_shift_by_hand(key):
    # Of x (1 + a) + b at x = 1 the gradient of (x (1 + a) + b - 3)^2 is -4 in a and in b, both 0. A step of
    # 1/4 makes both 1, so that 1 becomes 3, and 2 becomes 5.
    learner = mj.cavia(mj.from_collection(mj.Film()), mj.mse, optax.sgd(0.25), num_steps=1)
    support = mj.Examples(jnp.ones((1, 1)), jnp.full((1, 1), 3.0))
    adapted = learner.adapt(learner.init(key, support.x), support, key)
    assert learner.predict(adapted, jnp.array([[1.0], [2.0]])).tolist() == [[3.0], [5.0]]


@pytest.mark.parametrize("slope, share", [(0.0, 1 / 2), (np.log(3), 3 / 4), (-np.log(3), 1 / 4)])
def test_tasknorm_blends_moments_by_a_share_of_the_size_of_the_support_set(slope, share, key):
    # A support image of 0 and 2 has mean 1 and variance 1; a query of 4 and 4 has 4 and 0. The share of the
    # support set is sigmoid(slope * 1), and each mean is apart from the blended one.
    x = jnp.array([[0.0, 2.0], [4.0, 4.0]]).reshape(2, 1, 2, 1)
    layer = TaskNorm(support=1, epsilon=0.0)
    params = layer.init(key, x)
    params["params"]["slope"] = jnp.float32(slope)
    mean = share * 1 + (1 - share) * 4
    variance = share * (1 + (1 - mean) ** 2) + (1 - share) * (0 + (4 - mean) ** 2)
    found = jnp.asarray(layer.apply(params, x))[:, 0, :, 0]
    np.testing.assert_allclose(found[1], (4 - mean) / np.sqrt(variance), rtol=1e-5)
    np.testing.assert_allclose(found[0], [-1, 1], rtol=1e-5)  # both moments are its own


@pytest.mark.parametrize("normalisation", ["support", "task"])
def test_beside_the_support_set_a_query_is_predicted_as_if_alone(normalisation, key):
    options: Any = {"filters": 4, "normalisation": normalisation, "support": 3}
    learner = mj.beside_support(
        mj.maml(mj.conv4(3, **options), mj.cross_entropy, optax.sgd(0.1), 1)
    )
    images = jax.random.uniform(key, (7, 16, 16, 1))
    support = mj.Examples(images[:3], jnp.arange(3))
    adapted = learner.adapt(learner.init(key, support.x), support, key)
    together = learner.predict(adapted, images[3:])
    np.testing.assert_allclose(together[:1], learner.predict(adapted, images[3:4]), atol=1e-5)
    moved = support._replace(x=support.x[::-1] ** 2)
    elsewhere = learner.predict(learner.adapt(learner.init(key, moved.x), moved, key), images[3:])
    assert not np.allclose(together, elsewhere, atol=1e-3)


def test_a_normalisation_by_the_support_set_must_know_its_size():
    with pytest.raises(ValueError, match="normalisation='task' and support=None; give the number"):
        mj.conv4(5, normalisation="task")
    with pytest.raises(ValueError, match="normalisation='batch' and support=5; give the number"):
        mj.conv4(5, support=5)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((5, 28, 28), r"images are \(5, 28, 28\); give \(n, height, width, channels\)"),
        ((5, 15, 20, 1), "leave nothing after four poolings by 2. Give 16 x 16 or more"),
    ],
)
def test_images_that_leave_no_features_are_refused(shape, message, key):
    with pytest.raises(ValueError, match=message):
        mj.conv4(5, downsample="pool").init(key, jnp.ones(shape))


GROUPS = {
    "mlp": (mj.mlp((3,)), (2, 1), {"head": ["Dense_1/bias", "Dense_1/kernel"]}),
    "mlp's biases": (mj.mlp((3,)), (2, 1), {"biases": ["Dense_0/bias", "Dense_1/bias"]}),
    "linear": (mj.linear(3), (2, 4), {"biases": ["layers_0/bias"]}),
    "conv4": (
        mj.conv4(2, filters=4),
        (2, 16, 16, 1),
        {
            "shifts": [f"BatchStatistics_{i}/bias" for i in range(4)],
            "warp": ["Conv_1/kernel", "Conv_3/kernel"],
            "head": ["Dense_0/bias", "Dense_0/kernel"],
        },
    ),
    "conv4 by layer": (
        mj.conv4(None, filters=4, normalisation="layer"),
        (2, 16, 16, 1),
        {
            "shifts": [
                f"OwnStatistics_{i}/LayerNorm_0/{name}"
                for i in range(4)
                for name in ("bias", "scale")
            ]
        },
    ),
}


@pytest.mark.parametrize("model, shape, groups", GROUPS.values(), ids=GROUPS)
def test_groups_hold_the_arrays_of_their_name(model, shape, groups, key):
    params = jax.eval_shape(model.init, key, jnp.ones(shape))
    for name, expected in groups.items():
        chosen = model.groups[name](params)
        paths = [
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, pick in jax.tree.leaves_with_path(chosen)
            if pick
        ]
        assert paths == [f"params/{path}" for path in expected]
        assert jax.tree.structure(chosen) == jax.tree.structure(params)


def test_features_without_an_embedding_are_the_flattened_inputs(key):
    x = {"b": jnp.arange(8.0).reshape(2, 2, 2), "a": jnp.array([10, 11])}
    assert mj.pixels.init(key, x) == ()
    assert mj.pixels.apply((), x).tolist() == [[10, 0, 1, 2, 3], [11, 4, 5, 6, 7]]
    assert mj.pixels.apply((), x["b"]).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_mixed_precision_computes_in_its_type_and_keeps_dropout_and_groups(key):
    def apply(params, x):
        assert params["w"].dtype == x["x"].dtype == jnp.bfloat16
        assert x["index"].dtype == jnp.int32
        return params["w"] * x["x"]

    model = mj.Model(
        init=lambda key, x: {"w": jnp.float32(1.01)},
        apply=apply,
        train=lambda params, x, key: apply(params, x) + jax.random.uniform(key, dtype=jnp.bfloat16),
        groups={"all": lambda params: {"w": True}},
    )
    low = mj.mixed_precision(model)
    x = {"x": jnp.ones(2), "index": jnp.arange(2)}
    params = low.init(key, x)
    assert params["w"].dtype == jnp.float32
    # bfloat16 has 8 bits, so its neighbours of 1.01 are 1.0078125 and 1.015625.
    assert low.apply(params, x).tolist() == [1.0078125, 1.0078125]
    assert low.train is not None
    assert float(low.train(params, x, key)[0]) > 1.0078125
    assert low.groups["all"](params) == {"w": True}
    assert mj.mixed_precision(mj.mlp()).train is None
    with pytest.raises(ValueError, match="dtype=int8 must be a floating-point type"):
        mj.mixed_precision(model, jnp.int8)


@pytest.mark.parametrize("masked, exact", [(3, True), (6, True), (2, False)])
def test_batch_statistics_see_masked_examples_as_copies(masked, exact, key):
    # Three existing examples, each copied as often: the same mean and variance. With 2 masked, two
    # of the three count double.
    images = jax.random.uniform(key, (3, 16, 16, 1))
    model = mj.conv4(2, filters=4)
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(key, images))
    padded = jnp.concatenate([images, jnp.full((masked, 16, 16, 1), jnp.nan)])
    examples = mj.filled(
        mj.Examples(padded, jnp.zeros(3 + masked, int), jnp.arange(3 + masked) < 3)
    )
    gap = jnp.abs(model.apply(params, examples.x)[:3] - model.apply(params, images)).max()
    assert bool(gap < 1e-5) == exact


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: mj.mlp((40, 0)),
            r"mlp: features=\(40, 0\) must be a sequence of integers of at least 1",
        ),
        (lambda: mj.mlp(outputs=0), "mlp: outputs=0 must be"),
        (lambda: mj.linear(0), "linear: outputs=0 must be"),
        (lambda: mj.conv4(0), "conv4: way=0 must be"),
        (lambda: mj.conv4(5, filters=0), "conv4: filters=0 must be"),
        (lambda: mj.conv4(5, normalisation="task", support=0), "conv4: support=0 must be"),
    ],
)
def test_counts_below_one_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_unit_features_make_a_linear_probe_blind_to_scale(key):
    embed = mj.unit_features(mj.pixels)
    x, y = jax.random.normal(key, (6, 4)), jnp.arange(6) % 3
    probe = mj.linear_probe(embed, mj.cross_entropy, optax.sgd(1.0), 10, columns=3)

    def logits(scale):
        adapted = probe.adapt((), mj.Examples(scale * x, y), key)
        return probe.predict(adapted, scale * x)

    np.testing.assert_allclose(logits(1.0), logits(30.0), atol=1e-5)
    noisy = mj.Model(
        init=lambda key, x: (),
        apply=lambda params, x: x,
        train=lambda params, x, key: x + jax.random.normal(key, x.shape),
    )
    train = mj.unit_features(noisy).train
    assert train is not None
    np.testing.assert_allclose(jnp.linalg.norm(train((), x, key), axis=-1), 1.0, rtol=1e-6)
    assert not jnp.allclose(train((), x, jax.random.key(7)), embed.apply((), x))
    assert embed.train is None
