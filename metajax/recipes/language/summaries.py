"""Extractive summaries in a style that is read from a few documents."""

from dataclasses import dataclass

import optax

from metajax import checks
from metajax.names import choose
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment, refuse_ignored
from metajax.recipes.language import style_scores
from metajax.recipes.language import summary_report as report
from metajax.recipes.language.scorers import LEARNERS, Found, Sizes, SummariesLearner, choice_loss
from metajax.recipes.language.styles import styles
from metajax.recipes.language.summary_data import Prepared, parts_of, prepared


@dataclass(frozen=True)
class Summaries:
    """Learn to choose the sentences of a document as somebody does in ten others; needs no data.

    A task is a style: a hidden preference for cue words, places, lengths or likeness to the title. Tests on
    new styles and, where there are summaries, on these, beside the rules and scorers that a learner must beat.
    """

    learner: SummariesLearner = "neural_process"
    """The learner; zero_step does not adapt."""
    data_set: str = "synthetic"
    """Invented documents (synthetic), a data set of `metajax list datasets` with documents, or a file of
    lines with document and summary, as JSON."""
    sentences: int = 1
    """Sentences to choose, 1 to 3."""
    shot: int = 10
    """Labelled documents of a task."""
    query: int = 10
    """Documents of a task that are to be summarised."""
    summaries: float = 0.25
    """The share of training tasks whose style is that of the written summaries."""
    width: int = 16
    """The width of learned features of sentences."""
    vocabulary: int = 512
    """The frequent words, and pairs of words, that are inputs."""
    num_steps: int = 5
    """Inner steps of anil and maml."""
    inner_rate: float = 0.3
    """Their size."""
    meta_batch: int = 16
    """Tasks in an outer step."""
    outer_rate: float = 2e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    outer_steps: int = 1_000
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


def build(settings: Summaries) -> Experiment:
    """Returns the experiment of these settings; reads the documents.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = settings
    for name in ("shot", "query", "width", "vocabulary", "sentences"):
        checks.count("summaries", name, getattr(s, name))
    choose("summaries", "learner", s.learner, LEARNERS)
    if s.sentences > 3:
        raise ValueError(f"summaries: sentences={s.sentences} must be 1, 2 or 3.")
    if not 0 <= s.summaries <= 1:
        raise ValueError(f"summaries: summaries={s.summaries:g} must be from 0 to 1.")
    inner = s.learner in ("anil", "maml")
    refuse_ignored("summaries", s, "learner", {"num_steps": inner, "inner_rate": inner})
    checks.count("summaries", "num_steps", s.num_steps)
    return experiment(prepared(s))


def experiment(p: Prepared) -> Experiment:
    """Returns the experiment of prepared documents."""
    s = p.settings
    learner = LEARNERS[s.learner](Sizes(s.width, s.num_steps, s.inner_rate))
    train, val, test = (
        styles(part, shot=s.shot, query=s.query, sentences=s.sentences, summaries=share)
        for part, share in ((p.train, s.summaries), (p.val, 0.0), (p.test, 0.0))
    )
    rate = optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)
    return Experiment(
        settings=s,
        learner=learner,
        loss=choice_loss,
        objective=query_loss(learner, choice_loss),
        optimizer=optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate)),
        tasks_per_pass=s.meta_batch,
        train=train,
        val=val,
        test=test,
        metric=Found(s.sentences),
        metric_name="chosen sentences found %",
        scale=100.0,
        higher_is_better=True,
        columns=("found",),
        eval_steps=None,
        validation_steps=None,
        test_tasks=style_scores.TASKS,
        digits=1,
        inductive=False,
        learned=f"to choose sentences as somebody does, from {s.shot} documents.",
        next_flags="--on FILE, or metajax summarize with documents of your own",
        picture=None,
        test_name=p.corpus.name,
        judge=lambda meta_params, seed: report.judged(p, learner, meta_params, seed),
        on=lambda name, data, shots: report.elsewhere(p, experiment(p), name, data),
        prepared=p,
        parts=parts_of(p),
    )
