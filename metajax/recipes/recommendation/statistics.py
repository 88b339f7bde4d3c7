"""Biases of users and items, shrunk towards 0 or towards what their content predicts."""

from typing import Any, NamedTuple

import numpy as np

from metajax.data.ratings import Ratings

ROUNDS = 8


class Shrinkage(NamedTuple):
    """What is tuned on validation users.

    item, user, content: Numbers of imaginary ratings: of the biases of items and users, and of the
      content prior.
    ridge, power: Of the regression of item biases on features, in which items of `n` ratings weigh
      `n / (n + item) * n**power`: alike for a power of 0, by ratings for 1. Its predictions are the prior
      of rare items.
    new_ridge, new_power: The same for new items, most of whose ratings are of popular ones.
    """

    item: float
    user: float
    content: float
    ridge: float = 25.0
    power: float = 0.0
    new_ridge: float = 25.0
    new_power: float = 1.0


class Statistics(NamedTuple):
    """What is known of items and training users, all from training ratings.

    mean, deviation: Of the ratings.
    user_bias: `(users,)`, shrunk; 0 for users of no training rating.
    total: `(items,)`, the sum of rating - mean - user bias.
    number: `(items,)`, of ratings.
    prior, new_prior: `(items,)`, the bias that the features of an item predict if it is rare or new.
    shrinkage: The strengths.
    """

    mean: float
    deviation: float
    user_bias: np.ndarray
    total: np.ndarray
    number: np.ndarray
    prior: np.ndarray
    new_prior: np.ndarray
    shrinkage: Shrinkage

    def item_bias(self, item: Any, own: Any = 0.0, owned: Any = 0.0) -> np.ndarray:
        """Biases of items, shrunk to their prior; `own` is left out of the sum.

        Args:
          item: Places of items, of any shape.
          own: What a user's own ratings add to the sums, of the same shape.
          owned: The number of own ratings among them, 0 or 1.
        """
        strength = self.shrinkage.content
        total = self.total[item] - own + strength * self.prior[item]
        found = total / (self.number[item] - owned + strength)
        return np.where(self.number[item] > 0, found, self.new_prior[item])

    def plain_bias(self) -> np.ndarray:
        """Biases of items, shrunk to 0."""
        return self.total / (self.number + self.shrinkage.item)


def statistics(ratings: Ratings, train: np.ndarray, shrinkage: Shrinkage) -> Statistics:
    """Returns the statistics of training ratings, by alternating between users and items.

    Args:
      ratings: All of them.
      train: `(n,)`, which are for training.
      shrinkage: The strengths.
    """
    user, item, rating = (part[train] for part in (ratings.user, ratings.item, ratings.rating))
    users, items = len(ratings.users), len(ratings.items)
    mean = float(rating.mean())
    in_user, in_item = np.bincount(user, minlength=users), np.bincount(item, minlength=items)
    user_bias = np.zeros(users)
    for _ in range(ROUNDS):
        total = np.bincount(item, rating - mean - user_bias[user], minlength=items)
        item_bias = total / (in_item + shrinkage.item)
        user_bias = np.bincount(user, rating - mean - item_bias[item], minlength=users)
        user_bias /= in_user + shrinkage.user
    total = np.bincount(item, rating - mean - user_bias[user], minlength=items)
    of = shrinkage
    prior = _content_prior(ratings.features, total, in_item, of.item, of.ridge, of.power)
    new_prior = _content_prior(
        ratings.features, total, in_item, of.item, of.new_ridge, of.new_power
    )
    deviation = float(rating.std())
    return Statistics(mean, deviation, user_bias, total, in_item, prior, new_prior, shrinkage)


def _content_prior(features, total, count, strength, ridge, power) -> np.ndarray:
    """The bias that features predict, by ridge regression."""
    design = np.concatenate([np.ones((len(count), 1)), features], axis=1).astype(float)
    weight = (count / (count + strength) * np.maximum(count, 1) ** power)[:, None]
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-9  # the mean is not shrunk
    gram = (design * weight).T @ design + np.diag(penalty)
    mean = total / np.maximum(count, 1)
    return design @ np.linalg.solve(gram, (design * weight).T @ mean)
