"""Networks of four frameworks as models: one table of networks, and the laws that all of them keep."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import metajax as mj
from metajax.nn.state import leaf_names

X = jax.random.normal(jax.random.key(7), (6, 2))
Y = jnp.sin(X[:, :1])


# Networks of weights and dropout: linear, tanh, dropout, linear.


class LinenDropout(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(0.5, deterministic=not train)(nn.tanh(nn.Dense(8)(x)))
        return nn.Dense(1)(x)


class NnxDropout(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(2, 8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.tanh(self.first(x))))


def equinox_dropout(key):
    first, last = jax.random.split(key)
    layers = [
        eqx.nn.Linear(2, 8, key=first),
        eqx.nn.Lambda(jnp.tanh),
        eqx.nn.Dropout(0.5),
        eqx.nn.Linear(8, 1, key=last),
    ]
    return eqx.nn.Sequential(layers)


def haiku_dropout(x, train=False):
    x = jnp.tanh(hk.Linear(8)(x))
    return hk.Linear(1)(hk.dropout(hk.next_rng_key(), 0.5, x) if train else x)


HAIKU = hk.transform(haiku_dropout)


def nnx_module(params, **modes):
    module = NnxDropout(nnx.Rngs(0))
    nnx.update(module, nnx.State(params))
    module.set_attributes(**modes)
    return module


def nnx_in_training(params, x, key):
    module = nnx_module(params, deterministic=False)
    nnx.reseed(module, default=jax.random.fold_in(key, 0))  # of the first, and only, stream
    return module(x)


def equinox_module(params):
    return eqx.combine(params, equinox_dropout(jax.random.key(0)))


def equinox_in_training(params, x, key):
    keys = jax.random.split(key, len(x))
    return jax.vmap(lambda x, key: equinox_module(params)(x, key=key))(x, keys)


class Row(NamedTuple):
    """A model, and what its framework itself computes in evaluation and in training."""

    model: mj.Model
    weights: tuple[str, ...]
    evaluation: Callable[[Any, Any], Any]
    training: Callable[[Any, Any, Any], Any]


ROWS = {
    "linen": Row(
        mj.linen_model(LinenDropout(), train={"train": True}),
        tuple(f"params/Dense_{i}/{name}" for i in (0, 1) for name in ("bias", "kernel")),
        lambda params, x: LinenDropout().apply(params, x, train=False),
        lambda params, x, key: LinenDropout().apply(params, x, train=True, rngs={"dropout": key}),
    ),
    "nnx": Row(
        mj.nnx_model(NnxDropout),
        ("first/bias", "first/kernel", "last/bias", "last/kernel"),
        lambda params, x: nnx_module(params, deterministic=True)(x),
        nnx_in_training,
    ),
    "equinox": Row(
        mj.equinox_model(equinox_dropout),
        tuple(f"layers/{i}/{name}" for i in (0, 3) for name in ("weight", "bias")),
        lambda params, x: jax.vmap(eqx.nn.inference_mode(equinox_module(params)))(x),
        equinox_in_training,
    ),
    "haiku": Row(
        mj.haiku_model(HAIKU, train={"train": True}),
        ("linear/b", "linear/w", "linear_1/b", "linear_1/w"),
        lambda params, x: HAIKU.apply(params, None, x, train=False),
        lambda params, x, key: HAIKU.apply(params, key, x, train=True),
    ),
}
rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@rows
def test_parameters_are_the_weights_alone(row, key):
    params = row.model.init(key, X)
    assert tuple(leaf_names(params)) == row.weights
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2 * 8 + 8 + 8 + 1


@rows
def test_prediction_is_the_frameworks_own_evaluation(row, key):
    params = row.model.init(key, X)
    found = row.model.apply(params, X)
    np.testing.assert_allclose(found, row.evaluation(params, X), rtol=1e-6, atol=1e-6)
    alone = jnp.concatenate([row.model.apply(params, x[None]) for x in X])
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


@rows
def test_dropout_in_adaptation_is_the_frameworks_own_and_follows_the_key(row, key):
    params = row.model.init(key, X)
    found = row.model.train(params, X, key)
    np.testing.assert_allclose(found, row.training(params, X, key), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, row.model.train(params, X, jax.random.fold_in(key, 1)), atol=1e-3)
    learner = mj.maml(row.model, mj.mse, optax.sgd(0.1), 2)
    support = mj.Examples(X, Y)
    first, again, other = (learner.adapt(params, support, jax.random.key(i)) for i in (1, 1, 2))
    gaps = [
        max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
        for pair in ((first, again), (first, other))
    ]
    assert gaps[0] == 0
    assert gaps[1] > 1e-3


@rows
def test_dropout_has_the_mean_of_prediction_before_the_last_layer(row, key):
    # The last layer is linear and dropout has the mean of its input, so training has the mean of
    # prediction. 4,000 masks of 8 units of weight about 1/3 leave a deviation of about 0.01.
    params = row.model.init(key, X)
    keys = jax.random.split(key, 4000)
    mean = jnp.mean(jax.vmap(lambda key: row.model.train(params, X, key))(keys), axis=0)
    np.testing.assert_allclose(mean, row.model.apply(params, X), atol=0.1)


@rows
def test_hypergradient_is_that_of_finite_differences(row, key, float64):
    learner = mj.maml(row.model, mj.mse, optax.sgd(0.1), 2)
    task = mj.Task(mj.Examples(X, Y), mj.Examples(X + 1, jnp.sin(X[:, :1] + 1)))
    tasks = jax.tree.map(lambda leaf: leaf[None].astype(jnp.float64), task)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), learner.init(key, X))
    objective = jax.jit(lambda params: mj.query_loss(learner, mj.mse)(params, tasks, key))
    gradient = jax.grad(objective)(params)
    direction = jax.tree.map(
        lambda leaf: jnp.cos(jnp.arange(leaf.size * 1.0)).reshape(leaf.shape), params
    )

    def along(step):
        return objective(jax.tree.map(lambda leaf, d: leaf + step * d, params, direction))

    slope = sum(
        jnp.vdot(*pair) for pair in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)
    )
    assert float(slope) == pytest.approx(float(along(1e-5) - along(-1e-5)) / 2e-5, rel=1e-6)


def test_networks_without_dropout_have_no_call_of_their_own_for_adaptation():
    models = (
        mj.linen_model(nn.Dense(1)),
        mj.nnx_model(lambda rngs: nnx.Linear(2, 1, rngs=rngs)),
        mj.equinox_model(lambda key: eqx.nn.Linear(2, 1, key=key)),
        mj.haiku_model(hk.transform(lambda x: hk.Linear(1)(x))),
        mj.haiku_model(hk.without_apply_rng(hk.transform(lambda x: hk.Linear(1)(x)))),
    )
    for model in models:
        assert model.train is None
        params = model.init(jax.random.key(0), X)
        assert model.apply(params, X).shape == (6, 1)


# Networks with running statistics: normalisation without scale and shift, then one linear layer.


class LinenNormalised(nn.Module):
    average: bool = False

    @nn.compact
    def __call__(self, x, average=None):
        average = self.average if average is None else average
        norm = nn.BatchNorm(use_running_average=average, use_bias=False, use_scale=False)
        return nn.Dense(1)(norm(x))


class NnxNormalised(nnx.Module):
    def __init__(self, rngs, mean=0.0, var=1.0):
        self.norm = nnx.BatchNorm(2, use_bias=False, use_scale=False, rngs=rngs)
        self.norm.mean.set_value(jnp.full(2, mean))
        self.norm.var.set_value(jnp.full(2, var))
        self.head = nnx.Linear(2, 1, rngs=rngs)

    def __call__(self, x, **options):
        return self.head(self.norm(x, **options))


def haiku_normalised(x, training=True):
    return hk.Linear(1)(hk.BatchNorm(False, False, 0.9)(x, is_training=training))


HAIKU_NORMALISED = hk.transform_with_state(haiku_normalised)


def stored(mean: float, var: float):
    """Variables of both networks in which each running statistic has one value."""
    linen = LinenNormalised().init(jax.random.key(0), X)
    values = {"mean": jnp.full(2, mean), "var": jnp.full(2, var)}
    linen["batch_stats"] = {"BatchNorm_0": values}
    params, state = HAIKU_NORMALISED.init(jax.random.key(0), X)
    averages = {"mean_ema": mean, "var_ema": var}
    state = {
        name: {
            leaf: jnp.full_like(value, averages[name.split("/")[-1]])
            if leaf == "average"
            else value
            for leaf, value in part.items()
        }
        for name, part in state.items()
    }
    return linen, (params, state)


BY_BATCH = {
    "linen": mj.linen_model(LinenNormalised(), statistics="batch"),
    "nnx": mj.nnx_model(NnxNormalised, statistics="batch"),
    "haiku": mj.haiku_model(HAIKU_NORMALISED, statistics="batch"),
}
OFF = {"training": False}
FROZEN = {
    "linen": mj.linen_model(
        LinenNormalised(average=True), statistics="frozen", variables=stored(1.0, 4.0)[0]
    ),
    "nnx": mj.nnx_model(lambda rngs: NnxNormalised(rngs, 1.0, 4.0), statistics="frozen"),
    "haiku": mj.haiku_model(
        HAIKU_NORMALISED,
        statistics="frozen",
        train=OFF,
        predict=OFF,
        variables=stored(1.0, 4.0)[1],
    ),
}


def head_of(params) -> tuple[jax.Array, jax.Array]:
    """The bias and the kernel of the one linear layer."""
    bias, kernel = jax.tree.leaves(params)
    return bias, kernel


def adapted(model, key):
    learner = mj.maml(model, mj.mse, optax.sgd(0.1), 3)
    params = learner.init(key, X)
    return learner, params, learner.adapt(params, mj.Examples(X, Y), key)


@pytest.mark.parametrize("model", BY_BATCH.values(), ids=BY_BATCH)
def test_batch_statistics_are_those_of_the_batch_at_hand(model, key):
    learner, params, end = adapted(model, key)
    bias, kernel = head_of(end)  # weights alone: two arrays
    assert not np.allclose(kernel, head_of(params)[1])
    for x in (X, X[:3] * 2 + 1):
        normal = (x - x.mean(axis=0, keepdims=True)) / jnp.sqrt(x.var(axis=0, keepdims=True) + 1e-5)
        np.testing.assert_allclose(
            learner.predict(end, x), normal @ kernel + bias[None], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("model", FROZEN.values(), ids=FROZEN)
def test_frozen_statistics_are_constants_that_adaptation_leaves_alone(model, key):
    # With mean 1 and variance 4 an input is (x - 1) / 2, before adaptation and after.
    learner, params, end = adapted(model, key)
    assert not np.allclose(head_of(end)[1], head_of(params)[1])
    for weights in (params, end):
        bias, kernel = head_of(weights)
        expected = (X - 1) / jnp.sqrt(4 + 1e-5) @ kernel + bias[None]
        np.testing.assert_allclose(learner.predict(weights, X), expected, rtol=1e-4, atol=1e-5)


def test_without_variables_frozen_statistics_are_those_a_module_begins_with(key):
    # Inner SGD on a running variance of 1 once made it 0.17; it is no parameter any more.
    model = mj.linen_model(LinenNormalised(average=True), statistics="frozen")
    learner, _, end = adapted(model, key)
    bias, kernel = head_of(end)
    np.testing.assert_allclose(learner.predict(end, X), X @ kernel + bias[None], atol=1e-4)


def test_pretrained_variables_are_where_adaptation_begins(key):
    for model, variables in zip((FROZEN["linen"], FROZEN["haiku"]), stored(1.0, 4.0), strict=True):
        start = variables["params"] if isinstance(variables, dict) else variables[0]
        found = model.init(jax.random.fold_in(key, 5), X)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True):
            np.testing.assert_array_equal(ours, theirs)


class LinenRandomConstant(nn.Module):
    @nn.compact
    def __call__(self, x):
        draw = self.variable(
            "constants", "shift", lambda: jax.random.normal(self.make_rng("params"), (2,))
        )
        return nn.Dense(1)(x + draw.value[None])


def test_constants_are_given_as_variables(key):
    net = LinenRandomConstant()
    with pytest.raises(ValueError, match=r"random numbers .*variables=net\.init\(key, x\)"):
        mj.linen_model(net, statistics="frozen").init(key, X)
    variables = net.init(key, X)
    model = mj.linen_model(net, statistics="frozen", variables=variables)
    params = model.init(key, X)
    expected: Any = net.apply(variables, X)
    np.testing.assert_allclose(model.apply(params, X), expected, rtol=1e-6)


MISSPELT: Any = "bach"
PLAIN: Any = HAIKU
DENSE: Any = nn.Dense
STATEFUL = eqx.nn.Sequential([eqx.nn.BatchNorm(2, axis_name="batch", mode="batch")])
REFUSED = [
    (
        "a choice is missing: linen",
        lambda: mj.linen_model(LinenNormalised()),
        r"linen_model: the network holds batch_stats/BatchNorm_0/mean.*statistics='batch'",
    ),
    (
        "a choice is missing: nnx",
        lambda: mj.nnx_model(NnxNormalised),
        r"nnx_model: the network holds norm/mean.*statistics='frozen'",
    ),
    (
        "a choice is missing: haiku",
        lambda: mj.haiku_model(HAIKU_NORMALISED),
        r"haiku_model: the network holds batch_norm/~/mean_ema/average.*statistics='batch'",
    ),
    (
        "equinox keeps state elsewhere",
        lambda: mj.equinox_model(lambda key: STATEFUL),
        r"equinox_model: the module holds layers/0/batch_counter.*Use eqx.nn.LayerNorm",
    ),
    (
        "no such choice",
        lambda: mj.linen_model(LinenNormalised(), statistics=MISSPELT),
        r"statistics='bach' is unknown; did you mean 'batch'",
    ),
    (
        "a choice without use",
        lambda: mj.linen_model(nn.Dense(1), statistics="batch"),
        r"statistics='batch' has no use, because the network holds weights alone",
    ),
    (
        "frozen, but by the batch: linen",
        lambda: mj.linen_model(LinenNormalised(), statistics="frozen"),
        r"'frozen', but the network updates batch_stats/BatchNorm_0/mean in prediction.*predict=",
    ),
    (
        "frozen, but by the batch in adaptation: linen",
        lambda: mj.linen_model(LinenNormalised(), statistics="frozen", predict={"average": True}),
        r"'frozen', but the network updates batch_stats/BatchNorm_0/mean in adaptation.*train=",
    ),
    (
        "frozen, but by the batch: nnx",
        lambda: mj.nnx_model(
            NnxNormalised, statistics="frozen", predict={"use_running_average": False}
        ),
        r"'frozen', but the network updates norm/mean in prediction",
    ),
    (
        "frozen, but by the batch: haiku",
        lambda: mj.haiku_model(
            HAIKU_NORMALISED, statistics="frozen", variables=stored(0.0, 1.0)[1]
        ),
        r"'frozen', but the network updates batch_norm/~/mean_ema/average in prediction",
    ),
    (
        "frozen without constants: haiku",
        lambda: mj.haiku_model(HAIKU_NORMALISED, statistics="frozen"),
        r"statistics='frozen' needs variables=\(params, state\)",
    ),
    (
        "batch, but stored: linen",
        lambda: mj.linen_model(LinenNormalised(average=True), statistics="batch"),
        r"'batch', but the network does not update batch_stats/BatchNorm_0/mean in prediction",
    ),
    (
        "batch, but stored: nnx",
        lambda: mj.nnx_model(
            NnxNormalised, statistics="batch", predict={"use_running_average": True}
        ),
        r"'batch', but the network does not update norm/mean in prediction",
    ),
    (
        "batch, but stored: haiku",
        lambda: mj.haiku_model(HAIKU_NORMALISED, statistics="batch", predict=OFF),
        r"'batch', but the network does not update batch_norm/~/mean_ema/average in prediction",
    ),
    (
        "dropout in prediction: linen",
        lambda: mj.linen_model(nn.Sequential([nn.Dropout(0.5, deterministic=False)])),
        r"linen_model: layers_0 draws random numbers in prediction, where dropout must be off",
    ),
    (
        "dropout in prediction: haiku",
        lambda: mj.haiku_model(HAIKU, predict={"train": True}),
        r"haiku_model: the function draws random numbers in prediction",
    ),
    (
        "a transformed function that takes a key as a plain pair",
        lambda: mj.maml(PLAIN, mj.mse, optax.sgd(0.1), 1),
        r"maml: the model is a Transformed, not \(init, apply\); wrap it with mj.haiku_model",
    ),
    ("a class: linen", lambda: mj.linen_model(DENSE), r"net=.* must be a flax linen module"),
    ("a function: haiku", lambda: mj.haiku_model(haiku_dropout), r"must be what hk.transform"),
]


@pytest.mark.parametrize(
    "build, message", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_contradicts_the_choice_is_refused(build, message, key):
    with pytest.raises(ValueError, match=message):
        build().init(key, X)


def test_nnx_dropout_that_the_call_keeps_on_is_refused(key):
    class Always(nnx.Module):
        def __init__(self, rngs):
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(x, deterministic=False)

    with pytest.raises(ValueError, match="nnx_model: dropout draws random numbers in prediction"):
        mj.nnx_model(Always).init(key, X)


def test_groups_are_those_of_the_user_and_of_a_modules_attributes(key):
    model = mj.linen_model(LinenDropout(), groups={"head": lambda path: "Dense_1" in path})
    chosen = model.groups["head"](model.init(key, X))
    assert jax.tree.leaves(chosen) == [False, False, True, True]
    for name, last in (("nnx", "last"), ("equinox", "layers")):
        model = ROWS[name].model
        chosen = jax.tree.leaves(model.groups[last](model.init(key, X)))
        assert chosen == [path.startswith(last) for path in ROWS[name].weights]


def test_two_random_streams_of_an_nnx_module_draw_apart(key):
    class Two(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=0))
            self.second = nnx.Dropout(0.5, rng_collection="other", rngs=nnx.Rngs(other=0))

        def __call__(self, x):
            return self.first(x) * self.second(x)

    # Were both masks one, the product would be 4 in half of the places; apart, in a quarter.
    model = mj.nnx_model(Two)
    assert model.train is not None
    ones = jnp.ones((4000, 1))
    share = jnp.mean(model.train(model.init(key, ones), ones, key) > 0)
    assert float(share) == pytest.approx(0.25, abs=0.04)


def test_inputs_may_be_a_dict(key):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1)(x["a"]) + nn.Dense(1)(x["b"])

    def build(key):
        first, second = jax.random.split(key)

        class Module(eqx.Module):
            a: eqx.nn.Linear
            b: eqx.nn.Linear

            def __call__(self, x):
                return self.a(x["a"]) + self.b(x["b"])

        return Module(eqx.nn.Linear(2, 1, key=first), eqx.nn.Linear(2, 1, key=second))

    for model in (mj.linen_model(Net()), mj.equinox_model(build)):
        x = {"a": X, "b": 2 * X}
        params = model.init(key, x)
        learner = mj.maml(model, mj.mse, optax.sgd(0.1), 1)
        end = learner.adapt(params, mj.Examples(x, Y), key)
        before, after = (float(jnp.mean((model.apply(p, x) - Y) ** 2)) for p in (params, end))
        assert after < before


def test_a_transformed_function_without_key_is_a_plain_pair(key):
    pair: Any = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(1)(x)))
    learner = mj.maml(pair, mj.mse, optax.sgd(0.1), 1)
    params = learner.init(key, X)
    np.testing.assert_array_equal(learner.predict(params, X), mj.haiku_model(pair).apply(params, X))
