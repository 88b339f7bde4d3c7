"""Hashed n-grams, bags and the token encoder: on paper, and against scikit-learn where it is installed."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.nn.text import TooLongError, inverse_frequency, kinds_of
from metajax.ops.unit import unit_rows

TEXTS = ["the cat sat on the mat", "a dog sat", "the dog, the cat and a bird", "bird's nest"]


def test_ids_are_kind_and_checksum():
    ids = mj.text.ngrams(["To be"], words=(1, 2), chars=(3, 3), buckets=1000, width=8)
    grams = [(0, "to"), (0, "be"), (1, "to be"), (2, " to"), (2, "to "), (2, " be"), (2, "be ")]
    expected = [1 + 1000 * kind + zlib.crc32(gram.encode()) % 1000 for kind, gram in grams]
    assert ids.tolist() == [[*expected, 0]]
    assert ids.dtype == np.int32


def test_known_ids_never_change():
    # A trained run reads sentences by these numbers: another hash would make it forget its words.
    assert mj.text.ngrams(["été"], words=(1, 1), chars=None, width=1).tolist() == [[3285]]


def test_a_sentence_that_does_not_fit_is_refused_and_none_is_cut():
    with pytest.raises(TooLongError, match="3 n-grams do not fit in width=2") as caught:
        mj.text.ngrams(["a", "a b c"], words=(1, 1), chars=None, width=2)
    assert caught.value.index == 1
    wrong: list[Any] = [{"words": (0, 1)}, {"words": (2, 1)}, {"words": None, "chars": None}]
    for options in wrong:
        with pytest.raises(ValueError, match="ngrams: "):
            mj.text.ngrams(["a"], **options)


def test_tfidf_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    how = {"words": (1, 1), "chars": None, "buckets": 100_000}
    ids = mj.text.ngrams(TEXTS, width=10, **how)
    model = mj.text.bag(inverse_frequency(ids, 100_001))
    found = np.asarray(model.apply((), ids))
    vectoriser = sklearn.TfidfVectorizer(token_pattern=r"\w+|[^\w\s]", binary=True)
    expected = vectoriser.fit_transform(TEXTS).toarray()
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)
    chars = mj.text.ngrams(["a cat"], words=None, chars=(2, 3), buckets=100_000, width=20)
    counter = sklearn.CountVectorizer(analyzer="char_wb", ngram_range=(2, 3))
    assert (chars > 0).sum() == len(counter.fit(["a cat"]).vocabulary_)
    assert kinds_of(None, (2, 3)) == (("char", 2), ("char", 3))


def test_the_bag_has_rows_of_one_length_and_padding_weighs_nothing():
    ids = jnp.array([[1, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])
    found = mj.text.bag(jnp.array([9.0, 1.0, 2.0, 3.0]), scale=2.0).apply((), ids)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), [2, 2, 0], rtol=1e-6)
    assert (found[:, 0] == 0).all()


def test_a_row_of_zeros_has_a_finite_derivative():
    slope = jax.grad(lambda x: unit_rows(x).sum())(jnp.zeros((1, 3)))
    np.testing.assert_array_equal(slope, np.zeros((1, 3)))


def test_padding_does_not_change_the_token_encoder(key):
    model = mj.text.token_encoder(50, width=16, layers=2, heads=2)
    ids = jnp.array([[3, 1, 7, 0, 0], [2, 0, 0, 0, 0]])
    params = model.init(key, ids)
    found = model.apply(params, ids)
    np.testing.assert_allclose(found[:1], model.apply(params, ids[:1, :3]), atol=1e-6)
    with pytest.raises(ValueError, match="ids have 6 places, but init has seen 5"):
        model.apply(params, jnp.ones((1, 6), jnp.int32))
    assert not np.allclose(found[0], found[1])
    # An empty sentence has features of 0 and no nan in its derivative.
    empty = jnp.zeros((1, 5), jnp.int32)
    np.testing.assert_array_equal(model.apply(params, empty), np.zeros((1, 16)))
    slope = jax.grad(lambda p: jnp.sum(model.apply(p, empty) ** 2))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_the_order_of_tokens_matters_to_the_encoder(key):
    model = mj.text.token_encoder(50, width=16, layers=1, heads=2, dropout=0.5)
    ids = jnp.array([[3, 1], [1, 3]])
    params = model.init(key, ids)
    first, second = model.apply(params, ids)
    assert not np.allclose(first, second, atol=1e-6)
    assert model.train is not None
    assert not np.allclose(model.train(params, ids, key), model.apply(params, ids))
    wrong: list[Any] = [{"width": 6, "heads": 4}, {"dropout": 1.0}, {"layers": 0}]
    for options in wrong:
        with pytest.raises(ValueError, match="token_encoder: "):
            mj.text.token_encoder(50, **options)
