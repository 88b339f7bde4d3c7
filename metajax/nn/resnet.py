"""ResNet-12, the deeper network of few-shot learning, as a model."""

from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.names import choose
from metajax.nn.models import Conv, Dense, Film
from metajax.nn.normalisation import BatchStatistics, Normalisation, normalisation_of
from metajax.ops import max_pool
from metajax.trees import by_path
from metajax.types import Model

WIDTHS = (64, 160, 320, 640)
_SLOPE = 0.1
_LEAST_SIDE = 16


class Scale(nn.Module):
    """Multiplies each channel by a number that starts at 1."""

    @nn.compact
    def __call__(self, x):
        """Scales features `(..., c)`."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return x * scale.reshape((1,) * (x.ndim - 1) + (-1,))


class Block(nn.Module):
    """Three convolutions beside a projection by one of 1 x 1, whose sum is pooled by 2.

    Between convolutions a scale would have no effect, because the next one absorbs it. The two parts of the
    sum have one each.
    """

    filters: int
    normalise: Callable[[], nn.Module] = BatchStatistics
    film: bool = False

    @nn.compact
    def __call__(self, x):
        """Maps features `(n, h, w, c)` to `(n, h / 2, w / 2, filters)`."""
        beside = Scale()(self.normalise()(x, Conv(self.filters, (1, 1), 1)(x.shape[-1])))
        for last in (False, False, True):
            x = self.normalise()(x, Conv(self.filters, (1, 1))(x.shape[-1]))
            x = Scale()(x) if last else x
            x = Film()(x) if self.film else x
            x = x if last else _leaky_relu(x)
        # Leaky ReLU keeps the order of numbers, so it is computed of a quarter of them.
        return _leaky_relu(max_pool(x + beside, (2, 2), (2, 2)))


class ResNet12(nn.Module):
    """Four residual blocks, each of which halves the image.

    film: Whether a task's context scales and shifts the normalised features; see `from_collection`.
    """

    way: int | None
    widths: Sequence[int] = WIDTHS
    readout: Literal["flatten", "mean"] = "mean"
    normalise: Callable[[], nn.Module] = BatchStatistics
    film: bool = False

    @nn.compact
    def __call__(self, x):
        """Maps images `(n, h, w, c)` to logits `(n, way)`, or to features with `way=None`."""
        if x.ndim != 4:
            raise ValueError(
                f"resnet12: images are {x.shape}; give (n, height, width, channels), such as x[..., None]."
            )
        if min(x.shape[1:3]) < _LEAST_SIDE:
            raise ValueError(
                f"resnet12: images {x.shape} leave nothing after four poolings by 2. Give 16 x 16 or more."
            )
        for filters in self.widths:
            x = Block(filters, self.normalise, self.film)(x)
        x = x.reshape(x.shape[0], -1) if self.readout == "flatten" else jnp.mean(x, axis=(1, 2))
        if self.way is None:
            return x
        return Dense(self.way, kernel_init=nn.initializers.zeros)(x)


def resnet12(
    way: int | None,
    *,
    widths: Sequence[int] = WIDTHS,
    readout: Literal["flatten", "mean"] = "mean",
    normalisation: Normalisation = "batch",
    support: int | None = None,
) -> Model:
    """Returns ResNet-12, the deeper network of few-shot learning on photographs.

    A block has three 3 x 3 convolutions, a projection by one of 1 x 1 beside them, leaky ReLU of slope 0.1,
    and max-pooling by 2. There is no dropout.

    Args:
      way: Number of classes. With None there is no head, and the model returns features, as `protonet`
        takes them.
      widths: Channels of the four blocks.
      readout: How the positions of the last layer, 2 x 2 for 32 x 32 images, become features: "mean"
        averages them, "flatten" keeps them.
      normalisation: After each convolution; as in `conv4`.
      support: Number of support examples, for "support" and "task".

    Returns:
      A model of images `(n, h, w, c)` and logits `(n, way)` by a dense layer that starts at 0, or
      of features `(n, d)` without a head. Its groups are "shifts", all arrays of its normalisation; "warp",
      the second convolution of each block; and "head", where there is one.

    Raises:
      ValueError: For a count below 1, or another number of widths than 4; for a `readout` or
        `normalisation` that does not exist, or one that needs `support` without it; when called, for arrays
        that are no batch of images, or images below 16 pixels a side.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.resnet12(way=None, widths=(2, 3, 4, 5))
      >>> images = jnp.ones((5, 32, 32, 3))
      >>> jax.eval_shape(lambda key: model.apply(model.init(key, images), images), jax.random.key(0)).shape
      (5, 5)

    Reference:
      Lee, Maji, Ravichandran and Soatto, CVPR 2019, section 4.1. https://arxiv.org/abs/1904.03758
    """
    choose("resnet12", "readout", readout, ("flatten", "mean"))
    way = None if way is None else checks.count("resnet12", "way", way)
    widths = checks.counts("resnet12", "widths", widths)
    if len(widths) != 4:
        raise ValueError(f"resnet12: widths={widths} must be four, one for each block.")
    net = ResNet12(way, widths, readout, normalisation_of("resnet12", normalisation, support))
    groups = {"shifts": by_path(_is_shift), "warp": by_path(_is_warp)}
    if way is not None:
        groups["head"] = by_path(lambda path: path.startswith("params/Dense_0/"))
    return Model(net.init, net.apply, groups=groups)


def _leaky_relu(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, _SLOPE)


def _is_shift(path: str) -> bool:
    return not path.startswith("params/Dense_") and "/Conv_" not in path


def _is_warp(path: str) -> bool:
    return path.endswith("/Conv_2/kernel")
