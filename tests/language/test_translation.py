"""Tasks of few pairs, adapting with early stopping, translating, and BLEU."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu

from metajax.metrics import bleu
from metajax.nn.seq2seq import BEGIN, END, pack, seq2seq
from metajax.recipes.language.finetuning import fine_tuned, held_out
from metajax.recipes.language.low_resource import (
    Labels,
    TokenLoss,
    examples,
    low_resource,
    stacked,
    tokens_right,
    unstacked,
)
from metajax.recipes.language.pieces import byte_pairs, whole_words
from metajax.recipes.language.token_pairs import Encoded
from metajax.recipes.language.translate import translate

NET = seq2seq(12, 8, heads=2, layers=1)
# The sources of one language are tokens 3 to 6, those of another 7 to 11; targets repeat them.
RNG = np.random.default_rng(0)
FEW, MANY = (
    Encoded(side, side)
    for side in (
        [RNG.integers(low, high, RNG.integers(2, 6)).tolist() for _ in range(number)]
        for low, high, number in ((3, 7, 60), (7, 12, 90))
    )
)
ROWS = stacked([pack(*part, length=16) for part in (FEW, MANY)])


def test_a_task_is_of_one_language_and_its_rows_are_disjoint():
    sample = jax.jit(low_resource(ROWS, support=4, query=3))
    seen = set()
    for key in jax.random.split(jax.random.key(0), 8):
        support, query = sample(key)
        assert support.x.label is None  # what is to be predicted is a target alone
        tokens = np.concatenate([np.ravel(part.x.source) for part in (support, query)])
        seen.add(bool((tokens > 6).any()))
        assert (tokens > 6).any() != ((tokens > END) & (tokens < 7)).any()
        rows = {row.tobytes() for part in (support, query) for row in np.asarray(part.x.source)}
        assert len(rows) == 7
        # Rows of padding are not drawn.
        assert (np.asarray(support.y.segment).max(axis=1) > 0).all()
    assert seen == {False, True}
    with pytest.raises(ValueError, match="support=90 and query=3 need 93 rows of every language"):
        low_resource(ROWS, support=90, query=3)


def test_the_loss_of_a_row_is_the_mean_of_its_tokens():
    logits = jnp.log(jnp.array([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]] * 2))
    labels = Labels(jnp.array([[0, 1, 1]] * 2), jnp.array([[1, 2, 0], [0, 0, 0]]))
    expected = [-(np.log(0.5) + np.log(0.75)) / 2, 0.0]
    np.testing.assert_allclose(TokenLoss(0.0)(logits, labels), expected, rtol=1e-5)
    np.testing.assert_allclose(tokens_right(logits, labels), [1.0, 0.0])
    smooth = TokenLoss(0.2)(logits, labels)[0]
    shares = np.array([[0.9, 0.1], [0.1, 0.9]])  # 0.2 / 2 everywhere, and 0.8 more for the label
    by_hand = -(shares * np.log([[0.5, 0.5], [0.25, 0.75]])).sum(axis=1).mean()
    assert float(smooth) == pytest.approx(by_hand, rel=1e-5)


def test_hidden_words_are_of_translations_alone():
    plain, other = (
        low_resource(ROWS, support=12, query=3, word_dropout=h)(jax.random.key(0))
        for h in (0.0, 0.25)
    )
    words = np.asarray(plain.support.x.target)
    hidden = np.asarray(other.support.x.target) != words
    assert 0.1 < hidden[words > 2].mean() < 0.4
    assert not hidden[words <= 2].any()
    assert not np.asarray(other.support.x.target)[hidden].any()
    assert len(np.unique(np.asarray(other.support.x.seed))) == 12
    same = other.support.x._replace(target=plain.support.x.target)
    chex.assert_trees_all_equal((same, other.support.y), (plain.support.x, plain.support.y))


@pytest.fixture(scope="module")
def params():
    return NET.init(jax.random.key(0))


def overlap(translations, references):
    """The share of places at which a translation has the token of its reference."""
    pairs = zip(translations, references, strict=True)
    return float(np.mean([np.mean([*map(int.__eq__, *p), len(p[0]) == len(p[1])]) for p in pairs]))


HOW: dict[str, Any] = {
    "quality": overlap,
    "smoothing": 0.1,
    "word_dropout": 0.2,
    "length": 16,
    "seed": 0,
    "patience": 2,
}


def test_adapting_takes_what_translates_held_out_pairs_best(params):
    longer: dict[str, Any] = HOW | {"patience": 8}
    found = fine_tuned(NET, params, FEW, rates=(1e-2, 50.0), most_tokens=40_000, **longer)
    _, other = held_out(FEW)

    def reached(params):
        return overlap(translate(NET, params, other.sources, beam=1), other.targets)

    assert found.rate == 1e-2
    assert found.quality > reached(params) + 0.1
    assert found.quality == pytest.approx(reached(found.params), rel=1e-5)
    assert 0 < found.tokens <= 80_000  # with both rates
    nothing = fine_tuned(NET, found.params, FEW, rates=(50.0,), most_tokens=8_000, **HOW)
    assert nothing.steps == 0
    assert nothing.params is found.params
    with pytest.raises(ValueError, match="pairs=10 must be at least 40"):
        held_out(FEW.at(range(10)))
    assert [len(part.sources) for part in held_out(Encoded([[3]] * 4_000, [[4]] * 4_000))] == [
        3_800,
        200,
    ]


def test_adapting_stops_when_translations_get_no_better(params):
    """With a patience of 2 looks of 25 steps, after the first look that set the mark."""
    qualities = iter([0.0, 5.0, 1.0, 1.0])  # before the first step, and at three looks
    how: dict[str, Any] = HOW | {"quality": lambda translations, references: next(qualities)}
    found = fine_tuned(NET, params, FEW, rates=(1e-2,), most_tokens=100_000, **how)
    assert (found.quality, found.steps) == (5.0, 25)
    assert next(qualities, None) is None


def test_what_is_rehearsed_is_not_forgotten(params):
    how: dict[str, Any] = HOW | {"patience": 8, "rates": (1e-2,), "most_tokens": 40_000}
    start = fine_tuned(NET, params, MANY, **how).params
    rows = unstacked(ROWS)
    beside = jax.tree.map(lambda leaf: leaf[int(ROWS.numbers[0]) :], rows)  # those of MANY

    def of_many(**rehearsed):
        found = fine_tuned(NET, start, FEW, **how, **rehearsed)
        return overlap(translate(NET, found.params, MANY.sources, beam=1), MANY.targets), found

    (forgotten, alone), (kept, rehearsing) = of_many(), of_many(beside=beside, rehearsal=8)
    assert kept > forgotten + 0.1
    assert min(alone.quality, rehearsing.quality) > 0.3
    assert rehearsing.tokens <= 40_000  # of both languages


def test_greedy_translations_by_hand(params):
    sources = [*FEW.sources[:3], MANY.sources[0]]
    found, apply = translate(NET, params, sources, beam=1), jax.jit(NET.apply)
    for source, translation in zip(sources, found, strict=True):
        target = []
        while len(target) < 22 and target[-1:] != [END]:
            row = pack([source], [[3]], length=30)
            begun = np.zeros((1, 30), np.int32)
            begun[0, : len(target) + 1] = [BEGIN, *target]
            x = row._replace(target=begun, segment=(np.arange(30) <= len(target))[None].astype(int))
            logits = np.array(apply(params, x))[0, len(target)]
            logits[:END] = -np.inf
            target.append(int(logits.argmax()))
        assert translation == [token for token in target if token != END]


def test_rows_as_they_are_have_no_seed_of_dropout():
    assert low_resource(ROWS, support=4, query=3)(jax.random.key(0)).support.x.seed is None


def test_examples_keep_labels_out_of_inputs():
    x, y, mask = examples(pack(*FEW, length=16))
    assert x.label is None
    assert mask is None
    assert y.token.shape == x.target.shape


REFERENCES = ["a man rides a horse .", "two dogs run in the snow .", "a girl in red ."] * 10
OURS = ["a man rides the horse .", "two dogs run in snow .", "a girl in red ."] * 10
THEIRS = ["a man sits on a horse .", "dogs are in the snow .", "one girl in red ."] * 10


def test_bleu_is_that_of_sacrebleu():
    found = bleu.counts(OURS, REFERENCES)
    expected = sacrebleu.corpus_bleu(OURS, [REFERENCES])
    assert bleu.bleu(found) == pytest.approx(expected.score)
    assert bleu.chrf(OURS, REFERENCES) == sacrebleu.corpus_chrf(OURS, [REFERENCES]).score
    # Twice the first third and nothing of the last is the corpus of these sentences.
    weights = np.repeat([2, 1, 0], 10)
    drawn = [i for i, weight in enumerate(weights) for _ in range(weight)]
    again = sacrebleu.corpus_bleu([OURS[i] for i in drawn], [[REFERENCES[i] for i in drawn]])
    assert bleu.bleu(found, weights) == pytest.approx(again.score)
    assert bleu.signatures()[0].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
    with pytest.raises(ValueError, match="there are 1 translations and 30 references"):
        bleu.counts(["a"], REFERENCES)


def test_differences_are_paired():
    ours, theirs = (bleu.counts(side, REFERENCES) for side in (OURS, THEIRS))
    assert bleu.difference(ours, ours) == (0.0, 0.0)
    mean, half = bleu.difference(ours, theirs)
    assert mean == pytest.approx(bleu.bleu(ours) - bleu.bleu(theirs))
    assert 0 < half < mean
    _, alone = bleu.with_interval(bleu.bleu(ours), bleu.resampled(ours))
    theory = sacrebleu.BLEU().corpus_score(OURS, [REFERENCES], n_bootstrap=1000)
    assert alone == pytest.approx(theory._ci, rel=0.2)


def test_chrf_has_its_interval():
    found = bleu.chrf_with_interval(THEIRS, REFERENCES)
    rng = np.random.default_rng(0)
    samples = [
        bleu.chrf([THEIRS[i] for i in drawn], [REFERENCES[i] for i in drawn])
        for drawn in rng.integers(30, size=(300, 30))
    ]
    expected = bleu.with_interval(bleu.chrf(THEIRS, REFERENCES), np.array(samples))
    assert found[0] == pytest.approx(expected[0], abs=0.01)
    assert found[1] == pytest.approx(expected[1], rel=0.2)
    assert bleu.chrf_with_interval(["x"] * 5, ["a b"] * 5) == (0.0, 0.0)


def test_byte_pairs_write_every_text_again():
    pytest.importorskip("tokenizers")
    pieces = byte_pairs(["ein Hund läuft", "a dog runs"] * 5, 280)
    assert 259 < pieces.size <= 280
    texts = ["ein Hund läuft", "Příliš žluťoučký kůň  <pad>", "a"]
    tokens = pieces.encode(texts)
    assert pieces.decode(tokens) == texts
    assert min(min(row) for row in tokens) > END
    assert len(tokens[0]) < len(tokens[1])
    assert byte_pairs(["ein Hund läuft", "a dog runs"] * 5, 280).encode(texts) == tokens
    with pytest.raises(ValueError, match="vocabulary=200 must be at least 259"):
        byte_pairs(["a"], 200)


def test_whole_words():
    pieces = whole_words(["b a", "c"])
    assert pieces.decode(pieces.encode(["c b a"])) == ["c b a"]
