"""What a learner of styles must beat: rules, and conditional logits fitted to a few documents or to all."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.recipes.language.choice_model import STRENGTHS, fitted, scores_of
from metajax.recipes.language.scorers import Found
from metajax.recipes.language.sentence_features import NAMES
from metajax.tasks.batch import batch
from metajax.types import Examples, Sample, Task

Scorer = Callable[[Task, jax.Array], jax.Array]
"""A task and a key to scores of the sentences of its queries, `(queries, sentences)`; reads no query target."""

VALIDATION, POOLED = 200, 400
"""Tasks that strengths are tuned on, and training tasks whose documents are pooled."""


def _there(x: dict, scores: jax.Array) -> jax.Array:
    return jnp.where(x["exists"], scores, -1e9)


def lead(task: Task, key: jax.Array) -> jax.Array:
    """The first sentences."""
    del key
    x = task.query.x
    return _there(x, -jnp.arange(x["exists"].shape[-1], dtype=jnp.float32)[None])


def at_random(task: Task, key: jax.Array) -> jax.Array:
    """Any sentences."""
    return _there(task.query.x, jax.random.uniform(key, task.query.x["exists"].shape))


def central(task: Task, key: jax.Array) -> jax.Array:
    """The sentences most like the whole document, by TF-IDF."""
    del key
    return _there(task.query.x, task.query.x["stats"][..., NAMES.index("centroid")])


def rule(task: Task, key: jax.Array) -> jax.Array:
    """The first sentences that say "we propose", "this paper" and the like; without any, the first ones."""
    cue = task.query.x["stats"][..., NAMES.index("rule")]
    there = cue > 0  # Statistics are centred, and most sentences have no cue.
    return lead(task, key) + jnp.where(there, 100.0, 0.0)


RULES: dict[str, Scorer] = {
    "lead": lead,
    "random": at_random,
    "TF-IDF centroid": central,
    "cue phrases": rule,
}
"""Those that read no labelled document."""


class Fits(NamedTuple):
    """Weights of the logit that is fitted to all training documents, and tuned strengths.

    pooled: Of documents in all styles, or with their summaries.
    scratch, tuned: The ridges of fits to the support alone, towards 0 and towards `pooled`.
    """

    pooled: jax.Array
    scratch: jax.Array
    tuned: jax.Array


def _by_support(centre: jax.Array, strength: jax.Array, task: Task, key: jax.Array) -> jax.Array:
    del key
    weights = fitted(task.support.x, task.support.y, strength, centre)
    return scores_of(weights, task.query.x)


def fits_of(every: Examples, val: Sample, key: jax.Array, sentences: int) -> Fits:
    """Fits the pooled logit to labelled documents, and tunes strengths on validation tasks.

    Args:
      every: Labelled training documents, without words.
      val: A source of tasks.
      key: A PRNG key.
      sentences: The number of sentences to choose.
    """
    zeros = jnp.zeros(len(NAMES))
    pooled = jax.jit(fitted)(every.x, every.y, 1.0, zeros)
    tasks = batch(light(val), key, VALIDATION)

    @jax.jit  # once for all strengths
    def share(tasks, centre, strength):
        found = jax.lax.map(lambda task: _by_support(centre, strength, task, key), tasks)
        return Found(sentences)(found, tasks.query.y).mean()

    def best(centre):
        return jnp.float32(max(STRENGTHS, key=lambda strength: share(tasks, centre, strength)))

    return Fits(pooled, best(zeros), best(pooled))


def documents_of(train: Sample, key: jax.Array) -> Examples:
    """The queries of `POOLED` tasks, one after another, without words."""
    every = batch(light(train), key, POOLED).query
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), every)


def fit_scorers(fits: Fits) -> dict[str, Scorer]:
    """The scorers of these fits: not adapted, from scratch, and adapted by ridge."""
    zeros = jnp.zeros_like(fits.pooled)
    return {
        NOT_ADAPTED: lambda task, key: scores_of(fits.pooled, task.query.x),
        SCRATCH: partial(_by_support, zeros, fits.scratch),
        ADAPTED: partial(_by_support, fits.pooled, fits.tuned),
    }


NOT_ADAPTED = "logit of all training documents"
SCRATCH = "logit of the support, from scratch"
ADAPTED = "the first, fitted on to the support"


def scores(scorer: Scorer, tasks: Task, key: jax.Array | None = None) -> jax.Array:
    """The scores of every task, `(tasks, queries, sentences)`."""
    keys = jax.random.split(jax.random.key(0) if key is None else key, len(tasks.query.y))
    return jax.jit(lambda tasks, keys: jax.lax.map(lambda one: scorer(*one), (tasks, keys)))(
        tasks, keys
    )


def shares(scorer: Scorer, tasks: Task, sentences: int) -> np.ndarray:
    """The share of chosen sentences that each task's scores find, `(tasks,)`."""
    found = Found(sentences)(scores(scorer, tasks), tasks.query.y)
    return np.asarray(found.mean(axis=-1))


def light(sample: Sample) -> Sample:
    """Tasks without words, which logits do not read."""

    def drawn(key):
        return Task(*map(without_words, sample(key)))

    return drawn


def without_words(examples: Examples) -> Examples:
    """Examples of statistics alone."""
    x = {name: leaf for name, leaf in examples.x.items() if name != "words"}
    return examples._replace(x=x)
