"""Disjoint users for training, validation and test, items that are new, and frozen tasks."""

from typing import NamedTuple

import numpy as np

from metajax.data.ratings import Ratings

POOL, LEAST_QUERY, MOST_QUERY, DRAWS = 10, 3, 20, 3
"""Support ratings of a frozen task, its fewest and most queries, and the draws of each user."""
VALIDATION, TEST, NEW_ITEMS = 0.1, 0.2, 0.2
"""Shares of the users with enough ratings, and of the items."""


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


class Split(NamedTuple):
    """Which ratings are for training, and frozen tasks.

    train: `(n,)`, which ratings.
    new: `(items,)`, which items have no training rating by construction.
    val, test: Tasks of the scenario.
    tuning: Tasks of the validation users on items of training.
    own: Whether the users of the tasks are training users, whose ratings are in the item statistics.
    """

    train: np.ndarray
    new: np.ndarray
    val: Frozen
    test: Frozen
    tuning: Frozen
    own: bool


class _Histories:
    """The ratings of each user."""

    def __init__(self, ratings: Ratings):
        self.ratings = ratings
        self.order = np.argsort(ratings.user, kind="stable")
        bounds = np.arange(len(ratings.users) + 1)
        self.starts = np.searchsorted(ratings.user[self.order], bounds)

    def of(self, user: int) -> np.ndarray:
        return self.order[self.starts[user] : self.starts[user + 1]]


def split(
    ratings: Ratings,
    scenario: str,
    *,
    seed: int = 0,
    target: np.ndarray | None = None,
    support_from: str = "source",
    by_time: bool = False,
    draw: int = 0,
) -> Split:
    """Splits ratings so that no test user, and no new item, has a training rating.

    Args:
      ratings: All of them.
      scenario: "new_users" asks new users for items of training, "both" for new items; "new_items" asks
        users of training for new items. "cross" is "both" with the items of `target`.
      seed: Of the users, the items and the draws.
      target: `(items,)`, the items of the target domain of "cross".
      support_from: Where "cross" takes supports from: "source" or "target".
      by_time: Whether the support ratings of a user are the earliest, instead of random ones.
      draw: Of test tasks, others for each number.

    Raises:
      ValueError: If fewer than two users have enough ratings.
    """
    rng = np.random.default_rng(seed)
    number = len(ratings.items)
    if target is None:
        new = np.zeros(number, bool)
        new[rng.permutation(number)[: int(NEW_ITEMS * number)]] = True
    else:
        new = target
    cold, histories = new[ratings.item], _Histories(ratings)
    warm = np.bincount(ratings.user[~cold], minlength=len(ratings.users))
    enough = warm >= POOL + LEAST_QUERY
    if target is not None:
        asked = np.bincount(ratings.user[cold], minlength=len(ratings.users))
        enough &= asked >= (POOL if support_from == "target" else 0) + LEAST_QUERY
    chosen = np.flatnonzero(enough)
    rng.shuffle(chosen)
    num_test, num_val = int(TEST * len(chosen)), int(VALIDATION * len(chosen))
    if min(num_test, num_val) < 2:
        raise ValueError(
            f"ratings: {len(chosen)} users of {ratings.name} have the {POOL + LEAST_QUERY} ratings that a "
            f"task needs; there must be 20 or more. Take another data set or scenario."
        )
    test, val = chosen[:num_test], chosen[num_test : num_test + num_val]
    apart = np.zeros(len(ratings.users), bool)
    apart[test] = apart[val] = True
    train = ~apart[ratings.user] & ~cold
    if scenario == "new_items":
        known = np.flatnonzero(~apart & enough)
        known = rng.permutation(known)
        test, val = known[:num_test], known[num_test : num_test + num_val]

    def frozen(users: np.ndarray, seed: int, scenario: str = scenario) -> Frozen:
        return _frozen(histories, users, seed, cold, scenario, support_from, by_time)

    return Split(
        train,
        new,
        frozen(val, seed + 100),
        frozen(test, seed + 200 + 1_000 * draw),
        frozen(val, seed + 100, "new_users"),
        scenario == "new_items",
    )


def _frozen(histories: _Histories, users, seed, cold, scenario, support_from, by_time) -> Frozen:
    rng, ratings = np.random.default_rng(seed), histories.ratings
    rows: list[tuple] = []
    for user in users:
        own = histories.of(user)
        seen, new = own[~cold[own]], own[cold[own]]
        for _ in range(1 if by_time else DRAWS):
            old = (
                seen[np.argsort(ratings.time[seen], kind="stable")]
                if by_time
                else rng.permutation(seen)
            )
            others = (
                new[np.argsort(ratings.time[new], kind="stable")]
                if by_time
                else rng.permutation(new)
            )
            if scenario == "new_users":
                support, query = old[:POOL], old[POOL:]
            elif scenario == "cross":
                support = (others if support_from == "target" else old)[:POOL]
                query = others[POOL:] if support_from == "target" else others
            else:
                support, query = old[:POOL], others
            rows.append(
                (user, *_padded(ratings, support, POOL), *_padded(ratings, query, MOST_QUERY))
            )
    return Frozen(*(np.array(column) for column in zip(*rows, strict=True)))


def _padded(ratings: Ratings, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    rows = rows[:length]
    item, rating = np.zeros(length, np.int32), np.full(length, np.nan, np.float32)
    item[: len(rows)], rating[: len(rows)] = ratings.item[rows], ratings.rating[rows]
    return item, rating
