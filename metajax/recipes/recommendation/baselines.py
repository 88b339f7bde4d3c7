"""What a learner must beat, each tuned on validation users: averages, biases, factors, neighbours."""

from collections.abc import Callable
from functools import partial

import numpy as np

from metajax.recipes.recommendation.factors import factorisation, genres, neighbours
from metajax.recipes.recommendation.fair import fair_prediction
from metajax.recipes.recommendation.frozen import Frozen
from metajax.recipes.recommendation.judge import Predict
from metajax.recipes.recommendation.setting import Setting


def _constant(s: Setting) -> Predict:
    return lambda tasks, k: np.full(tasks.query_item.shape, s.known.mean)


def _raw_items(s: Setting) -> np.ndarray:
    item = s.ratings.item[s.split.train]
    apart = s.ratings.rating[s.split.train] - s.known.mean
    number = np.bincount(item, minlength=len(s.ratings.items))
    return np.bincount(item, apart, minlength=len(number)) / np.maximum(number, 1)


def _item_mean(s: Setting) -> Predict:
    raw = _raw_items(s)
    return lambda tasks, k: s.known.mean + raw[tasks.query_item]


def _item_content(s: Setting) -> Predict:
    return lambda tasks, k: s.known.mean + s.known.item_bias(tasks.query_item)


def _user_mean(s: Setting, tasks: Frozen, k: int, strength: float = 0.0) -> np.ndarray:
    given = tasks.support_rating[:, :k] - s.known.mean
    mean = np.nansum(given, axis=1) / (np.sum(~np.isnan(given), axis=1) + strength)
    return s.known.mean + np.broadcast_to(mean[:, None], tasks.query_item.shape)


def _user_shrunk(s: Setting) -> Predict:
    return s.best(partial(_user_mean, s, strength=b) for b in (1.0, 2.0, 3.0, 5.0, 8.0))


def _user_and_item(s: Setting) -> Predict:
    raw = _raw_items(s)
    return lambda tasks, k: _user_mean(s, tasks, k) + raw[tasks.query_item]


def _bias_shrunk(s: Setting) -> Predict:
    plain = s.known.plain_bias()

    def predict(tasks, k):
        given = tasks.support_rating[:, :k] - s.known.mean - plain[tasks.support_item[:, :k]]
        bias = np.nansum(given, axis=1) / (k + s.known.shrinkage.user)
        return s.known.mean + plain[tasks.query_item] + bias[:, None]

    return predict


def _fair(s: Setting) -> Predict:
    return partial(fair_prediction, s.known, s.split)


def _median(s: Setting) -> Predict:
    """The fair baseline and a constant, which absolute errors ask for where ratings are skewed."""
    fair = _fair(s)
    shifts = np.arange(-0.2, 0.61, 0.05)
    return s.best((lambda t, k, c=c: fair(t, k) + c for c in shifts))


def _curve(s: Setting) -> Predict:
    """A cubic of the fair prediction, fitted to validation users, which bends it near the ends of the scale."""
    fair, val = _fair(s), s.split.val
    rated = ~np.isnan(val.query_rating)
    weight = np.broadcast_to(1 / np.sqrt(rated.sum(axis=1, keepdims=True) + 1e-9), rated.shape)[
        rated
    ]
    cubics = {
        k: np.polyfit(fair(val, k)[rated] - s.known.mean, val.query_rating[rated], 3, w=weight)
        for k in s.split.supports
    }
    return lambda tasks, k: np.polyval(cubics[k], fair(tasks, k) - s.known.mean)


FAIR = "bias + content"
BASELINES: dict[str, Callable[[Setting], Predict]] = {
    "global mean": _constant,
    "item mean": _item_mean,
    "item bias + content": _item_content,
    "user mean": lambda s: partial(_user_mean, s),
    "user mean, shrunk": _user_shrunk,
    "user + item mean": _user_and_item,
    "bias": _bias_shrunk,
    FAIR: _fair,
    "... + constant": _median,
    "... + curve": _curve,
    "... + genres": genres,
    "... + factors": factorisation,
    "... + neighbours": neighbours,
}
"""Each a function of training ratings and validation tasks to a prediction.

Means are raw; biases are shrunk. The global mean ranks as a random order. Those that begin with dots add to
`FAIR`, the fair baseline.
"""
