"""Intents of sentences in domains that were never seen: CLINC150, and anybody's own."""

from dataclasses import dataclass, replace
from typing import Literal

from metajax import checks
from metajax.data import clinc150
from metajax.names import choose
from metajax.recipes.experiment import Experiment, refuse_ignored
from metajax.recipes.language.classify import Classify, check
from metajax.recipes.language.experiment import experiment
from metajax.recipes.language.prepared import prepared
from metajax.recipes.language.split import SYNTHETIC, by_domain, resolved_path, sentences_of


@dataclass(frozen=True)
class Intents(Classify):
    """Learn to tell new intents apart from one or a few sentences of each.

    Domains for training, validation and test are disjoint. `metajax evaluate RUN --on FILE.csv` judges a run
    on your own sentences; --synthetic needs no data at all.
    """

    data_set: str = clinc150.NAME
    """CLINC150, or a file of JSON lines or CSV with columns text, label and domain."""
    synthetic: bool = False
    """Take invented sentences instead, which need no data."""
    split: Literal["first", "second", "drawn"] | None = None
    """Domains of CLINC150 for validation and test: work, and banking, credit_cards and travel; another
    choice (utility, and auto_and_commute, kitchen_and_dining and work); or drawn by --split-seed, as those of
    other data always are."""
    split_seed: int = 0
    """Seed of domains that are drawn."""
    train_domains: int | None = None
    """Train on the first so many training domains alone, for a learning curve; by default on all."""


def build(settings: Intents) -> Experiment:
    """Returns the experiment of these settings; reads the sentences.

    Raises:
      FileNotFoundError: For data that are missing.
      ValueError: For settings that do not go together, and sentences that cannot be read.
    """
    check("intents", settings)
    s = resolved_path(replace(settings, data_set=SYNTHETIC) if settings.synthetic else settings)
    published = s.data_set == clinc150.NAME
    split = s.split or ("first" if published else "drawn")
    choose("intents", "split", split, ("drawn", *(clinc150.SPLITS if published else ())))
    refuse_ignored("intents", replace(s, split=split), "split", {"split_seed": split == "drawn"})
    found = sentences_of("intents", s.data_set, s.data)
    parts = by_domain("intents", found, split, s.split_seed, clinc150.SPLITS)
    if s.train_domains is not None:
        known = list(dict.fromkeys(parts.train.domains))
        number = checks.count("intents", "train_domains", s.train_domains)
        parts = parts._replace(train=parts.train.of(known[:number]))
    p = prepared("intents", replace(s, split=split), parts)
    return experiment(p, lambda name, data: sentences_of("intents", name, data), "intents")
