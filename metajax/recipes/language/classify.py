"""Few-shot classification of sentences: what the recipes of intents and relations share."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.names import choose
from metajax.recipes.experiment import refuse_ignored
from metajax.recipes.language.encoders import ENCODERS, EncoderName
from metajax.recipes.language.learners import LEARNERS, SentenceLearner
from metajax.recipes.language.prepared import Prepared
from metajax.tasks.mixture import mixture
from metajax.tasks.sentences import sentences
from metajax.types import Learner, Params, Sample


@dataclass(frozen=True)
class Classify:
    """The settings that the recipes of sentences share."""

    learner: SentenceLearner = "r2d2"
    """The learner; `metajax list learners` describes each."""
    encoder: EncoderName = "ngrams"
    """Hashed n-grams whose weights are a function of word statistics, beside a learned projection; a small
    Transformer of words; frozen vectors with a map that starts at the identity; or both, side by side."""
    vectors: str | None = None
    """Sentences to frozen vectors, for encoders of them: wordllama, or module:function of your own."""
    way: int = 5
    """Classes in a task, all of one domain."""
    train_way: int | None = None
    """Classes in a training task; by default --way, or 10 if that is fewer, or as many as each training domain
    has. Learners with an output for each class, anil and maml, take --way at most."""
    shot: int = 1
    """Support sentences of each class."""
    query_shot: int = 5
    """Query sentences of each class in training."""
    test_query_shot: int = 10
    """Query sentences of each class in validation and test."""
    mixed: float = 0.5
    """The share of training tasks whose classes are of any domains: there are few training domains."""
    dropout: float = 0.3
    """The probability that an n-gram is left out of a training sentence."""
    width: int | None = None
    """The most n-grams of a sentence; by default those of the longest, and 256 at least."""
    test_tasks: int = 150
    """Test tasks of all domains together."""
    meta_batch: int = 8
    """Tasks in an outer step."""
    outer_rate: float | None = None
    """Adam's step size at the start; it falls to 0 along a cosine. By default 3e-4 for n-grams and 3e-5 for
    frozen vectors, which start from what is good already, and 1e-3 for a Transformer."""
    outer_steps: int = 300
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


def check(name: str, s: Classify) -> None:
    """Checks settings before any data are read.

    Raises:
      ValueError: For a setting out of its range, or without effect.
    """
    for setting in ("way", "shot", "query_shot", "test_query_shot"):
        checks.count(name, setting, getattr(s, setting))
    for setting in ("train_way", "width"):
        if getattr(s, setting) is not None:
            checks.count(name, setting, getattr(s, setting))
    checks.count(name, "test_tasks", s.test_tasks, least=2)
    choose(name, "learner", s.learner, LEARNERS)
    choose(name, "encoder", s.encoder, ENCODERS)
    frozen, cut = ENCODERS[s.encoder].frozen, ENCODERS[s.encoder].cut is not None
    refuse_ignored(name, s, "encoder", {"vectors": frozen, "dropout": cut, "width": cut})
    if frozen and s.vectors is None:
        raise ValueError(
            f"{name}: encoder={s.encoder!r} needs vectors, such as vectors='wordllama'."
        )
    for setting in ("mixed", "dropout"):
        if not 0 <= getattr(s, setting) <= (1 if setting == "mixed" else 0.9):
            raise ValueError(
                f"{name}: {setting}={getattr(s, setting):g} must be a share from 0 to 1."
            )
    if LEARNERS[s.learner].fixed_head and (s.train_way or 0) > s.way:
        raise ValueError(
            f"{name}: train_way={s.train_way} must be at most way={s.way}, because learner={s.learner!r} has "
            "one output per class. Leave train_way out."
        )


@dataclass(frozen=True)
class Dropped:
    """A transform of episodes that replaces n-grams by padding, each with this probability."""

    rate: float

    def __call__(self, key: jax.Array, x: Any) -> Any:
        """Drops n-grams of `ids (n, width)`, and leaves what else there is."""
        kept = jax.random.bernoulli(key, 1 - self.rate, x["ids"].shape)
        return x | {"ids": jnp.where(kept, x["ids"], 0)}


def training(p: Prepared) -> Sample:
    """Training tasks: of one domain each, or of classes of any."""
    s, inputs = p.settings, p.fitted.inputs(p.train)
    transform = None if ENCODERS[s.encoder].cut is None else Dropped(s.dropout)

    def source(within: bool) -> Sample:
        return sentences(
            p.train,
            inputs,
            way=s.train_way,
            shot=s.shot,
            query_shot=s.query_shot,
            within=within,
            transform=transform,
            name=p.name,
        )

    if s.mixed in (0, 1):
        return source(s.mixed == 0)
    return mixture([source(True), source(False)], [1 - s.mixed, s.mixed])


def learner_of(p: Prepared, way: int | None = None) -> Learner:
    """The learner of prepared settings; for another way where it has an output for each class."""
    row = LEARNERS[p.settings.learner]
    return p.fitted.wrap(row.build(p.fitted.embed, way or p.settings.way))


def untrained(p: Prepared, learner: Learner) -> Params:
    """What a learner starts from before any training."""
    inputs = p.fitted.inputs(p.train.of(p.train.domains[:1]))
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf[:2]), inputs)
    return learner.init(jax.random.key(p.settings.seed), x)
