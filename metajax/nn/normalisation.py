"""How a network normalises: a layer for each choice, which applies the convolution and pooling around it.

So it can take its statistics without passing over the convolution's result more often than needed.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.names import choose
from metajax.ops import normalise, pool_and_moments

Normalisation: TypeAlias = Literal["batch", "support", "task", "layer", "instance", "none"]


OfImages: TypeAlias = Callable[[jax.Array], jax.Array]
"""Of images or features `(n, ...)`, each alone; a pooling takes the greatest of neighbouring places."""


def whole(x: jax.Array) -> jax.Array:
    """As it is: no layer before, or no pooling after."""
    return x


def _shifted(module: nn.Module, x: jax.Array) -> jax.Array:
    bias = module.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return x + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class BatchStatistics(nn.Module):
    """Normalise by the mean and variance of the batch at hand, always; shift, and no scale.

    No running statistics: a prediction depends on what else is in the batch. `evaluate` shows by how
    much, with all queries together (transductive) and each alone with the support set (inductive).
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Features `(..., c)`, each channel normalised over all other axes, then pooled."""
        x, moments = pool_and_moments(x, layer, pool)
        return _shifted(self, normalise(x, self.epsilon, by=moments))


class SupportStatistics(nn.Module):
    """As "batch", by the statistics of the first examples alone, the support set: see `beside_support`.

    support: how many, the support set's number of examples.
    """

    support: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Features `(n, ..., c)`, normalised, then pooled."""
        x, moments = pool_and_moments(x, layer, pool, first=self.support)
        return _shifted(self, normalise(x, self.epsilon, by=moments))


class TaskNorm(nn.Module):
    """Normalise by the support set's statistics blended with each example's own: TaskNorm-I.

    How much of either is learned, as a function of the number of support examples.

    support: that number; they are the first of the batch, see `beside_support`.

    Reference: Bronskill, Gordon, Requeima, Nowozin and Turner, ICML 2020, section 4.
    https://arxiv.org/abs/2003.03284
    """

    support: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Images `(n, h, w, c)`, normalised, then pooled."""
        x = layer(x)
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        slope = self.param("slope", nn.initializers.zeros, ())
        offset = self.param("offset", nn.initializers.zeros, ())
        share = jax.nn.sigmoid(slope * self.support + offset)
        first = x[: self.support]
        mean_b, variance_b = (f(first, axis=(0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
        mean_i, variance_i = (f(x, axis=(1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
        mean = share * mean_b + (1 - share) * mean_i
        variance = share * (variance_b + (mean_b - mean) ** 2) + (1 - share) * (
            variance_i + (mean_i - mean) ** 2
        )
        normal = (x - mean) * jax.lax.rsqrt(variance + self.epsilon)
        return pool(normal * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1))


class OwnStatistics(nn.Module):
    """Layer or instance normalisation: by statistics of each example alone, over `axes`."""

    axes: tuple[int, ...]

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Images `(n, h, w, c)`, normalised, then pooled."""
        return pool(nn.LayerNorm(reduction_axes=self.axes)(layer(x)))


class Identity(nn.Module):
    """No normalisation; a shift, which a convolution without bias needs."""

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Features `(..., c)`, shifted and pooled."""
        return _shifted(self, pool(layer(x)))


NORMALISATIONS: dict[str, Callable[..., nn.Module]] = {
    "batch": BatchStatistics,
    "support": SupportStatistics,
    "task": TaskNorm,
    "layer": partial(OwnStatistics, (-3, -2, -1)),
    "instance": partial(OwnStatistics, (-3, -2)),
    "none": Identity,
}
BY_SUPPORT = ("support", "task")
"""Normalisations that must know how many of a batch are the support set."""


def normalisation_of(
    asked_by: str, normalisation: Normalisation, support: int | None
) -> Callable[[], nn.Module]:
    """What makes the layer of this name.

    Raises:
      ValueError: for an unknown name, or a `support` that is missing or has no use.
    """
    make = NORMALISATIONS[choose(asked_by, "normalisation", normalisation, NORMALISATIONS)]
    if (normalisation in BY_SUPPORT) != (support is not None):
        raise ValueError(
            f"{asked_by}: normalisation={normalisation!r} and support={support}; give the number of "
            "support examples, way * shot, with 'support' and 'task' and with no other."
        )
    return make if support is None else partial(make, support)
