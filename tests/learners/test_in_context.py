"""Learners that adapt by a forward pass: what they read, cache and leave alone."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.tables import LEARNERS, smooth, some_meta_params

import metajax as mj
from metajax.learners.memory_augmented import MemoryAugmented, MemoryState
from metajax.learners.recurrent import Lstm, LstmState
from metajax.learners.snail import Snail
from metajax.learners.transformer import Transformer
from metajax.nn.attention import KeyValues, attend, causal

IN_CONTEXT = [
    "transformer",
    "prior_fitted",
    "snail",
    "recurrent",
    "memory_augmented",
    "attentive_process",
]


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_predictions_do_not_depend_on_other_queries(name, key):
    row = LEARNERS[name]
    meta_params, task = some_meta_params(row, key), row.sample(key)

    @jax.jit
    def both(meta_params, task):
        adapted = row.learner.adapt(meta_params, task.support, key)
        alone = jax.vmap(lambda x: row.learner.predict(adapted, x[None])[0])(task.query.x)
        return row.learner.predict(adapted, task.query.x), alone

    together, alone = both(meta_params, task)
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
    assert float(jnp.std(together, axis=0).max()) > 1e-3  # and they are not all alike


def test_attention_over_one_example_returns_its_value(key):
    queries, keys, values = (jax.random.normal(k, (1, 2, 3)) for k in jax.random.split(key, 3))
    memory = KeyValues(keys, values)
    found = attend(queries, memory, jnp.array([[True]]))
    np.testing.assert_allclose(found, values, rtol=1e-6)
    hidden = KeyValues(jnp.concatenate([keys, 9 * keys]), jnp.concatenate([values, 9 * values]))
    np.testing.assert_allclose(
        attend(queries, hidden, jnp.array([[True, False]])), values, rtol=1e-6
    )
    # Its own key is the same: each half. Its own alone: itself.
    own = KeyValues(keys, -values)
    np.testing.assert_allclose(attend(queries, memory, jnp.array([[True]]), own), 0, atol=1e-6)
    np.testing.assert_allclose(
        attend(queries, memory, jnp.array([[False]]), own), -values, rtol=1e-6
    )


def test_attention_by_hand():
    # Two keys log(3) * sqrt(4) apart along the query: weights 3/4 and 1/4 of values 4 and 0.
    query = jnp.zeros((1, 1, 4)).at[..., 0].set(1)
    memory = KeyValues(
        jnp.zeros((2, 1, 4)).at[0, 0, 0].set(2 * np.log(3)), jnp.array([[[4.0]], [[0]]])
    )
    found = attend(query, memory, jnp.array([[True, True]]))
    assert float(found[0, 0, 0]) == pytest.approx(3)


def test_attentive_process_of_one_support_example(key):
    row = LEARNERS["attentive_process"]
    meta_params, task = some_meta_params(row, key), row.sample(key)
    one = jax.tree.map(lambda leaf: leaf[:1], task.support)
    value = smooth(4).apply(meta_params.encode, jnp.concatenate([one.x, one.y], axis=1))
    found = jnp.concatenate([jnp.tile(value, (6, 1)), task.query.x], axis=1)
    means = smooth(2).apply(meta_params.decode, found)[:, :1]
    adapted = row.learner.adapt(meta_params, one, key)
    np.testing.assert_allclose(row.learner.predict(adapted, task.query.x)[:, 0], means, rtol=1e-5)


@pytest.mark.parametrize(
    "net",
    [
        Transformer(2, width=4, layers=2, heads=2, causal=True),
        Snail(2, width=4, length=8, filters=3, attention=((2, 2), (3, 2))),
    ],
    ids=["transformer", "snail"],
)
def test_cached_support_is_as_good_as_reading_the_query_after_it(net: Any, key):
    # A query is one more token, without a target, at the end of the sequence.
    net_key, x_key, target_key = jax.random.split(key, 3)
    features, targets = jax.random.normal(x_key, (6, 3)), jax.random.normal(target_key, (5, 4))
    mask = jnp.array([True, False, True, True, False])
    params = net.init(net_key, features[:5], targets)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params
    )
    context = net.apply(params, features[:5], targets, mask, method="encode")
    cached = net.apply(params, context, features[5:], method="read")

    existing = jnp.array([0, 2, 3])
    bound = net.bind(params)
    sequence = jnp.concatenate([targets[existing], jnp.zeros((1, 4))])
    x = bound.tokens(jnp.concatenate([features[existing], features[5:]]), sequence)
    everything = jnp.ones(4, bool)
    if isinstance(net, Snail):
        for layer in bound.layers:
            x, _ = layer.encode(x, everything)
    else:
        for block in bound.blocks:
            x, _ = block.encode(x, causal(everything))
        x = bound.last(x)
    np.testing.assert_allclose(cached, bound.head(x)[-1:], rtol=1e-4, atol=1e-5)


def test_lstm_begins_by_forgetting_little():
    # Without weights the gates are 1/2, that of forgetting sigmoid(2), and nothing new comes in.
    cell: Any = Lstm(1)
    state = LstmState(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), state, jnp.ones((1, 2))))
    new: Any = cell.apply(params, state, jnp.ones((1, 2)))
    cell_state = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(
        new, LstmState(jnp.full((1, 1), np.tanh(cell_state) / 2), jnp.full((1, 1), cell_state))
    )


def test_memory_is_written_where_it_was_used_least(key):
    net: Any = MemoryAugmented(2, width=3, slots=4, word=2, reads=1, sharpness=5.0, decay=0.5)
    features, targets = jnp.ones((1, 2)), jnp.ones((1, 3))
    params: Any = net.init(key, features, targets)
    params["params"]["gate"]["bias"] += -99.0  # never over what was last read
    memory = jax.random.normal(key, (4, 2))
    start = net.start(jnp.float32)
    notes = MemoryState(start.controller, memory, jnp.array([3.0, 2.0, 0.5, 4.0]), jnp.eye(4)[:1])
    new: Any = net.apply(params, notes, features, targets, method="step")
    found: Any = net.apply(
        params, notes, net.bind(params).tokens(features, targets), method="control"
    )
    np.testing.assert_allclose(new.memory, memory.at[2].set(found[1][0, 0]), rtol=1e-5)
    assert int(jnp.argmax(new.weights)) == 2  # what was written is what is found
    # Half of what was, and one each for having been written and read.
    assert float(new.usage.sum()) == pytest.approx(9.5 / 2 + 2)
    params["params"]["gate"]["bias"] += 198.0  # always: added to the slot that was read
    new = net.apply(params, notes, features, targets, method="step")
    expected = memory.at[2].set(0.0).at[0].add(found[1][0, 0])
    np.testing.assert_allclose(new.memory, expected, rtol=1e-5, atol=1e-6)


def test_labels_are_permuted_evenly_and_back(key):
    # This learner returns the number that it was given for the first support example's label.
    echo = mj.Learner(
        init=lambda key, x: (),
        adapt=lambda meta_params, support, key: jax.nn.one_hot(support.y[0], 3),
        predict=lambda adapted, x: adapted[None] + jnp.arange(3.0)[None] / 10,
    )
    learner = mj.relabelled(echo, 3)
    support = mj.Examples(jnp.zeros((2, 1)), jnp.array([1, -1]))

    @jax.jit
    @jax.vmap
    def predictions(key):
        return learner.predict(learner.adapt((), support, key), jnp.zeros((1, 1)))[0]

    found = np.asarray(predictions(jax.random.split(key, 600)))
    assert (found.argmax(axis=1) == 1).all()  # back in the task's own labels
    orders, counts = np.unique(np.round(10 * (found - np.eye(3)[1])), axis=0, return_counts=True)
    assert len(orders) == 6  # 100 of each, give or take 9
    assert counts.min() > 60


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: mj.transformer(mj.pixels, 3, width=6, heads=4),
            "width=6 must be a multiple of heads=4",
        ),
        (
            lambda: mj.transformer(mj.pixels, 0),
            "transformer: outputs=0 must be an integer of at least 1",
        ),
        (lambda: mj.snail(mj.pixels, 3, 1), "snail: length=1 must be an integer of at least 2"),
        (lambda: mj.recurrent(mj.pixels, 3, width=0), "recurrent: width=0 must be an integer"),
        (lambda: mj.memory_augmented(mj.pixels, 3, slots=2), "reads=4 must be at most slots=2"),
        (lambda: mj.prior_fitted(mj.pixels, 2), "bins=2 must be an integer of at least 3"),
        (
            lambda: mj.relabelled(mj.protonet(mj.pixels), 0),
            "way=0 must be an integer of at least 1",
        ),
        (
            lambda: mj.attentive_process(mj.linear(4), mj.linear(3), mj.linear(2), heads=2).init(
                jax.random.key(0), jnp.ones((1, 1))
            ),
            "heads=2 must divide the 4 numbers that encode returns and the 3 of locate",
        ),
        (
            lambda: mj.attentive_process(mj.linear(4), mj.linear(4), mj.linear(3)).init(
                jax.random.key(0), jnp.ones((1, 1))
            ),
            "attentive_process: decode returns 3 numbers, but outputs=1 needs 2",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (2, jnp.ones((3, 1)), "support.y is float32 (3, 1), but with outputs=2 it must be integer"),
        (2, jnp.ones(3), "support.y is float32 (3,), but with outputs=2 it must be integer labels"),
        (
            1,
            jnp.ones(3, int),
            "support.y is int32 (3,), but with outputs=1 it must be targets (n, 1)",
        ),
        (2, jnp.ones(3, bool), "support.y is bool (3,), but with outputs=2"),
        (2, {"a": jnp.ones(3)}, "support.y is a dict, but with outputs=2"),
    ],
    ids=["width", "float", "one class", "bool", "dict"],
)
def test_targets_of_another_kind_are_refused(outputs, y, message, key):
    learner = mj.transformer(mj.pixels, outputs, width=4, layers=1)
    x = jnp.ones((3, 1))
    meta_params = learner.init(key, x)
    with pytest.raises(ValueError, match=re.escape("transformer: " + message)):
        learner.adapt(meta_params, mj.Examples(x, y), key)


def test_targets_of_integers_are_numbers_where_they_have_the_width(key):
    # Counts (n, 2) are no labels, and are read as the same numbers are.
    learner = mj.recurrent(mj.pixels, 2, width=4)
    x, y = jnp.ones((3, 1)), jnp.array([[3, 0], [1, 2], [5, 5]])
    meta_params = jax.tree.map(lambda leaf: leaf + 0.1, learner.init(key, x))
    counts, floats = (
        learner.predict(learner.adapt(meta_params, mj.Examples(x, targets), key), x)
        for targets in (y, y.astype(float))
    )
    np.testing.assert_array_equal(counts, floats)
