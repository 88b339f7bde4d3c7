"""The fair baseline: biases of users and items, shrunk by strengths that are tuned on validation users."""

import itertools
from typing import Any

import numpy as np

from metajax.data.ratings import Ratings
from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.split import Split
from metajax.recipes.recommendation.statistics import Shrinkage, Statistics, statistics

_STRENGTHS = (1.0, 2.0, 3.0, 5.0, 8.0)
GRID: Any = Shrinkage(_STRENGTHS, _STRENGTHS, (1.0, 3.0, 6.0), (1.0, 5.0, 25.0), (0.0, 0.5, 1.0))  # type: ignore[arg-type]
"""The numbers that are tried."""


def own_parts(known: Statistics, split: Split, tasks: Frozen) -> tuple[np.ndarray, np.ndarray]:
    """What the support ratings of each task have added to item statistics: sums and counts.

    Zeros for users that have no training rating.
    """
    rating = tasks.support_rating
    trained = split.trained[tasks.user][:, None]
    owned = ~np.isnan(rating) & ~split.new[tasks.support_item] & trained
    own = rating - known.mean - known.user_bias[tasks.user][:, None]
    return np.where(owned, own, 0), owned.astype(np.float32)


def fair_prediction(known: Statistics, split: Split, tasks: Frozen, k: int) -> np.ndarray:
    """The fair baseline: mean + item bias with content prior + shrunk bias of the user, `(tasks, queries)`.

    Args:
      known: The statistics.
      split: Whose tasks these are.
      tasks: The tasks.
      k: The number of support ratings.
    """
    residual = support_residuals(known, split, tasks)[:, :k]
    bias = np.nansum(residual, axis=1) / (
        np.sum(~np.isnan(residual), axis=1) + known.shrinkage.user
    )
    return known.mean + known.item_bias(tasks.query_item) + bias[:, None]


def support_residuals(known: Statistics, split: Split, tasks: Frozen) -> np.ndarray:
    """Support ratings - mean - item bias, without what they added to it themselves."""
    own, owned = own_parts(known, split, tasks)
    return tasks.support_rating - known.mean - known.item_bias(tasks.support_item, own, owned)


def tuned(ratings: Ratings, split: Split, error) -> Statistics:
    """Statistics with the shrinkage of the lowest validation error of the fair baseline.

    All but the prior of new items is tuned on items of training, where validation users have most ratings.

    Args:
      ratings: All of them.
      split: With validation tasks.
      error: Predictions `(tasks, queries)` and tasks to a number.
    """

    def best(tasks: Frozen, candidates) -> Statistics:
        def of(known: Statistics) -> float:
            return sum(
                error(fair_prediction(known, split, tasks, k), tasks) for k in split.supports
            )

        return min((statistics(ratings, split.train, one) for one in candidates), key=of)

    three = itertools.product(GRID.item, GRID.user, GRID.content)
    found = best(split.tuning, (Shrinkage(*one) for one in three)).shrinkage
    priors = list(itertools.product(GRID.ridge, GRID.power))
    tried = (found._replace(ridge=ridge, power=power) for ridge, power in priors)
    found = best(split.tuning, tried).shrinkage
    tried = (found._replace(new_ridge=ridge, new_power=power) for ridge, power in priors)
    return best(split.tuning_new, tried)
