"""Domains for training, validation and test: disjoint, named where they are published, drawn otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metajax.data import DATASETS
from metajax.data.invented_sentences import invented_sentences
from metajax.data.sentence_files import READERS, read_sentences
from metajax.data.sentences import Sentences
from metajax.names import neither

SYNTHETIC = "synthetic"


class Parts(NamedTuple):
    """Sentences of disjoint classes for training, validation and test."""

    train: Sentences
    val: Sentences
    test: Sentences


def sentences_of(where: str, data_set: str, data: str | Path | None = None) -> Sentences:
    """Returns sentences by the name of a data set, or from a file.

    Args:
      where: The name of the recipe.
      data_set: "synthetic", a data set with sentences, or a file of JSON lines or CSV.
      data: The folder of the data sets; by default METAJAX_DATA, then the user cache.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For an unknown name, and for lines that cannot be read.

    Example:
      >>> sentences_of("intents", "synthetic").name
      'synthetic'
    """
    named = {name: row.sentences for name, row in DATASETS.items() if row.sentences is not None}
    if data_set == SYNTHETIC:
        return invented_sentences()
    if data_set in named:
        return named[data_set](data)
    if Path(data_set).expanduser().exists() or data_set.endswith((*READERS, ".gz")):
        return read_sentences(data_set)
    known = sorted((SYNTHETIC, *named))
    kinds, more = "a data set of sentences nor a file", f"a file that ends in {', '.join(READERS)}"
    raise neither(f"{where}: {data_set!r}", kinds, data_set, known, more)


def by_domain(
    where: str,
    found: Sentences,
    split: str,
    seed: int,
    published: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]],
) -> Parts:
    """Splits sentences by domain.

    Args:
      where: The name of the recipe.
      found: All of them.
      split: The name of a published split, or "drawn": a fifth for validation, 3 of 10 for test.
      seed: Of the draw.
      published: Names to the domains for validation and test.

    Raises:
      ValueError: For fewer than three domains.
    """
    domains = list(dict.fromkeys(found.domains))
    if len(domains) < 3:
        raise ValueError(
            f"{where}: {found.source or found.name} has {len(domains)} domain(s), but training, validation "
            "and test need one each. Add a column domain, or judge a run on the file with --on."
        )
    if split == "drawn":
        order = np.random.default_rng(seed).permutation(len(domains))
        tests = max(1, round(0.3 * len(domains)))
        vals = max(1, round(0.2 * len(domains)))
        chosen = [domains[i] for i in order]
        val, test = tuple(chosen[tests : tests + vals]), tuple(chosen[:tests])
    else:
        val, test = published[split]
    train = [domain for domain in domains if domain not in (*val, *test)]
    return Parts(found.of(train), found.of(val), found.of(test))


def by_label(found: Sentences, number: int, seed: int) -> tuple[Sentences, Sentences]:
    """Splits the labels of one domain: `number` of them for validation, the others for training."""
    labels = sorted(set(found.labels))
    held = {labels[i] for i in np.random.default_rng(seed).permutation(len(labels))[:number]}

    def those(inside: bool) -> Sentences:
        return found.at([i for i, label in enumerate(found.labels) if (label in held) == inside])

    return those(False), those(True)


def resolved_path(settings: Any) -> Any:
    """Settings whose data set, where it is a file, is named from the root, so that a run finds it again."""
    path = Path(settings.data_set).expanduser()
    if settings.data_set in (SYNTHETIC, *DATASETS) or not path.exists():
        return settings
    return replace(settings, data_set=str(path.resolve()))
