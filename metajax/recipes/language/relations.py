"""Relations between two entities of a sentence: from Wikipedia to medicine and to other text."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from metajax.data import fewrel
from metajax.data.invented_sentences import invented_sentences
from metajax.data.sentences import Sentences
from metajax.names import choose
from metajax.recipes.experiment import Experiment
from metajax.recipes.language.classify import Classify, check
from metajax.recipes.language.experiment import experiment
from metajax.recipes.language.prepared import prepared
from metajax.recipes.language.split import Parts, by_domain, by_label, sentences_of

TARGETS = ("pubmed", "semeval")
VALIDATION = 5
"""Relations of Wikipedia for validation."""


@dataclass(frozen=True)
class Relations(Classify):
    """Learn to tell new relations between two entities apart, and do so in text of another kind.

    Trains on Wikipedia and tests on biomedical text and SemEval. --synthetic needs no data at all.
    """

    entities: Literal["masked", "plain"] = "masked"
    """Whether the two entities are replaced by marks. Plain sentences have names that recur in a relation."""
    synthetic: bool = False
    """Take invented sentences instead, which need no data."""
    split_seed: int = 0
    """Seed of the relations for validation."""


def build(settings: Relations) -> Experiment:
    """Returns the experiment of these settings; reads the sentences.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For settings that do not go together, and sentences that cannot be read.
    """
    check("relations", settings)
    choose("relations", "entities", settings.entities, ("masked", "plain"))
    s = settings
    masked = s.entities == "masked"
    if s.synthetic:
        parts = by_domain("relations", invented_sentences(seed=1), "drawn", s.split_seed, {})
    else:
        found = fewrel.load(s.data, masked=masked)
        train, val = by_label(found.of(["wiki"]), VALIDATION, s.split_seed)
        parts = Parts(train, val, found.of(TARGETS))
    p = prepared("relations", s, parts)
    return experiment(p, partial(_read, masked), "relations")


def _read(masked: bool, name: str, data: str | Path | None) -> Sentences:
    """Other sentences for a test: a part of FewRel by its name, a data set, or a file."""
    if name in (*TARGETS, "wiki"):
        return fewrel.load(data, masked=masked).of([name])._replace(name=name)
    return sentences_of("relations", name, data)
