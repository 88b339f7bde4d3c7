"""A small detector of centres: features of a picture, and maps of the boxes in it."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.ops import conv_general_dilated
from metajax.trees import by_path
from metajax.types import Model

_GROUPS = 8
_RARE = -3.0
"""The logit of a centre at the start, so that many empty cells do not drown few centres."""

Conv = partial(nn.Conv, conv_general_dilated=conv_general_dilated)


class Layer(nn.Module):
    """A 3 x 3 convolution, normalisation of each picture by groups of channels, and ReLU."""

    filters: int
    strides: int = 1

    @nn.compact
    def __call__(self, x):
        """Maps features `(n, h, w, c)`."""
        x = Conv(self.filters, (3, 3), strides=(self.strides, self.strides), use_bias=False)(x)
        return nn.relu(nn.GroupNorm(_GROUPS)(x))


class DetectorBody(nn.Module):
    """Features at a quarter of the resolution, to which an eighth adds what is around."""

    width: int = 48

    @nn.compact
    def __call__(self, x):
        """Maps pictures `(n, h, w, c)`, with sides that divide by 8, to `(n, h / 4, w / 4, width)`."""
        if x.ndim != 4 or x.shape[1] % 8 or x.shape[2] % 8:
            raise ValueError(
                f"detector: pictures are {x.shape}; give (n, height, width, channels) whose sides divide "
                "by 8."
            )
        x = Layer(self.width, 2)(Layer(self.width // 2, 2)(x))
        x = x + Layer(self.width)(x)
        around = Layer(self.width, 2)(x)
        around = around + Layer(self.width)(around)
        around = jnp.repeat(jnp.repeat(around, 2, axis=1), 2, axis=2)
        return x + Conv(self.width, (1, 1))(around)


class DetectorHead(nn.Module):
    """Three layers, and a linear one that predicts the maps."""

    width: int = 48

    @nn.compact
    def __call__(self, x):
        """Maps features `(n, h, w, c)` to `(n, h, w, 5)`: see `metajax.metrics.detection`."""
        x = Layer(self.width)(x)
        for _ in range(2):
            x = x + Layer(self.width)(x)
        return Conv(5, (1, 1), bias_init=_bias)(x)


def _bias(key: jax.Array, shape, dtype=jnp.float32) -> jax.Array:
    del key
    return jnp.zeros(shape, dtype).at[0].set(_RARE)


def detector(width: int = 48) -> tuple[Model, Model]:
    """Returns the body and the head of a detector, for `mj.conditioned` or to be joined.

    Normalisation is by picture, so that a prediction depends on no other picture.

    Args:
      width: Channels of most layers, a multiple of 16.

    Returns:
      A model of pictures `(n, h, w, c)` and features `(n, h / 4, w / 4, width)`; and one of features, with
      any number of channels, and maps `(n, h / 4, w / 4, 5)`, as `mj.detection_loss` reads them.

    Raises:
      ValueError: For a width that is no multiple of 16; when called, for sides that do not divide by 8.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> body, head = mj.detector(width=16)
      >>> pictures = jnp.ones((2, 32, 48, 1))
      >>> features = body.apply(body.init(jax.random.key(0), pictures), pictures)
      >>> maps = head.apply(head.init(jax.random.key(0), features), features)
      >>> features.shape, maps.shape
      ((2, 8, 12, 16), (2, 8, 12, 5))

    Reference:
      Zhou, Wang and Krähenbühl, 2019. https://arxiv.org/abs/1904.07850
    """
    width = checks.count("detector", "width", width)
    if width % (2 * _GROUPS):
        raise ValueError(f"detector: width={width} must be a multiple of {2 * _GROUPS}.")
    body, head = DetectorBody(width), DetectorHead(width)
    last = by_path(lambda path: path.startswith("params/Conv_0/"))
    return Model(body.init, body.apply), Model(head.init, head.apply, groups={"last": last})
