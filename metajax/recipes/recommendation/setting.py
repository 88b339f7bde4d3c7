"""What a baseline may read, and how its settings are chosen."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from metajax.data.ratings import Ratings
from metajax.recipes.recommendation.fair import fair_prediction, support_residuals
from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.judge import Predict, absolute_error
from metajax.recipes.recommendation.split import Split
from metajax.recipes.recommendation.statistics import Statistics


class Setting(NamedTuple):
    """What a baseline may read: training ratings, their statistics, and validation tasks."""

    ratings: Ratings
    split: Split
    known: Statistics

    def training(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users, items, and what the biases leave of their ratings."""
        user, item, rating = (
            part[self.split.train]
            for part in (self.ratings.user, self.ratings.item, self.ratings.rating)
        )
        bias = self.known.mean + self.known.item_bias(item) + self.known.user_bias[user]
        return user, item, rating - bias

    def best(self, candidates: Iterable[Predict]) -> Predict:
        """The prediction of the lowest error on validation tasks."""
        scale, val, supports = self.ratings.scale, self.split.val, self.split.supports
        return min(
            candidates, key=lambda p: sum(absolute_error(scale, p(val, k), val) for k in supports)
        )

    def left(self, tasks: Frozen, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What the fair baseline leaves of support ratings, 0 where there is none, and its prediction."""
        residual = support_residuals(self.known, self.split, tasks)[:, :k]
        bias = np.nansum(residual, axis=1) / (k + self.known.shrinkage.user)
        return np.nan_to_num(residual - bias[:, None]), fair_prediction(
            self.known, self.split, tasks, k
        )
