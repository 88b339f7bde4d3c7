"""Recommendations for a new user, from a few ratings."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.recipes.recommendation import inputs
from metajax.recipes.recommendation.own import place_of, rating_of
from metajax.recipes.recommendation.prepared import Prepared
from metajax.types import Examples, Learner, Params

_AT_ONCE = 10
"""Supports are padded to multiples of so many ratings, and each size is compiled once."""


class Recommendation(NamedTuple):
    """What a user may like.

    adapted: The learner adapted to the user, as `run.learner.predict` takes it.
    items, titles: Of the items of the highest predicted ratings, the best first.
    ratings: Their predicted ratings.
    numbers: How many ratings of each of these items are for training; few make a prediction uncertain.
    rated: The titles of the items that the user has rated, which are left out.
    seconds: The time to adapt and to rank all items, without compiling.
    """

    adapted: Any
    items: tuple[str, ...]
    titles: tuple[str, ...]
    ratings: np.ndarray
    numbers: np.ndarray
    rated: tuple[str, ...]
    seconds: float


def recommend(
    run: Any, ratings: Mapping[str, Any], *, top: int = 10, least: int = 0
) -> Recommendation:
    """Adapts a run of `metajax train ratings` to a new user, and ranks the items not yet rated.

    Args:
      run: As `mj.restore` returns it.
      ratings: Titles or identifiers of items to ratings; without any, the list is that of all users.
      top: The number of items.
      least: Items with fewer training ratings are left out; by default none is, however little is known of it.

    Returns:
      A `Recommendation`.

    Raises:
      ValueError: For another run, an unknown item, naming the nearest, an ambiguous title, a rating outside
        of the scale, or if no item has `least` ratings.

    Reference:
      Lee et al., KDD 2019, section 3 (MeLU), for adapting a model to each user. https://arxiv.org/abs/1908.00413
    """
    top = checks.count("recommend", "top", top)
    least = checks.count("recommend", "least", least, least=0)
    p = getattr(run.experiment, "prepared", None)
    if run.learner is None or not isinstance(p, Prepared):
        raise ValueError(
            "recommend: the run was not made by `metajax train ratings`. Give such a run."
        )
    places = {
        place_of(p.ratings, name): rating_of(p.ratings, name, r) for name, r in ratings.items()
    }
    if len(places) < len(ratings):
        raise ValueError(
            "recommend: ratings hold one item twice, by title and identifier. Keep one."
        )
    items = inputs.table(p.ratings, p.known)
    ranked = partial(rank_all, p, run.learner, run.meta_params, places, items)
    jax.block_until_ready(ranked())  # compiles
    begun = time.perf_counter()
    adapted, predicted = jax.block_until_ready(ranked())
    seconds = time.perf_counter() - begun
    found = np.clip(p.known.mean + p.known.deviation * np.asarray(predicted), *p.ratings.scale)
    order = np.argsort(-np.asarray(predicted), kind="stable")
    number = np.asarray(p.known.number)
    if number.max() < least:
        raise ValueError(
            f"recommend: least={least} is more than any item has: {number.max():.0f} training ratings. Take "
            "fewer."
        )
    best = [int(i) for i in order if int(i) not in places and number[i] >= least][:top]
    return Recommendation(
        adapted,
        tuple(p.ratings.items[i] for i in best),
        tuple(p.ratings.titles[i] for i in best),
        found[best],
        number[best],
        tuple(p.ratings.titles[i] for i in places),
        seconds,
    )


def rank_all(
    p: Prepared,
    learner: Learner,
    meta_params: Params,
    places: Mapping[int, float],
    items: inputs.Table,
) -> tuple[Any, jax.Array]:
    """Returns the learner adapted to ratings by place of their item, and predictions of all items.

    Predictions are in deviations from the mean rating.
    """
    return _ranked(learner, meta_params, _support(p, places, items), items)


@partial(jax.jit, static_argnums=0)
def _ranked(learner: Learner, meta_params, support: Examples, items: inputs.Table):
    """The adapted learner, and its predictions of all items."""
    place = jnp.arange(len(items.number))
    x = inputs.described(items, place, items.total, items.number, jnp.ones(place.shape, bool))
    adapted = learner.adapt(meta_params, support, jax.random.key(0))
    return adapted, learner.predict(adapted, x)[:, 0]


def _support(p: Prepared, places: Mapping[int, float], items: inputs.Table) -> Examples:
    length = max(1, -(-len(places) // _AT_ONCE)) * _AT_ONCE
    place, y = np.zeros(length, int), np.zeros((length, 1), np.float32)
    place[: len(places)] = list(places)
    y[: len(places), 0] = (np.array(list(places.values())) - p.known.mean) / p.known.deviation
    x = inputs.described(
        items, place, items.total[place], items.number[place], jnp.ones(length, bool)
    )
    return Examples(x, jnp.asarray(y), jnp.arange(length) < len(places))
