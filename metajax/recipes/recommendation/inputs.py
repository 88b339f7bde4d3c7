"""Ratings as tasks: what a learner reads of an item, and targets in standard deviations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.data.ratings import Ratings
from metajax.recipes.recommendation.fair import own_parts
from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.split import Split
from metajax.recipes.recommendation.statistics import Statistics
from metajax.tasks.ragged import ragged
from metajax.types import Examples, Sample, Task


class Table(NamedTuple):
    """What is known of items, in units of the deviation of ratings.

    total, number, prior, new_prior: As in `Statistics`.
    strength: Of the shrinkage to the prior.
    features: `(items, d)`.
    known: `(items,)`, 0 for items whose embedding was never trained.
    """

    total: jax.Array
    number: jax.Array
    prior: jax.Array
    new_prior: jax.Array
    strength: jax.Array
    features: jax.Array
    known: jax.Array


def table(ratings: Ratings, known: Statistics, *, identified: bool = True) -> Table:
    """Returns the table of all items; without identifiers for those of another data set."""
    total, prior, new_prior = (
        part / known.deviation for part in (known.total, known.prior, known.new_prior)
    )
    seen = known.number > 0 if identified else np.zeros(len(known.number), bool)
    rows = (total, known.number, prior, new_prior, known.shrinkage.content, ratings.features, seen)
    return Table(*(jnp.asarray(row, jnp.float32) for row in rows))


def described(items: Table, place: Any, total, count, named) -> dict[str, jax.Array]:
    """What a learner reads of items.

    Args:
      items: The table.
      place: Places of items, of any shape.
      total, count: Their sums and numbers of ratings, without those that must not be seen.
      named: Whether their identifiers are shown.

    Returns:
      "item", 0 for a new item and its place + 1 otherwise; "stats", the bias shrunk to its prior, the
      prior, the logarithm of the number of ratings, the share of the prior, and whether the item is new;
      and "features". An item whose only rating was left out is rare, not new: of new items most ratings
      are of popular ones, and a learner that cannot tell them apart is wrong about both.
    """
    old = named & (items.number[place] > 0)
    prior = jnp.where(old, items.prior[place], items.new_prior[place])
    shrunk = (total + items.strength * prior) / (count + items.strength)
    bias = jnp.where(old, shrunk, prior)
    share = jnp.where(old, items.strength / (count + items.strength), 1.0)
    stats = [bias, prior, jnp.log1p(count) / 3, share, 1.0 - old]
    return {
        "item": jnp.where(old & (items.known[place] > 0), place + 1, 0),
        "stats": jnp.stack(stats, axis=-1),
        "features": items.features[place],
    }


def training_tasks(
    ratings: Ratings,
    split: Split,
    known: Statistics,
    *,
    id_dropout: float,
    least: int = 4,
    query: int = 20,
) -> Sample:
    """Returns the source of training tasks: one user, leave-one-out statistics.

    There are up to as many support ratings as test tasks have.

    Args:
      ratings: All of them.
      split: Which are for training.
      known: Their statistics.
      id_dropout: The probability that a row shows neither identifier nor statistics, as for new items.
      least: Users with fewer ratings give no task.
      query: The most queries.
    """
    rows = np.flatnonzero(split.train)
    rows = rows[np.argsort(ratings.user[rows], kind="stable")]
    number = np.bincount(ratings.user[rows], minlength=len(ratings.users))
    rows = rows[number[ratings.user[rows]] >= least]
    user, item = ratings.user[rows], ratings.item[rows]
    apart = ratings.rating[rows] - known.mean
    own = (apart - known.user_bias[user]) / known.deviation
    examples = Examples(
        {"item": item, "own": own.astype(np.float32)},
        (apart / known.deviation).astype(np.float32)[:, None],
    )
    shown = jax.tree_util.Partial(_as_new, table(ratings, known), jnp.float32(id_dropout))
    counts = number[number >= least]
    if not len(counts):
        raise ValueError(
            f"ratings: min_ratings={least} leaves no user to train on; the most training ratings of one are "
            f"{number.max(initial=0)}. Lower it."
        )
    return ragged(examples, counts, support=(1, max(split.supports)), query=query, transform=shown)


def _as_new(items: Table, dropout, key, support: Examples, query: Examples):
    """A task whose ratings are left out of the statistics, some of them as if of new items."""

    def part(examples: Examples, key: jax.Array) -> Examples:
        place = examples.x["item"]
        hidden = jax.random.uniform(key, place.shape) < dropout
        total = jnp.where(hidden, 0, items.total[place] - examples.x["own"])
        count = jnp.where(hidden, 0, items.number[place] - 1)
        return examples._replace(x=described(items, place, total, count, ~hidden))

    support_key, query_key = jax.random.split(key)
    return part(support, support_key), part(query, query_key)


def frozen_tasks(items: Table, known: Statistics, split: Split, tasks: Frozen, k: int) -> Task:
    """Returns frozen tasks with the first `k` support ratings as a batch, `(tasks, ...)`."""
    own, owned = own_parts(known, split, tasks)

    def part(place, rating, own: Any = 0.0, owned: Any = 0.0, most: int | None = None) -> Examples:
        total = items.total[place] - own / known.deviation
        x = described(items, place, total, items.number[place] - owned, jnp.ones(place.shape, bool))
        exists = ~np.isnan(rating) & (np.arange(place.shape[1]) < (most or place.shape[1]))[None]
        y = (np.nan_to_num(rating) - known.mean) / known.deviation
        return Examples(x, jnp.asarray(y, jnp.float32)[..., None], jnp.asarray(exists))

    support = part(tasks.support_item, tasks.support_rating, own, owned, most=k)
    return Task(support, part(tasks.query_item, tasks.query_rating))


def every_support(items: Table, known: Statistics, split: Split, tasks: Frozen) -> Task:
    """Returns frozen tasks with each of the numbers of support ratings, after one another."""
    parts = [frozen_tasks(items, known, split, tasks, k) for k in split.supports]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def drawn_from(tasks: Task) -> Sample:
    """Returns a source that draws one of a batch of tasks."""
    return jax.tree_util.Partial(_drawn, tasks)


def _drawn(tasks: Task, key: jax.Array) -> Task:
    place = jax.random.randint(key, (), 0, len(tasks.query.y))
    return jax.tree.map(lambda leaf: leaf[place], tasks)
