"""What the learners of regression predict: points, Gaussians, or bins; each with its loss and mean."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from metajax.metrics.binned import bin_edges, binned_mean, binned_nll
from metajax.metrics.losses import gaussian_nll, mse
from metajax.types import Loss, Sample

BINS = 100


class Density(NamedTuple):
    """A kind of prediction: the width of the network's output, the loss, and the mean `(n, 1)`."""

    outputs: int
    loss: Loss
    mean: Callable[[Any], jax.Array]


def point(sample: Sample) -> Density:
    """The value itself, under the squared error."""
    del sample
    return Density(1, mse, lambda predictions: predictions)


def gaussian(sample: Sample) -> Density:
    """A mean and a deviation, under the negative log-likelihood."""
    del sample
    return Density(2, gaussian_nll, lambda predictions: predictions[:, 0])


def binned(sample: Sample) -> Density:
    """Probabilities of bins between quantiles of the source's targets."""
    edges = edges_of(sample, BINS)
    return Density(BINS, binned_nll(edges), binned_mean(edges))


def edges_of(sample: Sample, bins: int) -> jax.Array:
    """The edges of bins for the query targets of a source."""
    drawn = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), 2_000))
    return bin_edges(drawn.query.y, bins)
