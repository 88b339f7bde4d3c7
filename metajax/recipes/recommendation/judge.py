"""Errors and rankings of frozen tasks, user by user."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from metajax.evaluation import Score, score
from metajax.metrics.ranking import ndcg
from metajax.recipes.recommendation.frozen import Frozen

PLACES = 5

Predict = Callable[[Frozen, int], np.ndarray]
"""Tasks and a number of support ratings to predicted ratings, `(tasks, queries)`."""


class Judged(NamedTuple):
    """The mean of each user over draws and queries, `(users,)`, by number of support ratings."""

    users: np.ndarray
    absolute: dict[int, np.ndarray]
    squared: dict[int, np.ndarray]
    ranking: dict[int, np.ndarray]

    def mae(self, k: int) -> Score:
        """The mean absolute error, over users."""
        return score(self.absolute[k])

    def rmse(self, k: int) -> tuple[float, float]:
        """The root of the mean squared error over users, and its interval."""
        found = score(self.squared[k])
        root = float(found.mean) ** 0.5
        return root, float(found.interval) / (2 * root)

    def ndcg(self, k: int) -> Score:
        """nDCG@5 over rated queries."""
        return score(self.ranking[k])


def absolute_error(scale: tuple[float, float], predicted: np.ndarray, tasks: Frozen) -> float:
    """The mean absolute error over tasks of at least two queries, of predictions cut to the scale."""
    ok = tasks.users_with_queries()
    if not ok.any():
        return 0.0
    error = np.abs(np.clip(predicted, *scale) - tasks.query_rating)[ok]
    return float(np.nanmean(error, axis=1).mean())


def judge(
    scale: tuple[float, float],
    predict: Predict,
    tasks: Frozen,
    supports: tuple[int, ...] = (1, 3, 5, 10),
) -> Judged:
    """Judges predictions of each number of support ratings.

    The draws of a user are averaged first, because they are not independent.

    Args:
      scale: The lowest and the highest rating; predictions are cut to it.
      predict: What is judged.
      tasks: Users with fewer than two queries are left out.
      supports: The numbers of support ratings.
    """
    ok = tasks.users_with_queries()
    rated = ~np.isnan(tasks.query_rating[ok])
    targets = np.where(rated, tasks.query_rating[ok], 0)
    users, place = np.unique(tasks.user[ok], return_inverse=True)
    draws = np.bincount(place)

    def by_user(values):
        return np.bincount(place, values, minlength=len(users)) / draws

    found = Judged(users, {}, {}, {})
    for k in supports:
        predicted = np.clip(predict(tasks, k), *scale)[ok]
        error = np.where(rated, predicted - targets, 0)
        number = rated.sum(axis=1)
        found.absolute[k] = by_user(np.abs(error).sum(axis=1) / number)
        found.squared[k] = by_user((error**2).sum(axis=1) / number)
        # Ratings below zero have no gain; the lowest rating has gain 0.
        gains = np.where(rated, targets - min(0.0, scale[0]), 0)
        found.ranking[k] = by_user(_rankings(predicted, gains, rated))
    return found


@jax.jit
def _ranked(predicted, gains, rated):
    metric = ndcg(PLACES)
    return jax.vmap(lambda p, g, r: metric.average(metric(p, g), r))(predicted, gains, rated)


def _rankings(predicted, gains, rated) -> np.ndarray:
    return np.asarray(_ranked(predicted.astype(np.float32), gains.astype(np.float32), rated))
