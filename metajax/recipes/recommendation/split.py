"""Disjoint users for training, validation and test, items that are new, and frozen tasks."""

from typing import NamedTuple

import numpy as np

from metajax.data.ratings import Ratings
from metajax.recipes.recommendation.frozen import LEAST_QUERY, Frozen, frozen_of

VALIDATION, TEST, NEW_ITEMS = 0.1, 0.2, 0.2
"""Shares of the users with enough ratings, and of the items."""
CROSS = 0.25, 0.5
"""Shares for validation and test across domains, where few users have enough ratings."""


class Split(NamedTuple):
    """Which ratings are for training, and frozen tasks.

    train: `(n,)`, which ratings.
    new: `(items,)`, which items have no training rating by construction.
    val, test: Tasks of the scenario.
    tuning, tuning_new: Tasks of validation users on items of training and on new ones.
    supports: The numbers of support ratings.
    trained: `(users,)`, whose ratings of items of training are in the item statistics.
    """

    train: np.ndarray
    new: np.ndarray
    val: Frozen
    test: Frozen
    tuning: Frozen
    tuning_new: Frozen
    supports: tuple[int, ...]
    trained: np.ndarray


def split(
    ratings: Ratings,
    scenario: str,
    *,
    seed: int = 0,
    supports: tuple[int, ...] = (1, 3, 5, 10),
    target: np.ndarray | None = None,
    support_from: str = "source",
    by_time: bool = False,
    draw: int = 0,
) -> Split:
    """Splits ratings so that no test user, and no new item, has a training rating.

    Args:
      ratings: All of them.
      scenario: "new_users" asks new users for items of training, "both" for new items; "new_items" asks
        users of training for new items. "cross" is "both" with the items of `target`, and the ratings
        of these that could be supports are no queries.
      seed: Of the users, the items and the draws.
      supports: The numbers of support ratings; users need the most of them, and three queries.
      target: `(items,)`, the items of the target domain of "cross".
      support_from: Where "cross" takes supports from: "source" or "target".
      by_time: Whether the support ratings of a user are the earliest, instead of random ones.
      draw: Of test tasks, others for each number.

    Raises:
      ValueError: If fewer than two users have enough ratings.
    """
    rng = np.random.default_rng(seed)
    new = _new_items(rng, len(ratings.items)) if target is None else target
    enough = _with_enough(ratings, new, max(supports) + LEAST_QUERY, both=target is not None)
    test, val = _drawn(rng, enough, *((VALIDATION, TEST) if target is None else CROSS))
    if min(len(test), len(val)) < 2:
        domains = "" if target is None else ", in the source and in the target domain"
        raise ValueError(
            f"ratings: {enough.sum()} users of {ratings.name} have the {max(supports) + LEAST_QUERY} ratings "
            f"that a task needs{domains}; there must be 20 or more. Take smaller supports={supports}, another "
            "data set or scenario."
        )
    trained = np.ones(len(ratings.users), bool)
    trained[test] = trained[val] = False
    tuners, size = val, (len(test), len(val))
    if scenario == "new_items":
        known = rng.permutation(np.flatnonzero(trained & enough))
        test, val = known[: size[0]], known[size[0] : sum(size)]
    how = {
        "query_new": scenario != "new_users",
        "reserve": scenario == "cross",
        "support_new": scenario == "cross" and support_from == "target",
    }

    def frozen(users: np.ndarray, seed: int, **how: bool) -> Frozen:
        return frozen_of(ratings, users, seed, new, max(supports), by_time=by_time, **how)

    return Split(
        trained[ratings.user] & ~new[ratings.item],
        new,
        frozen(val, seed + 100, **how),
        frozen(test, seed + 200 + 1_000 * draw, **how),
        frozen(tuners, seed + 100, query_new=False),
        frozen(tuners, seed + 100, query_new=True),
        supports,
        trained,
    )


def _new_items(rng: np.random.Generator, number: int) -> np.ndarray:
    new = np.zeros(number, bool)
    new[rng.permutation(number)[: int(NEW_ITEMS * number)]] = True
    return new


def _with_enough(ratings: Ratings, new: np.ndarray, needed: int, *, both: bool) -> np.ndarray:
    """Which users have enough ratings of items of training and, where asked, of new ones."""
    cold, users = new[ratings.item], len(ratings.users)
    enough = np.bincount(ratings.user[~cold], minlength=users) >= needed
    if both:
        enough &= np.bincount(ratings.user[cold], minlength=users) >= needed
    return enough


def _drawn(
    rng: np.random.Generator, enough: np.ndarray, of_val: float, of_test: float
) -> tuple[np.ndarray, np.ndarray]:
    """Users for test and validation."""
    chosen = np.flatnonzero(enough)
    rng.shuffle(chosen)
    num_test, num_val = int(of_test * len(chosen)), int(of_val * len(chosen))
    return chosen[:num_test], chosen[num_test : num_test + num_val]
