"""How well predictions rank the queries of a task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metajax import checks


def _itself(targets: jax.Array) -> jax.Array:
    return targets


def ndcg(k: int, *, gain: Callable[[jax.Array], jax.Array] = _itself) -> Any:
    """A metric for `evaluate`: the normalised discounted cumulative gain of the first `k` queries.

    Queries are ranked by prediction; place `p = 1, 2, ...` weighs `1 / log2(p + 1)`. Equal predictions
    share their places, so the value is the mean over all orders of them, and that of a constant
    prediction is what a random order has on average. It is taken over the queries of a task alone:
    where they are few or alike, a random order is close to 1. Print it beside.

    Args:
      k: The number of places, at least 1. Tasks with fewer queries have fewer.
      gain: Targets to gains, both `(n,)`, such as `lambda y: 2**y - 1`; by default the target itself.
        Gains must not be negative.

    Returns:
      A metric of predictions and targets, `(n,)` or `(n, 1)`, to pairs `(n, 2)` of prediction and gain,
      whose `average(pairs, mask)` is the value of the task, in [0, 1]; 0 where no query has a gain.

    Raises:
      ValueError: If `k` is below 1; for predictions or targets of another shape.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> metric = mj.ndcg(2)
      >>> pairs = metric(jnp.array([0.9, 0.5, 0.1]), jnp.array([1.0, 0.0, 3.0]))
      >>> round(float(metric.average(pairs, None)), 4)  # 1 / (3 + 1 / log2(3))
      0.2754

    Reference:
      Järvelin and Kekäläinen, TOIS 20(4), 2002, section 2.2. https://doi.org/10.1145/582415.582418
      McSherry and Najork, ECIR 2008, for equal predictions.
    """
    return Ndcg(checks.count("ndcg", "k", k), gain)


@dataclass(frozen=True)
class Ndcg:
    """The metric that `ndcg` returns."""

    k: int
    gain: Callable[[jax.Array], jax.Array]

    def __call__(self, predictions: jax.Array, targets: jax.Array) -> jax.Array:
        """Pairs of prediction and gain, `(n, 2)`."""
        shapes = jnp.shape(predictions), jnp.shape(targets)
        if (
            shapes[0] != shapes[1]
            or len(shapes[0]) not in (1, 2)
            or shapes[0][1:] not in ((), (1,))
        ):
            raise ValueError(
                f"ndcg: predictions have shape {shapes[0]} and targets {shapes[1]}; both must be (n,) or "
                "(n, 1)."
            )
        number = shapes[0][0]
        gains = self.gain(jnp.reshape(targets, number))
        return jnp.stack([jnp.reshape(predictions, number), gains], axis=1)

    def average(self, values: jax.Array, mask: jax.Array | None) -> jax.Array:
        """The value of a task, from its pairs `(n, 2)`."""
        mask = jnp.ones(len(values), bool) if mask is None else mask
        scores, gains = values[:, 0], jnp.where(mask, values[:, 1], 0)
        best = self._discounted(gains, gains, mask)
        found = self._discounted(scores, gains, mask)
        return jnp.where(best > 0, found / jnp.where(best > 0, best, 1), 0 * found)

    def _discounted(self, scores: jax.Array, gains: jax.Array, mask: jax.Array) -> jax.Array:
        """The sum of gains, each weighed by the mean discount of the places that its score shares."""
        places = jnp.arange(1, len(scores) + 1)
        discounts = jnp.where(places <= self.k, 1 / jnp.log2(places + 1), 0)
        before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(discounts)]).astype(gains.dtype)
        above = jnp.sum(mask[None] & (scores[None] > scores[:, None]), axis=1)
        alike = jnp.sum(mask[None] & (scores[None] == scores[:, None]), axis=1)
        share = (before[above + alike] - before[above]) / jnp.maximum(alike, 1)
        ranked = jnp.sum(jnp.where(mask, share * gains, 0))
        # A nan is neither above nor alike: it has no rank.
        return jnp.where(jnp.any(mask & jnp.isnan(scores)), jnp.nan, ranked)
