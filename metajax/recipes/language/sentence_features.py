"""What a scorer reads of each sentence: statistics, and frequent words."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metajax.data.documents import Document
from metajax.metrics.rouge import words_of

MOST = 24
"""Sentences of a document that can be chosen: its first."""
CUES = {
    "contribution": r"\b(we|this (paper|work|article)|our (paper|work))\b.{0,30}\b(propose|present|"
    r"introduce|develop|describe|design|investigate|study|explore|provide|address)|\bthis (paper|work)\b",
    "result": r"\b(outperform|improve|achieve|state[- ]of[- ]the[- ]art|results?|demonstrate|show)",
    "problem": r"\b(however|but|difficult|challeng\w+|problem|limit\w*|fail\w*|unfortunately|lack)\b",
    "method": r"\b(our (method|approach|model|algorithm)|based on|using|uses?|by means of|consists?)\b",
    "rules": r"\b(you|your|must|may not|shall|agree|liable|terms)\b",
}
"""Cue words, by what a sentence with them is about."""
NAMES = (
    *("position", "first", "second", "last", "length", "short", "title", "centroid", "opening"),
    *("digits", "we", *CUES, "rule"),
)
"""The statistics of a sentence."""
RULE = re.compile(CUES["contribution"] + r"|\bour (method|approach|model)\b", re.IGNORECASE)
_CUES = [re.compile(pattern, re.IGNORECASE) for pattern in CUES.values()]


class Reading(NamedTuple):
    """How sentences are read, fixed on training documents.

    idf: The weight of each word, of `unseen` for others.
    place: The column of each frequent word or pair of words.
    mean, deviation: Of the statistics.
    """

    idf: dict[str, float]
    unseen: float
    place: dict[str, int]
    mean: np.ndarray
    deviation: np.ndarray


def reading(documents: Sequence[Document], vocabulary: int) -> Reading:
    """Returns how to read sentences, from training documents.

    Args:
      documents: For training.
      vocabulary: The number of frequent words and pairs that are features.
    """
    seen: Counter = Counter()
    for document in documents:
        seen.update({gram for s in document.sentences for gram in grams(words_of(s))})
    number = len(documents)
    idf = {w: float(np.log(number / n)) + 1 for w, n in seen.items() if " " not in w}
    place = {gram: i for i, (gram, _) in enumerate(seen.most_common(vocabulary))}
    start = Reading(idf, float(np.log(number)) + 1, place, np.zeros(1), np.ones(1))
    rows = np.concatenate([statistics(document, start) for document in documents])
    return start._replace(mean=rows.mean(axis=0), deviation=rows.std(axis=0) + 1e-3)


def grams(words: list[str]) -> set[str]:
    """Words, and pairs of words that follow each other."""
    return {*words, *(" ".join(pair) for pair in itertools.pairwise(words))}


def statistics(document: Document, how: Reading) -> np.ndarray:
    """The statistics of the first sentences of a document, `(sentences, len(NAMES))`."""
    sentences = document.sentences[:MOST]
    words = [words_of(sentence) for sentence in sentences]
    of_words = _vectors([*words, words_of(document.title)], how)
    vectors, title = of_words[:-1], of_words[-1]
    number, place = len(sentences), np.arange(len(sentences))
    lengths = np.array([len(own) for own in words], float)
    columns = [
        *(place / max(number - 1, 1), place == 0, place == 1, place == number - 1),
        *(np.log1p(lengths), lengths < 10),
        *(vectors @ title, vectors @ _unit(vectors.sum(axis=0)), vectors @ vectors[0]),
        [any(letter.isdigit() for letter in sentence) for sentence in sentences],
        [("we" in own) or ("our" in own) for own in words],
        *([bool(cue.search(sentence)) for sentence in sentences] for cue in (*_CUES, RULE)),
    ]
    return (np.array(columns, float).T - how.mean) / how.deviation


def word_columns(document: Document, how: Reading) -> np.ndarray:
    """Which frequent words and pairs each sentence has, `(sentences, vocabulary)`."""
    sentences = document.sentences[:MOST]
    found = np.zeros((len(sentences), len(how.place)), np.uint8)
    for row, sentence in zip(found, sentences, strict=True):
        row[[how.place[gram] for gram in grams(words_of(sentence)) if gram in how.place]] = 1
    return found


def centroid(document: Document, how: Reading) -> np.ndarray:
    """The similarity of each sentence to the whole document, by TF-IDF."""
    return statistics(document, how)[:, NAMES.index("centroid")]


def _vectors(texts: list[list[str]], how: Reading) -> np.ndarray:
    """Texts as unit vectors of TF-IDF over their own words; zeros for an empty text."""
    place = {word: i for i, word in enumerate(dict.fromkeys(w for words in texts for w in words))}
    found = np.zeros((len(texts), max(1, len(place))))
    for row, words in zip(found, texts, strict=True):
        for word in words:
            row[place[word]] += how.idf.get(word, how.unseen)
    return np.stack([_unit(row) for row in found])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
