"""Documents of the recipe of summaries: by name or from a file, split and read."""

import hashlib
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
from metajax.recipes.language.documents import Table, cut, table
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
    every = (*corpus.train, *corpus.val, *corpus.test)
    corpus = corpus._replace(notes=(*corpus.notes, *cut(corpus.name, every)))
    missing = [i for i, document in enumerate(every) if not document.summaries]
    if 0 < len(missing) < len(every):
        raise ValueError(
            f"summaries: {len(missing):,} of {len(every):,} documents of {corpus.name} have no summary, such "
            f"as the one that begins {every[missing[0]].sentences[0][:60]!r}. Give all a summary, or none."
        )
    if s.summaries > 0 and missing:
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


def parts_of(p: Prepared) -> dict[str, list[str]]:
    """A digest of the documents of each part, where they are of a file, as `Experiment.parts`."""
    if not Path(p.settings.data_set).is_absolute():
        return {}
    found = {}
    for part in ("train", "val", "test"):
        texts = ["\n".join(document.sentences) for document in getattr(p.corpus, part)]
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
        found[f"{len(texts):,} documents of {p.corpus.name}, for {part}"] = [digest]
    return found


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
