"""Styles: hidden preferences over sentences, drawn anew for every task."""

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.recipes.language.documents import Table
from metajax.recipes.language.sentence_features import NAMES
from metajax.tasks.episodes import draw
from metajax.types import Examples, Sample, Task

AXES = (
    *("position", "first", "length", "title", "centroid", "digits"),
    *("contribution", "result", "problem", "method"),
)
"""The statistics that a style may prefer."""
SHARPNESS, ACTIVE, POSITIVE, PARTICLES = 4.0, 3, 0.75, 4_096
_COLUMNS = tuple(NAMES.index(name) for name in AXES)


def style(key: jax.Array) -> jax.Array:
    """Draws the weights of a style, `(len(AXES),)`: one to three of them, of norm `SHARPNESS`.

    Three quarters of the weights are positive, so that there is something to know before any document.

    Example:
      >>> weights = style(jax.random.key(0))
      >>> round(float(jnp.linalg.norm(weights)), 3), int((weights != 0).sum()) in (1, 2, 3)
      (4.0, True)
    """
    number_key, order_key, size_key, sign_key = jax.random.split(key, 4)
    number = jax.random.randint(number_key, (), 1, ACTIVE + 1)
    rank = jax.random.permutation(order_key, len(AXES))
    size = jnp.abs(jax.random.normal(size_key, (len(AXES),))) + 0.1
    sign = jnp.where(jax.random.uniform(sign_key, (len(AXES),)) < POSITIVE, 1.0, -1.0)
    weights = jnp.where(rank < number, sign * size, 0.0)
    return SHARPNESS * weights / jnp.linalg.norm(weights)


def utilities(weights: jax.Array, x: dict[str, jax.Array]) -> jax.Array:
    """How much a style prefers each sentence, `(n, sentences)`; -1e9 for sentences that do not exist."""
    return jnp.where(x["exists"], x["stats"][..., jnp.array(_COLUMNS)] @ weights, -1e9)


class Drawn(NamedTuple):
    """A task, and the weights of its style."""

    task: Task
    weights: jax.Array


@dataclass(frozen=True)
class Styles:
    """The settings of a source of styles, called with its documents and a key."""

    shot: int
    query: int
    sentences: int
    summaries: float

    def __call__(self, documents: Table, key: jax.Array) -> Task:
        """Draws a task."""
        return self.drawn(documents, key).task

    def drawn(self, documents: Table, key: jax.Array) -> Drawn:
        """Draws a task and its style; tasks of summaries have a style that is not used."""
        place_key, style_key, choice_key, kind_key = jax.random.split(key, 4)
        place = draw(place_key, len(documents.exists), self.shot + self.query)
        x, weights = documents.inputs(place), style(style_key)
        preferred = utilities(weights, x) + jax.random.gumbel(choice_key, x["exists"].shape)
        _, best = jax.lax.top_k(preferred, self.sentences)
        chosen = jax.nn.one_hot(best, preferred.shape[-1]).sum(axis=-2) / self.sentences
        written = jax.random.uniform(kind_key) < self.summaries
        y = jnp.where(written, documents.labels[place], chosen)
        support, query = slice(0, self.shot), slice(self.shot, None)
        parts = (Examples({k: v[part] for k, v in x.items()}, y[part]) for part in (support, query))
        return Drawn(Task(*parts), weights)


def styles(
    documents: Table, *, shot: int, query: int, sentences: int, summaries: float = 0.0
) -> Sample:
    """Returns the source of tasks whose labels follow a style.

    A style `w` chooses the sentences of highest `w . stats + noise`, with Gumbel noise, so that one
    sentence is chosen with probability `softmax(w . stats)`.

    Args:
      documents: With more sentences than are chosen.
      shot, query: The numbers of documents of a task.
      sentences: The number of sentences to choose.
      summaries: The share of tasks whose labels are those of the written summaries instead.

    Returns:
      `sample(key) -> Task` with `x` as `Table.inputs` and `y` `(n, sentences of a document)`, which sums
      to 1.
    """
    settings = Styles(shot, query, sentences, summaries)
    return jax.tree_util.Partial(settings, documents)


def log_likelihood(utility: jax.Array, y: jax.Array, sentences: int) -> jax.Array:
    """The log probability of a set of chosen sentences, `(n,)`, over all orders of choosing them."""
    _, chosen = jax.lax.top_k(y, sentences)

    def of_order(order):
        total, left = 0.0, utility
        for i in order:
            one = jax.nn.one_hot(chosen[:, i], utility.shape[-1])
            total += jnp.sum(one * jax.nn.log_softmax(left), axis=-1)
            left = jnp.where(one > 0, -1e9, left)
        return total

    orders = [of_order(order) for order in permutations(range(sentences))]
    return jax.nn.logsumexp(jnp.stack(orders), axis=0)


def inclusion(utility: jax.Array, sentences: int) -> jax.Array:
    """The probability that each sentence is among those chosen one after the other, `(n, sentences of it)`.

    Example:
      >>> inclusion(jnp.zeros((1, 4)), 2).tolist()
      [[0.5, 0.5, 0.5, 0.5]]
    """
    first = jax.nn.softmax(utility)
    if sentences == 1:
        return first
    number = utility.shape[-1]
    left = jnp.where(jnp.eye(number, dtype=bool), -1e9, utility[..., None, :])
    return first + jnp.einsum(
        "nj,nji->ni", first, jax.vmap(lambda rows: inclusion(rows, sentences - 1))(left)
    )


def ideal_observer(task: Task, key: jax.Array, sentences: int) -> jax.Array:
    """Bayes' prediction, which knows how styles are drawn and reads the support: `(queries, sentences)`.

    The probability that each sentence is chosen, by importance sampling with `PARTICLES` styles.
    """
    drawn = jax.vmap(style)(jax.random.split(key, PARTICLES))

    def evidence(weights):
        return log_likelihood(utilities(weights, task.support.x), task.support.y, sentences).sum()

    weight = jax.nn.softmax(jax.lax.map(evidence, drawn, batch_size=512))

    def add(total, one):
        weights, share = one
        return total + share * inclusion(utilities(weights, task.query.x), sentences), None

    total, _ = jax.lax.scan(add, jnp.zeros(task.query.y.shape), (drawn, weight))
    return jnp.where(task.query.x["exists"], total, -1e9)
