"""Translation from a new language out of a few hundred pairs of sentences."""

from dataclasses import dataclass, replace
from typing import Any

from metajax import checks
from metajax.data import multi30k
from metajax.metrics import bleu
from metajax.names import choose
from metajax.recipes.experiment import Experiment, refuse_ignored
from metajax.recipes.language.contenders import started
from metajax.recipes.language.finetuning import LEAST
from metajax.recipes.language.split import SYNTHETIC
from metajax.recipes.language.translation_data import prepared
from metajax.recipes.language.translation_experiment import experiment
from metajax.recipes.language.translation_learners import LEARNERS, TranslationLearner

SIZES: dict[bool, dict[str, Any]] = {
    False: {
        "pairs": (200, 1_000, 4_000),
        "width": 256,
        "length": 128,
        "target_tokens": 4_000_000,
        "adapt_tokens": 1_500_000,
        "word_dropout": 0.3,
        "dropout": 0.2,
    },
    True: {
        "pairs": (50, 200),
        "width": 64,
        "length": 64,
        "target_tokens": 300_000,
        "adapt_tokens": 225_000,
        "word_dropout": 0.0,
        "dropout": 0.0,
    },
}
"""Sizes that depend on whether languages are invented."""


@dataclass(frozen=True)
class Translation:
    """Learn to translate from a new language out of a few hundred pairs of sentences.

    Two languages are for training; a third adapts from 200, 1,000 and 4,000 pairs, with early stopping on a
    part of them, beside a network that starts from scratch. No caption is in two languages. joint trains on all
    languages alike; fomaml and reptile go on from such a run, --start, on simulated tasks of few pairs.
    """

    learner: TranslationLearner = "joint"
    """joint, with one of --languages alone, is transfer from a parent."""
    data_set: str = multi30k.NAME
    """The data set."""
    synthetic: bool = False
    """Take invented languages instead, which need no data."""
    third: str | None = None
    """The language that adapts; by default the last one."""
    languages: tuple[str, ...] | None = None
    """Those to train on; by default all others."""
    start: str | None = None
    """The folder of a run of joint, from which training goes on; its target tokens count as this run's."""
    beside: tuple[str, ...] = ()
    """Folders of other runs, which adapt and are judged beside this one."""
    pairs: tuple[int, ...] | None = None
    """Pairs of the third language to adapt on; by default 200 1000 4000, and 50 200 of an invented one."""
    vocabulary: int = 4_000
    """Byte pairs, learned on the languages of training and the fewest pairs of the third; words where
    languages are invented."""
    width: int | None = None
    """Of the Transformer; by default 256, and 64 for invented languages."""
    layers: int = 2
    """For sources, and again for translations."""
    length: int | None = None
    """Tokens of a row, which several pairs share; by default 128, and 64 for invented languages."""
    support: int = 40
    """Rows of pairs of a simulated task."""
    query: int = 8
    """Rows of its queries, and of a task of joint."""
    batches: int = 20
    """Mini-batches that the support is cut into; an inner step reads one."""
    num_steps: int = 20
    """Inner steps of fomaml and reptile."""
    inner_rate: float = 3e-4
    """Adam's step size in them."""
    meta_batch: int = 2
    """Tasks in an outer step."""
    target_tokens: int | None = None
    """Tokens of translations that training reads, inner loops and --start included; by default 4,000,000, and
    300,000 of invented languages."""
    outer_steps: int | None = None
    """Outer steps; by default as many as --target-tokens gives."""
    outer_rate: float | None = None
    """Adam's step size, 1e-3 for joint and 3e-4 for fomaml, or the share of the way that reptile goes, 0.5; it
    falls along a cosine."""
    smoothing: float = 0.1
    """Smoothing of labels."""
    word_dropout: float | None = None
    """The share of the words of translations that training and adapting hide from what goes on with them; by
    default 0.3, and 0 for invented languages."""
    dropout: float | None = None
    """The probability that a number inside the Transformer is left out, in training and adapting; by default
    0.2, and 0 for invented languages."""
    rates: tuple[float, ...] = (3e-4, 1e-3)
    """Adam's step sizes of adapting, of which held-out pairs choose one."""
    adapt_tokens: int | None = None
    """The most tokens of translations that adapting reads with each of --rates, rehearsal included, by default
    1,500,000, and 225,000 of an invented language; from scratch at most --target-tokens."""
    rehearsal: int = 4
    """Rows of --languages that each step of adapting reads beside 8 of the third's, so that they are not
    forgotten; 0 for none. A network from scratch has nothing to rehearse."""
    patience: int = 20
    """Adapting stops when held-out pairs were translated no better, by chrF, in so many looks, one every 25
    steps."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


def build(settings: Translation) -> Experiment:
    """Returns the experiment of these settings; reads the sentences.

    Raises:
      FileNotFoundError: For data and runs that are missing.
      ModuleNotFoundError: Without tokenizers and sacrebleu.
      ValueError: For settings that do not go together, and sentences that cannot be read.
    """
    s = settings
    for name in (*("vocabulary", "layers", "support", "query", "batches"), "num_steps", "patience"):
        checks.count("translation", name, getattr(s, name))
    choose("translation", "learner", s.learner, LEARNERS)
    inner = LEARNERS[s.learner].inner
    names = ("num_steps", "inner_rate", "support", "batches")
    refuse_ignored("translation", s, "learner", {str(name): inner for name in names})
    sizes = SIZES[s.synthetic or s.data_set == SYNTHETIC]
    s = replace(s, **{name: value for name, value in sizes.items() if getattr(s, name) is None})
    if s.synthetic:
        s = replace(s, data_set=SYNTHETIC)
    refuse_ignored("translation", s, "data_set", {"vocabulary": s.data_set != SYNTHETIC})
    checks.count("translation", "rehearsal", s.rehearsal, least=0)
    for name, values in (("pairs", s.pairs), ("rates", s.rates)):
        if not values or min(values) <= 0:
            raise ValueError(f"translation: {name}={values} must be numbers above 0.")
    if min(s.pairs or ()) < 2 * LEAST:
        raise ValueError(
            f"translation: pairs={s.pairs} must be at least {2 * LEAST} each, to hold {LEAST} of them out."
        )
    for name in ("smoothing", "word_dropout", "dropout"):
        share = getattr(s, name)
        if not 0 <= share < 1:
            raise ValueError(f"translation: {name}={share:g} must be from 0 to below 1.")
    if inner and s.support % s.batches:
        raise ValueError(
            f"translation: support={s.support} does not divide evenly into batches={s.batches}. Change one."
        )
    if inner and s.start is None:
        raise ValueError(
            f"translation: learner={s.learner!r} goes on from joint training. Run `metajax train translation "
            "--learner joint --run-dir BASE` with fewer --target-tokens, then give --start BASE."
        )
    bleu.package()
    return experiment(started(prepared(s)))
