"""Tasks that never change: supports and queries of users, drawn once."""

from typing import NamedTuple

import numpy as np

from metajax.data.ratings import Ratings

LEAST_QUERY, MOST_QUERY, DRAWS = 3, 20, 3
"""The fewest and most queries of a frozen task, and the draws of each user."""


class Frozen(NamedTuple):
    """Tasks that never change: one row for each draw of a user.

    Supports are nested: that of `k` ratings is the first `k`. Where there is no rating, it is nan and
    its item is 0.
    """

    user: np.ndarray
    support_item: np.ndarray
    support_rating: np.ndarray
    query_item: np.ndarray
    query_rating: np.ndarray

    def users_with_queries(self, least: int = 2) -> np.ndarray:
        """Which tasks have enough queries to rank them."""
        return np.sum(~np.isnan(self.query_rating), axis=1) >= least


def histories(ratings: Ratings) -> list[np.ndarray]:
    """The rows of each user."""
    order = np.argsort(ratings.user, kind="stable")
    ends = np.cumsum(np.bincount(ratings.user, minlength=len(ratings.users)))
    return np.split(order, ends[:-1])


def frozen_of(
    ratings: Ratings,
    users: np.ndarray,
    seed: int,
    new: np.ndarray,
    pool: int,
    *,
    query_new: bool,
    support_new: bool = False,
    reserve: bool = False,
    by_time: bool = False,
) -> Frozen:
    """Returns tasks of these users, several draws of each.

    Args:
      ratings: All of them.
      users: Whose tasks.
      seed: Of the draws.
      new: `(items,)`, which items are new.
      pool: The number of support ratings.
      query_new, support_new: Whether queries and supports are ratings of new items, or of the others.
      reserve: Whether the ratings of new items that `support_new` would take are no queries either, so
        that supports of both kinds have the same queries.
      by_time: Whether ratings are taken in the order of their times, which is a single draw.
    """
    rng, rows = np.random.default_rng(seed), []
    of_user = histories(ratings)

    def ordered(own: np.ndarray) -> np.ndarray:
        if by_time and ratings.time is not None:
            return own[np.argsort(ratings.time[own], kind="stable")]
        return rng.permutation(own)

    for user in users:
        own = of_user[user]
        cold = new[ratings.item[own]]
        for _ in range(1 if by_time else DRAWS):
            parts = {False: ordered(own[~cold]), True: ordered(own[cold])}
            support = parts[support_new][:pool]
            kept = pool if reserve or support_new == query_new else 0
            query = parts[query_new][kept:]
            row = (*_padded(ratings, support, pool), *_padded(ratings, query, MOST_QUERY))
            rows.append((user, *row))
    return Frozen(*(np.array(column) for column in zip(*rows, strict=True)))


def _padded(ratings: Ratings, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows = rows[:length]
    item, rating = np.zeros(length, np.int32), np.full(length, np.nan, np.float32)
    item[: len(rows)], rating[: len(rows)] = ratings.item[rows], ratings.rating[rows]
    return item, rating
