"""Predictive distributions of one number as logits over bins."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Place(NamedTuple):
    """The bin of a number, its log-density within the bin, and the share of the bin below it."""

    bin: jax.Array
    log_density: jax.Array
    below: jax.Array


def bin_edges(targets: jax.Array | np.ndarray, bins: int) -> jax.Array:
    """Edges of bins, narrow where targets are many, such as some thousands drawn from a prior.

    The edges are quantiles of the targets together with as many values spread evenly over their range.
    With quantiles of the targets alone, the outermost bins are too wide to express a mean: in 100 of
    them, the best possible predictions of linear tasks have several times their own error.

    Args:
      targets: Any array of numbers.
      bins: The number of bins, at least 3.

    Returns:
      `(bins + 1,)`, strictly increasing.

    Raises:
      ValueError: For fewer than 3 bins, and for targets with too few different values.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mj.bin_edges(jnp.array([0.0, 3.0, 4.0, 5.0, 16.0]), 4).tolist()
      [0.0, 3.25, 4.5, 11.0, 16.0]
    """
    if bins < 3:
        raise ValueError(f"bin_edges: bins={bins} must be at least 3, because two bins are tails.")
    drawn = np.ravel(np.asarray(targets, np.float64))
    spread = np.linspace(drawn.min(), drawn.max(), drawn.size)
    edges = np.quantile(np.concatenate([drawn, spread]), np.linspace(0, 1, bins + 1))
    edges = edges.astype(np.float32)
    if not np.all(np.diff(edges) > 0):
        raise ValueError(
            f"bin_edges: bins={bins} and {np.size(targets)} targets leave some bin empty; use fewer "
            "bins, or more different targets."
        )
    return jnp.asarray(edges)


# The density within a bin is uniform. The first and the last bin are halves of Gaussians that extend to
# infinity; half of their mass lies within the edges.
_MEDIAN = 0.67448975
"""The median of the absolute value of a standard Gaussian."""


def _tails(edges: jax.Array) -> jax.Array:
    return jnp.stack([edges[1] - edges[0], edges[-1] - edges[-2]]) / _MEDIAN


def _place(edges: jax.Array, y: jax.Array) -> Place:
    last = len(edges) - 2
    found = jnp.clip(jnp.searchsorted(edges, y, side="right") - 1, 0, last)
    scale = jnp.where(found == 0, _tails(edges)[0], _tails(edges)[1])
    size = jnp.abs(y - jnp.where(found == 0, edges[1], edges[-2])) / scale
    tail = (found == 0) | (found == last)
    half = jax.scipy.stats.norm.logpdf(size) + jnp.log(2.0) - jnp.log(scale)
    width = edges[found + 1] - edges[found]
    inside = (y - edges[found]) / width
    within = jax.scipy.special.erf(size * 0.5**0.5)
    below = jnp.where(found == 0, 1 - within, jnp.where(tail, within, inside))
    return Place(found, jnp.where(tail, half, -jnp.log(width)), below)


def _column(name: str, predictions: jax.Array, edges: jax.Array, targets: jax.Array) -> jax.Array:
    if predictions.shape != (len(targets), len(edges) - 1) or targets.shape[1:] != (1,):
        raise ValueError(
            f"{name}: predictions are {predictions.shape}, targets {targets.shape} and there are "
            f"{len(edges) - 1} bins; predictions are (n, bins) and targets (n, 1)."
        )
    return targets[:, 0]


def binned_nll(edges: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The loss of logits `(n, bins)` and targets `(n, 1)`: negative log-densities `(n,)`, in nats.

    Args:
      edges: `(bins + 1,)`, as from `bin_edges`.

    Returns:
      A loss. It raises ValueError for other shapes.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> loss = mj.binned_nll(jnp.arange(5.0) / 2)  # four bins of width 1/2: a density of 1/2 each
      >>> round(float(loss(jnp.zeros((1, 4)), jnp.array([[0.75]]))[0]), 4)
      0.6931

    Reference: Mueller, Hollmann, Pineda Arango, Grabocka and Hutter, ICLR 2022, section 4.
    https://arxiv.org/abs/2112.10510
    """

    def loss(predictions, targets):
        place = _place(edges, _column("binned_nll", predictions, edges, targets))
        chosen = jax.nn.one_hot(place.bin, len(edges) - 1, dtype=predictions.dtype)
        log_share = jnp.sum(chosen * jax.nn.log_softmax(predictions), axis=-1)
        return -(log_share + place.log_density)

    return loss


def binned_mean(edges: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Logits `(n, bins)` to the means of their distributions `(n, 1)`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> mean = mj.binned_mean(jnp.arange(5.0))
      >>> mean(jnp.zeros((1, 4))).round(4).tolist()  # even, so in the middle
      [[2.0]]
    """
    middles = (edges[1:] + edges[:-1]) / 2
    beyond = _tails(edges) * (2 / np.pi) ** 0.5  # the mean of half a Gaussian
    middles = middles.at[0].set(edges[1] - beyond[0]).at[-1].set(edges[-2] + beyond[1])
    return lambda predictions: jax.nn.softmax(predictions) @ middles[:, None]


def binned_coverage(edges: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The metric: which targets `(n, 1)` lie in the central 95 % interval of logits `(n, bins)`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> metric = mj.binned_coverage(jnp.arange(5.0))
      >>> metric(jnp.zeros((2, 4)), jnp.array([[1.2], [60.0]])).tolist()
      [1.0, 0.0]
    """

    def metric(predictions, targets):
        place = _place(edges, _column("binned_coverage", predictions, edges, targets))
        shares = jax.nn.softmax(predictions)
        bins = jnp.arange(len(edges) - 1)[None]
        weights = jnp.where(bins < place.bin[:, None], 1.0, 0.0)
        weights = jnp.where(bins == place.bin[:, None], place.below[:, None], weights)
        below = jnp.sum(shares * weights, axis=-1)
        inside = (jnp.abs(below - 0.5) < 0.475).astype(shares.dtype)
        return jnp.where(jnp.isnan(below), jnp.nan, inside)

    return metric
