"""Small networks as `Model(init, apply)`; any flax module becomes one in a line."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.names import choose
from metajax.nn.normalisation import (
    BatchStatistics,
    Normalisation,
    OfImages,
    normalisation_of,
    whole,
)
from metajax.ops import Convolution, dot_general, max_pool
from metajax.types import Model

Dense = partial(nn.Dense, dot_general=dot_general)
"""A dense layer that is as fast for a task with weights of its own."""


class Mlp(nn.Module):
    """Dense layers with ReLU between them."""

    features: Sequence[int]
    outputs: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        """Inputs `(n, d)` to outputs `(n, outputs)`."""
        for width in self.features:
            x = nn.relu(Dense(width, kernel_init=self.kernel_init)(x))
        return Dense(self.outputs, kernel_init=self.kernel_init)(x)


pixels = Model(init=lambda key, x: (), apply=lambda params, x: jnp.reshape(x, (len(x), -1)))
"""The inputs themselves as features `(n, d)`, for baselines without an embedding."""


class Film(nn.Module):
    """Channels times `1 + scale`, plus `shift`: both of the collection "context", 0 at the start."""

    @nn.compact
    def __call__(self, x):
        """Features `(..., c)`."""
        channels = (x.shape[-1],)
        scale = self.variable("context", "scale", jnp.zeros, channels).value
        shift = self.variable("context", "shift", jnp.zeros, channels).value
        axes = (1,) * (x.ndim - 1) + (-1,)
        return x * (1 + scale.reshape(axes)) + shift.reshape(axes)


class Conv(nn.Module):
    """A convolution by 3 x 3 without bias, as a function of images, for a normalisation to apply."""

    filters: int
    strides: tuple[int, int]

    @nn.compact
    def __call__(self, channels: int) -> OfImages:
        """For images of so many channels."""
        start = nn.initializers.glorot_normal()
        kernel = self.param("kernel", start, (3, 3, channels, self.filters))
        return Convolution(kernel, self.strides)


class Conv4(nn.Module):
    """Four blocks of convolution, normalisation and ReLU, each halving the image.

    film: whether a task's context scales and shifts what is normalised: see `from_collection`.
    """

    way: int | None
    filters: int = 64
    downsample: Literal["stride", "pool"] = "stride"
    readout: Literal["flatten", "mean"] = "flatten"
    normalise: Callable[[], nn.Module] = BatchStatistics
    film: bool = False

    @nn.compact
    def __call__(self, x):
        """Images `(n, h, w, c)` to logits `(n, way)`, or to features with `way=None`."""
        pools = self.downsample == "pool"
        if x.ndim != 4:
            raise ValueError(
                f"conv4: images are {x.shape}; give (n, height, width, channels), such as x[..., None]."
            )
        if pools and min(x.shape[1:3]) < 16:
            raise ValueError(
                f"conv4: of images {x.shape} nothing is left after four poolings by 2; give 16 x 16 or "
                "more, or downsample='stride'."
            )
        pool = partial(max_pool, window_shape=(2, 2), strides=(2, 2)) if pools else whole
        strides = (1, 1) if pools else (2, 2)
        for _ in range(4):
            # No bias, for the mean would take it away; pooled before ReLU, for both keep order.
            convolve = Conv(self.filters, strides)(x.shape[-1])
            x = self.normalise()(x, convolve, pool)
            x = nn.relu(Film()(x) if self.film else x)
        x = x.reshape(len(x), -1) if self.readout == "flatten" else jnp.mean(x, axis=(1, 2))
        if self.way is None:
            return x
        return Dense(self.way, kernel_init=nn.initializers.zeros)(x)


def mlp(
    features: Sequence[int] = (40, 40),
    outputs: int = 1,
    *,
    start: Literal["small", "lecun"] = "small",
) -> Model:
    """ReLU layers; by default MAML's sinusoid network, truncated-normal weights of deviation 0.01.

    These weights are unusually small: untrained, the network predicts close to 0. Biases start at 0.

    Args:
      features: the widths of the hidden layers.
      outputs: the width of the output.
      start: of the weights. "lecun" is normal with a variance of one over a layer's inputs.

    Returns:
      A model of inputs `(n, d)` and predictions `(n, outputs)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.mlp()
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> model.apply(params, jnp.ones((10, 1))).shape
      (10, 1)

    Reference: Finn, Abbeel and Levine, ICML 2017, section 5.1 and its code, maml.py.
    https://arxiv.org/abs/1703.03400
    """
    choose("mlp", "start", start, ("small", "lecun"))
    small, lecun = nn.initializers.truncated_normal(0.01), nn.initializers.lecun_normal()
    net = Mlp(tuple(features), outputs, small if start == "small" else lecun)
    return Model(net.init, net.apply)


def conv4(
    way: int | None,
    *,
    filters: int = 64,
    downsample: Literal["stride", "pool"] = "stride",
    readout: Literal["flatten", "mean"] = "flatten",
    normalisation: Normalisation = "batch",
    support: int | None = None,
) -> Model:
    """The four-layer convolutional network of few-shot learning.

    Args:
      way: the number of classes; with None there is no head and the model returns features, for
        `protonet`.
      filters: channels of every layer.
      downsample: "stride" for MAML's Omniglot network, "pool" for max-pooling by 2 instead.
      readout: of the last layer's positions, 2 x 2 for 28 x 28 images. "flatten" keeps them (Reptile,
        iMAML); "mean" averages them (MAML).
      normalisation: after each convolution. "batch" takes the statistics of the batch at hand, so
        that a prediction depends on the queries beside it, and is transductive; "layer" and
        "instance" take those of each image, over all channels or each alone, and are not; "support"
        takes those of the support set and "task" (TaskNorm-I) blends these with each image's, both
        for a learner in `beside_support`.
      support: the number of support examples, for "support" and "task".

    Returns:
      A model of images `(n, h, w, c)` and logits `(n, way)` by a dense layer that starts at 0, or
      the features `(n, d)` without a head.

    Raises:
      ValueError: for a `downsample`, `readout` or `normalisation` that does not exist, or one that
        needs `support` without it; when called, for what is no batch of images, or images below 16
        pixels a side with "pool".

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.conv4(way=5)
      >>> images = jnp.ones((5, 28, 28, 1))
      >>> model.apply(model.init(jax.random.key(0), images), images).shape
      (5, 5)

    Reference: Finn, Abbeel and Levine, ICML 2017, section 5.2; Vinyals et al., NeurIPS 2016.
    https://arxiv.org/abs/1703.03400
    """
    choose("conv4", "downsample", downsample, ("stride", "pool"))
    choose("conv4", "readout", readout, ("flatten", "mean"))
    normalise = normalisation_of("conv4", normalisation, support)
    net = Conv4(way, filters, downsample, readout, normalise)
    return Model(net.init, net.apply)


def linear(outputs: int, *, start: Literal["zeros", "lecun"] = "zeros") -> Model:
    """A dense layer, the head on top of features.

    Args:
      outputs: classes, or the width of the output.
      start: of the weights; biases start at 0. "lecun" is normal with a variance of one over inputs.

    Returns:
      A model of features `(n, d)` and predictions `(n, outputs)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> head = mj.linear(5)
      >>> head.apply(head.init(jax.random.key(0), jnp.ones((3, 8))), jnp.ones((3, 8))).shape
      (3, 5)
    """
    choose("linear", "start", start, ("zeros", "lecun"))
    starts = {"zeros": nn.initializers.zeros, "lecun": nn.initializers.lecun_normal()}
    net = nn.Sequential([Dense(outputs, kernel_init=starts[start])])
    return Model(net.init, net.apply)


def mixed_precision(model: Model, dtype: Any = jnp.bfloat16) -> Model:
    """The same model computed in `dtype`; weights, adaptation and predictions stay in float32.

    Args:
      model: whose parameters and inputs are cast before, and predictions after. `BatchStatistics`
        takes its means in float32 all the same.
      dtype: a floating-point type.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.mixed_precision(mj.mlp())
      >>> params = model.init(jax.random.key(0), jnp.ones((1, 1)))
      >>> model.apply(params, jnp.ones((1, 1))).dtype
      dtype('float32')

    Reference: Micikevicius et al., ICLR 2018, section 3.1. https://arxiv.org/abs/1710.03740
    """

    def cast(tree, dtype):
        def leaf(x):
            return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(leaf, tree)

    def apply(params, x):
        return cast(model.apply(cast(params, dtype), cast(x, dtype)), jnp.float32)

    return Model(model.init, apply)
