"""Documents of the recipe of summaries: by name or from a file, split and read."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metajax.data import DATASETS
from metajax.data.documents import Corpus, read_documents
from metajax.data.invented_documents import invented_documents
from metajax.data.legal_summarization import shuffled
from metajax.names import neither
from metajax.recipes.language.documents import Table, table
from metajax.recipes.language.sentence_features import Reading, reading

SYNTHETIC = "synthetic"


class Prepared(NamedTuple):
    """Resolved settings, documents, how they are read, and those of each split as arrays.

    Documents with too few sentences to choose from give no task of styles, and are in `judged` alone.
    """

    settings: Any
    corpus: Corpus
    how: Reading
    train: Table
    val: Table
    test: Table
    pool: Table
    judged: Table


def corpus_of(data_set: str, data: str | Path | None = None) -> Corpus:
    """Returns documents by the name of a data set, or from a file.

    Args:
      data_set: "synthetic", a data set with documents, or a path.
      data: The folder of the data sets; by default METAJAX_DATA, then the user cache.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For an unknown name, lines that cannot be read, and too few documents.

    Example:
      >>> corpus_of("synthetic").name
      'synthetic'
    """
    named = {name: row.documents for name, row in DATASETS.items() if row.documents is not None}
    if data_set == SYNTHETIC:
        return invented_documents()
    if data_set in named:
        return named[data_set](data)
    path = Path(data_set).expanduser()
    if path.exists():
        return shuffled(path.stem, list(read_documents(path)))
    known = sorted((SYNTHETIC, *named))
    kinds = "a data set with documents nor a file"
    raise neither(f"summaries: data_set={data_set!r}", kinds, data_set, known, "a file")


def prepared(s: Any, corpus: Corpus | None = None) -> Prepared:
    """Reads and splits the documents of settings.

    Args:
      s: The settings of the recipe.
      corpus: Other documents than theirs.

    Raises:
      ValueError: For too few documents, and for summaries that are missing where tasks need them.
    """
    corpus = corpus_of(s.data_set, s.data) if corpus is None else corpus
    path = Path(s.data_set).expanduser()
    if s.data_set not in (SYNTHETIC, *DATASETS) and path.exists():
        s = replace(s, data_set=str(path.resolve()))
    written = all(document.summaries for document in corpus.train)
    if s.summaries > 0 and not written:
        raise ValueError(
            f"summaries: summaries={s.summaries:g} needs written summaries, but documents of {corpus.name} "
            "have none. Use summaries=0."
        )
    how = reading(corpus.train, s.vocabulary)
    train, val, test = (
        table(part, how, s.sentences) for part in (corpus.train, corpus.val, corpus.test)
    )
    long = (
        _long(s, corpus.name, name, part)
        for name, part in (("train", train), ("val", val), ("test", test))
    )
    return Prepared(s, corpus, how, *long, pool=train, judged=test)


def _long(s: Any, corpus: str, name: str, part: Table) -> Table:
    """The documents with more sentences than are chosen, and at least three."""
    least, needed = max(2, s.sentences) + 1, s.shot + s.query
    kept = np.flatnonzero(part.exists.sum(axis=1) >= least)
    if len(kept) < needed:
        raise ValueError(
            f"summaries: shot={s.shot} and query={s.query} need {needed} documents of at least {least} "
            f"sentences for {name}, but {corpus} has {len(kept)}."
        )
    return jax.tree.map(lambda leaf: leaf[kept], part)
