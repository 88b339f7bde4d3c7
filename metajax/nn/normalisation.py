"""Normalisation layers, each of which also applies the convolution before it and the pooling after it.

This lets a layer compute its statistics with fewer passes over the result of the convolution.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.names import choose
from metajax.ops import normalise, pool_and_moments
from metajax.types import Model

Normalisation: TypeAlias = Literal["batch", "support", "task", "layer", "instance", "none"]


MOMENTS = "moments"
"""The collection of statistics that a network keeps."""

OfImages: TypeAlias = Callable[[jax.Array], jax.Array]
"""A function of images or features `(n, ...)` that treats each alone: a convolution, or max-pooling."""


def whole(x: jax.Array) -> jax.Array:
    """The identity, for no layer before or no pooling after."""
    return x


def _shifted(module: nn.Module, x: jax.Array) -> jax.Array:
    bias = module.param("bias", nn.initializers.zeros, (x.shape[-1],))
    return x + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class BatchStatistics(nn.Module):
    """Normalises by the mean and variance of the batch at hand, and adds a shift `bias`; no scale.

    There are no running statistics, so a prediction depends on what else is in the batch. `evaluate`
    shows by how much: with all queries together (transductive), and each alone (inductive). `calibrated`
    keeps the statistics of one batch for all others.

    Batch statistics see masked examples as copies of existing ones, which `filled` takes in turn. Of
    `n` existing and `m` masked examples, some count once more than others, unless `m` is a multiple
    of `n`: only then are the statistics exactly those of the existing examples.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Normalises each channel of features `(..., c)` over all other axes, then pools."""
        x, moments = pool_and_moments(x, layer, pool)
        if self.has_variable(MOMENTS, "batch"):
            moments = jax.lax.stop_gradient(self.get_variable(MOMENTS, "batch"))
        elif self.is_mutable_collection(MOMENTS) and not self.is_initializing():
            self.put_variable(MOMENTS, "batch", moments)
        return _shifted(self, normalise(x, self.epsilon, by=moments))


def calibrated(model: Model, params: Any, x: jax.Array) -> Any:
    """Parameters with the statistics of a batch, by which a network normalises everything from then on.

    A prediction then depends on no other example. The statistics have no derivative, and an inner loop leaves
    them as they are.

    Args:
      model: `conv4` or `resnet12` with batch statistics, or another flax network of `BatchStatistics`.
      params: Its parameters; statistics that they have already are replaced.
      x: Examples `(n, ...)` like those of training, a hundred or more.

    Returns:
      `params` with a collection "moments" beside "params".

    Raises:
      ValueError: For a model that is no flax network, or without batch statistics.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model, key = mj.conv4(None, filters=4), jax.random.key(0)
      >>> images = jax.random.normal(key, (20, 28, 28, 1))
      >>> params = mj.calibrated(model, model.init(key, images), images)
      >>> bool(jnp.allclose(model.apply(params, images)[:1], model.apply(params, images[:1]), atol=1e-5))
      True

    Reference:
      Ioffe and Szegedy, ICML 2015, section 3.1. https://arxiv.org/abs/1502.03167
    """
    apply: Any = model.apply
    try:
        weights = {name: values for name, values in params.items() if name != MOMENTS}
        _, kept = apply(weights, x, mutable=[MOMENTS])
    except (AttributeError, TypeError) as error:
        raise ValueError(
            "calibrated: the model is no flax network. Give mj.conv4 or mj.resnet12."
        ) from error
    if MOMENTS not in kept:
        raise ValueError(
            "calibrated: the model has no batch statistics to keep; its normalisation is another. Leave "
            "this out, or give a model with normalisation='batch'."
        )
    return {**weights, **kept}


class SupportStatistics(nn.Module):
    """Normalises by the statistics of the first examples alone, the support set; see `beside_support`.

    support: Number of support examples.
    """

    support: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Normalises features `(n, ..., c)`, then pools."""
        x, moments = pool_and_moments(x, layer, pool, first=self.support)
        return _shifted(self, normalise(x, self.epsilon, by=moments))


class TaskNorm(nn.Module):
    """Normalises by the support set's statistics blended with each example's own (TaskNorm-I).

    The mean is `a * m_S + (1 - a) * m_i`, with a learned `a = sigmoid(slope * support + offset)`.

    support: Number of support examples, the first of the batch; see `beside_support`.

    Reference:
      Bronskill, Gordon, Requeima, Nowozin and Turner, ICML 2020, section 4.
      https://arxiv.org/abs/2003.03284
    """

    support: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Normalises images `(n, h, w, c)`, then pools."""
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


class LayerNorm(nn.Module):
    """`flax.linen.LayerNorm` over `axes`, whose derivatives do not depend on how a program is compiled.

    Those of flax pass through `maximum(0, variance)`, whose derivative compares a number with itself:
    it is 0 where a compiler computes the variance twice and rounds it in two ways.
    """

    axes: tuple[int, ...] = (-1,)

    @nn.compact
    def __call__(self, x):
        """Normalises `(..., d)`, then scales and shifts along `d`."""
        mean, square = (jnp.mean(v, self.axes, keepdims=True) for v in (x, x * x))
        variance = square - mean * mean
        variance = jnp.where(variance > 0, variance, 0)
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        scale = scale.reshape((1,) * (x.ndim - 1) + (-1,))
        return _shifted(self, (x - mean) * (jax.lax.rsqrt(variance + 1e-6) * scale))


class OwnStatistics(nn.Module):
    """Normalises by the statistics of each example alone, over `axes`: layer or instance normalisation."""

    axes: tuple[int, ...]

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Normalises images `(n, h, w, c)`, then pools."""
        return pool(LayerNorm(self.axes)(layer(x)))


class Identity(nn.Module):
    """Adds a shift, which a convolution without bias needs, and does not normalise."""

    @nn.compact
    def __call__(self, x, layer: OfImages = whole, pool: OfImages = whole):
        """Pools features `(..., c)` and adds the shift."""
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
"""Normalisations that need the number of support examples."""


def normalisation_of(
    asked_by: str, normalisation: Normalisation, support: int | None
) -> Callable[[], nn.Module]:
    """Returns the constructor of a normalisation layer.

    Args:
      asked_by: The function whose message it is.
      normalisation: One of `NORMALISATIONS`.
      support: Number of support examples, for those in `BY_SUPPORT`.

    Raises:
      ValueError: For an unknown name, or a `support` that is missing or has no use.
    """
    make = NORMALISATIONS[choose(asked_by, "normalisation", normalisation, NORMALISATIONS)]
    if (normalisation in BY_SUPPORT) != (support is not None):
        raise ValueError(
            f"{asked_by}: normalisation={normalisation!r} and support={support}; give the number of "
            "support examples, way * shot, with 'support' and 'task' and with no other."
        )
    if support is None:
        return make
    return partial(make, checks.count(asked_by, "support", support))
