"""ROUGE and stems against arithmetic on paper and rouge-score."""

import itertools

import pytest

from metajax.data.invented_documents import invented_documents
from metajax.metrics.porter import stem
from metajax.metrics.rouge import r1, rouge, words_of

TEXTS = [s for d in invented_documents(60).train for s in d.sentences] + [
    "Generalizations of relational learning were skies, dying, innings and hopefully succeeded.",
    "Archaeologists' conflated analogies agreed; happily, the feed was controlled by rationalities.",
    "A vietnamization of sensibilities, formalities, triplicate effectiveness & probable adjustment!",
]


def test_rouge_by_hand():
    # 3 of 4 and 3 of 3 words: 2 * 3 / 7. Pairs: "the cat" alone of 3 and 2. In common: the cat down.
    found = rouge("The cat sat down.", ["the cat down"])
    assert found.r1 == pytest.approx(6 / 7)
    assert found.r2 == pytest.approx(2 / 5)
    assert found.rl == pytest.approx(6 / 7)
    # A repeated word counts as often as in both.
    assert r1("to to to", ["to be to"]) == pytest.approx(2 * 2 / 6)
    assert rouge("nothing", ["alike"]) == (0, 0, 0)
    # Each score takes the reference that is best for it.
    assert rouge("a b c", ["c b a", "a b"]) == pytest.approx((1.0, 2 / 3, 0.8))
    with pytest.raises(ValueError, match="rouge: references=\\(\\) must hold at least one text"):
        rouge("a", [])


def test_rouge_score_agrees():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(
        ["rouge1", "rouge2", "rougeL"], use_stemmer=True
    )
    for one, other in itertools.pairwise(TEXTS):
        theirs = scorer.score_multi([other, TEXTS[0]], one)
        expected = [theirs[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")]
        assert rouge(one, [other, TEXTS[0]]) == pytest.approx(expected)
        assert r1(one, [other, TEXTS[0]]) == pytest.approx(expected[0])


def test_nltk_agrees_on_stems():
    theirs = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    words = {word.lower().strip(".,;!&'") for text in TEXTS for word in text.split()}
    assert {word: stem(word) for word in words} == {word: theirs.stem(word) for word in words}


def test_short_words_are_not_stemmed():
    assert words_of("Has was, networks' 3.5 uses") == ["has", "was", "network", "3", "5", "use"]
