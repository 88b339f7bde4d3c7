"""The sequence-to-sequence Transformer against NumPy, and beam search against enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metajax.nn.beam import beam_search
from metajax.nn.seq2seq import BEGIN, END, pack, positions, seq2seq, smoothed

NET = seq2seq(12, 8, heads=2, layers=2)
SOURCES, TARGETS = [[5, 6, 7], [8], [9, 4], [3, 3]], [[4, 4], [10, 3, 5], [6], [7, 8]]


@pytest.fixture(scope="module")
def params():
    found = NET.init(jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 100))
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), found)


def total(params, packed):
    losses = smoothed(NET.apply(params, packed), packed.label)
    return jnp.sum(jnp.where(packed.segment > 0, losses, 0))


def test_packed_and_padded_losses_and_gradients_are_equal(params):
    together = pack(SOURCES, TARGETS, length=16)
    assert len(together.source) == 1
    apart = [pack([s], [t], length=8) for s, t in zip(SOURCES, TARGETS, strict=True)]
    padded = jax.tree.map(lambda *rows: np.concatenate(rows), *apart)
    found, expected = (jax.value_and_grad(total)(params, x) for x in (together, padded))
    number = int((together.segment > 0).sum())
    assert float(found[0]) / number == pytest.approx(float(expected[0]) / number, abs=1e-5)
    for ours, theirs in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def norm(w, x):
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
    return x * w["scale"] + w["bias"]


def attend(w, x, to, causal):
    found = np.zeros_like(x)
    for i, row in enumerate(x):
        seen = to[: i + 1] if causal else to
        for head in (slice(0, 4), slice(4, 8)):
            query = (row @ w["q"])[head]
            scores = (seen @ w["k"])[:, head] @ query / 2.0  # the root of 4
            weight = np.exp(scores) / np.exp(scores).sum()
            found[i, head] = weight @ (seen @ w["v"])[:, head]
    return found @ w["out"]


def mlp(layer, x):
    w = layer["mlp"]
    return np.maximum(norm(layer["norm_mlp"], x) @ w["up"] + w["bias"], 0) @ w["down"]


def embed(p, tokens):
    angles = np.arange(len(tokens))[:, None] * 10_000.0 ** (-np.arange(4) / 4)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return p["embedding"][tokens] * 8**0.5 + waves


def test_numpy_agrees_on_one_sentence(params):
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x, y = embed(p, [*SOURCES[0], END]), embed(p, [BEGIN, *TARGETS[0]])
    for layer in p["encoder"]:
        normed = norm(layer["norm_self"], x)
        x = x + attend(layer["self"], normed, normed, False)
        x = x + mlp(layer, x)
    x = norm(p["norm_source"], x)
    for layer in p["decoder"]:
        normed = norm(layer["norm_self"], y)
        y = y + attend(layer["self"], normed, normed, True)
        y = y + attend(layer["cross"], norm(layer["norm_cross"], y), x, False)
        y = y + mlp(layer, y)
    expected = norm(p["norm_target"], y) @ p["embedding"].T
    found = NET.apply(params, pack(SOURCES[1:2] + SOURCES[:1], TARGETS[1:2] + TARGETS[:1], 12))
    np.testing.assert_allclose(found[0, 4:7], expected, rtol=1e-4, atol=1e-5)


def test_dropout_leaves_out_what_the_seed_of_a_row_says(params):
    net = seq2seq(12, 8, heads=2, layers=2, dropout=0.5)
    x = pack(SOURCES[:2] * 2, TARGETS[:2] * 2, length=8)
    plain = NET.apply(params, x)
    np.testing.assert_array_equal(net.apply(params, x), plain)  # rows without seeds
    apply = jax.jit(lambda seeds: net.apply(params, x._replace(seed=jnp.array(seeds, jnp.uint32))))
    rows = len(x.source)
    found = apply([3] * rows)
    np.testing.assert_array_equal(found, apply([3] * rows))
    other = apply([3] * (rows - 1) + [4])
    np.testing.assert_array_equal(found[:-1], other[:-1])
    assert np.abs(found[-1] - other[-1]).max() > 0.1
    assert np.abs(found - plain).max() > 0.1


def test_a_share_is_left_out_and_the_rest_makes_up_for_it():
    net = seq2seq(12, 8, dropout=0.25, heads=2)
    drop, ones = net._dropping(jnp.arange(4, dtype=jnp.uint32), 0), jnp.ones((4, 50, 100))
    first, second = np.asarray(drop(ones)), np.asarray(drop(ones))
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    assert (first == 0).mean(axis=(1, 2)) == pytest.approx(0.25, abs=0.03)
    assert 0.3 < (first != second).mean() < 0.45  # independent ones: 2 / 4 * 3 / 4


def test_token_by_token_is_all_at_once(params):
    x = pack(SOURCES[:1], TARGETS[:1], length=6)
    memory = NET.encode(params, x.source, x.source_segment)
    cache = NET.cache(1, 4)
    for place, token in enumerate([BEGIN, *TARGETS[0]]):
        logits, cache = NET.step(params, memory, cache, jnp.array([token]), place)
        np.testing.assert_allclose(logits, NET.apply(params, x)[:, place], rtol=1e-4, atol=1e-5)


def test_smoothed_labels_by_hand():
    # Smoothed targets are 0.1 / 4 everywhere and 0.9 more for the label.
    logits = jnp.array([[0.3, -1.0, 2.0, 0.5]])
    targets = jnp.full(4, 0.025).at[2].add(0.9)
    expected = -jnp.sum(targets * jax.nn.log_softmax(logits[0]))
    assert smoothed(logits, jnp.array([2]), 0.1)[0] == pytest.approx(float(expected), rel=1e-6)


def test_derivatives_of_smoothed_labels_are_those_of_rows_as_wide_as_the_vocabulary():
    logits, along = jax.random.normal(jax.random.key(0), (2, 3, 5, 7))
    labels = jnp.arange(15).reshape(3, 5) % 7
    wide = 0.9 * jax.nn.one_hot(labels, 7) + 0.1 / 7

    def ours(z):
        return jnp.sum(smoothed(z, labels, 0.1) ** 2)

    def theirs(z):
        return jnp.sum(jnp.sum(wide * jax.nn.log_softmax(z), axis=-1) ** 2)

    for order in (jax.grad, lambda f: jax.grad(lambda z: jnp.vdot(jax.grad(f)(z), along))):
        np.testing.assert_allclose(order(ours)(logits), order(theirs)(logits), rtol=1e-4, atol=1e-5)


def test_positions_begin_again_with_each_sentence():
    assert positions(jnp.array([[1, 1, 2, 3, 3, 3, 0, 0]])).tolist() == [[0, 1, 0, 0, 1, 2, 0, 1]]


def test_pairs_that_cannot_be_packed():
    with pytest.raises(ValueError, match="pack: there are 1 sources and 2 targets"):
        pack([[3]], [[3], [4]])
    with pytest.raises(ValueError, match="pack: pair 1 has 1 and 8 tokens, but length=8 takes 7"):
        pack([[3], [3]], [[3], [3] * 8], length=8)
    with pytest.raises(ValueError, match="pack: pair 0 has a token below 3"):
        pack([[3]], [[2]])
    with pytest.raises(ValueError, match="seq2seq: width=10 must be a multiple of 2"):
        seq2seq(12, 10)


def enumerated(logp, length, end, penalty):
    """Every sequence of a chain with its score, the best first."""
    vocabulary, found = len(logp), {}
    for sequence in itertools.product(range(vocabulary), repeat=length):
        stop = sequence.index(end) + 1 if end in sequence else length
        cut = sequence[:stop]
        pairs = zip((0, *cut), cut, strict=False)
        found[cut + (0,) * (length - stop)] = sum(logp[i, j] for i, j in pairs) / stop**penalty
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_wide_beam_finds_what_enumeration_finds(penalty, seed):
    logp = np.array(jax.nn.log_softmax(jax.random.normal(jax.random.key(seed), (4, 4))))
    table = jnp.asarray(logp)
    beam = 4**3  # as many as there are sequences of three tokens, so that nothing is lost
    search = jax.jit(
        lambda: beam_search(
            lambda state, token, place: (table[token], state + 1),
            jnp.zeros((2 * beam, 1)),
            sentences=2,
            beam=beam,
            length=3,
            begin=0,
            end=3,
            penalty=penalty,
        )
    )
    found, expected = search(), enumerated(logp, 3, 3, penalty)
    for sentence in range(2):
        ours = found.tokens[sentence, : len(expected)].tolist()
        scores = found.scores[sentence, : len(expected)]
        np.testing.assert_allclose(scores, [value for _, value in expected], rtol=1e-4)
        assert ours[0] == list(expected[0][0])


def test_a_beam_of_one_is_greedy_and_a_wider_one_is_no_worse(params):
    x = pack(SOURCES, TARGETS, length=5)
    memory = NET.encode(params, x.source, x.source_segment)

    def searched(beam):
        wide = jax.tree.map(lambda leaf: jnp.repeat(leaf, beam, axis=0), memory)
        return beam_search(
            lambda cache, token, place: NET.step(params, wide, cache, token, place),
            NET.cache(4 * beam, 6),
            sentences=4,
            beam=beam,
            length=6,
            begin=BEGIN,
            end=END,
        )

    cache, token, scores = NET.cache(4, 6), jnp.full(4, BEGIN), np.zeros(4)
    ended = np.zeros(4, bool)
    for place in range(6):
        logits, cache = NET.step(params, memory, cache, token, place)
        best = np.asarray(jax.nn.log_softmax(logits)).max(axis=-1)
        scores += np.where(ended, 0, best)
        token = jnp.argmax(logits, axis=-1)
        ended |= np.asarray(token) == END
    greedy, wide = searched(1), searched(4)
    np.testing.assert_allclose(greedy.scores[:, 0], scores, rtol=1e-4)
    assert (wide.scores[:, 0] >= greedy.scores[:, 0] - 1e-5).mean() >= 0.75


def test_a_search_that_stops_early_finds_what_a_longer_one_finds():
    # Each token is followed by the next one, and 3 ends: all beams end long before the greatest length.
    table = jnp.log(
        jnp.array([[0.1, 0.8, 0.1, 0], [0.1, 0, 0.6, 0.3], [0, 0, 0.1, 0.9], [1, 0, 0, 0]])
    )

    def searched(length):
        return beam_search(
            lambda state, token, place: (table[token], state),
            jnp.zeros((2, 1)),
            sentences=1,
            beam=2,
            length=length,
            begin=0,
            end=3,
        )

    short, long = searched(8), searched(64)
    assert short.tokens[0].tolist() == [[1, 2, 3, 0, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0, 0, 0]]
    np.testing.assert_allclose(np.exp(short.scores[0]), [0.8 * 0.6 * 0.9, 0.8 * 0.3], rtol=1e-5)
    assert not long.tokens[:, :, 8:].any()
    np.testing.assert_array_equal(long.scores, short.scores)
