"""Small networks as models, with named groups of their arrays."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.names import choose
from metajax.nn.normalisation import (
    BatchStatistics,
    Normalisation,
    OfImages,
    normalisation_of,
    whole,
)
from metajax.ops import Convolution, dot_general, max_pool
from metajax.trees import by_path
from metajax.types import Model

Dense = partial(nn.Dense, dot_general=dot_general)
"""A dense layer that stays fast where every task has weights of its own."""


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


def _flattened(params, x):
    del params
    rows = [jnp.reshape(leaf, (leaf.shape[0], -1)) for leaf in jax.tree.leaves(x)]
    return rows[0] if len(rows) == 1 else jnp.concatenate(rows, axis=-1)


pixels = Model(init=lambda key, x: (), apply=_flattened)
"""The inputs themselves as features `(n, d)`, for baselines without an embedding.

The arrays of a dict or another pytree are flattened and concatenated in the order of its leaves.
"""


class Film(nn.Module):
    """Feature-wise modulation, `x * (1 + scale) + shift` for each channel.

    `scale` and `shift` are the collection "context" and start at 0.
    """

    @nn.compact
    def __call__(self, x):
        """Modulates features `(..., c)`."""
        channels = (x.shape[-1],)
        scale = self.variable("context", "scale", jnp.zeros, channels).value
        shift = self.variable("context", "shift", jnp.zeros, channels).value
        axes = (1,) * (x.ndim - 1) + (-1,)
        return x * (1 + scale.reshape(axes)) + shift.reshape(axes)


class Conv(nn.Module):
    """A convolution without bias, as a function that a normalisation applies to images."""

    filters: int
    strides: tuple[int, int]
    side: int = 3

    @nn.compact
    def __call__(self, channels: int) -> OfImages:
        """Returns the convolution of images with this number of channels."""
        start = nn.initializers.glorot_normal()
        kernel = self.param("kernel", start, (self.side, self.side, channels, self.filters))
        return Convolution(kernel, self.strides)


class Conv4(nn.Module):
    """Four blocks of convolution, normalisation and ReLU, each of which halves the image.

    film: Whether a task's context scales and shifts the normalised features; see `from_collection`.
    """

    way: int | None
    filters: int = 64
    downsample: Literal["stride", "pool"] = "stride"
    readout: Literal["flatten", "mean"] = "flatten"
    normalise: Callable[[], nn.Module] = BatchStatistics
    film: bool = False

    @nn.compact
    def __call__(self, x):
        """Maps images `(n, h, w, c)` to logits `(n, way)`, or to features with `way=None`."""
        pools = self.downsample == "pool"
        if x.ndim != 4:
            raise ValueError(
                f"conv4: images are {x.shape}; give (n, height, width, channels), such as x[..., None]."
            )
        if pools and min(x.shape[1:3]) < 16:
            raise ValueError(
                f"conv4: images {x.shape} leave nothing after four poolings by 2. Give 16 x 16 or more, or "
                "choose downsample='stride'."
            )
        pool = partial(max_pool, window_shape=(2, 2), strides=(2, 2)) if pools else whole
        strides = (1, 1) if pools else (2, 2)
        for _ in range(4):
            # No bias, because the mean would remove it; pooling and ReLU commute.
            convolve = Conv(self.filters, strides)(x.shape[-1])
            x = self.normalise()(x, convolve, pool)
            x = nn.relu(Film()(x) if self.film else x)
        x = x.reshape(x.shape[0], -1) if self.readout == "flatten" else jnp.mean(x, axis=(1, 2))
        if self.way is None:
            return x
        return Dense(self.way, kernel_init=nn.initializers.zeros)(x)


def mlp(
    features: Sequence[int] = (40, 40),
    outputs: int = 1,
    *,
    start: Literal["small", "lecun"] = "small",
) -> Model:
    """Returns ReLU layers, by default MAML's network for sinusoids.

    MAML's weights are truncated normal with deviation 0.01. That is unusually small: an untrained
    network predicts close to 0. Biases start at 0.

    Args:
      features: Widths of the hidden layers.
      outputs: Width of the output.
      start: How weights start; "lecun" is normal with variance 1 / inputs of a layer.

    Returns:
      A model of inputs `(n, d)` and predictions `(n, outputs)`. Its groups are "head", the last layer,
      and "biases".

    Raises:
      ValueError: For a width below 1, or a `start` that does not exist.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.mlp()
      >>> params = model.init(jax.random.key(0), jnp.ones((10, 1)))
      >>> model.apply(params, jnp.ones((10, 1))).shape
      (10, 1)

    Reference:
      Finn, Abbeel and Levine, ICML 2017, section 5.1 and its code, maml.py.
      https://arxiv.org/abs/1703.03400
    """
    choose("mlp", "start", start, ("small", "lecun"))
    widths = checks.counts("mlp", "features", features)
    outputs = checks.count("mlp", "outputs", outputs)
    small, lecun = nn.initializers.truncated_normal(0.01), nn.initializers.lecun_normal()
    net = Mlp(widths, outputs, small if start == "small" else lecun)
    head = f"params/Dense_{len(widths)}/"
    groups = {"head": by_path(lambda path: path.startswith(head)), "biases": _BIASES}
    return Model(net.init, net.apply, groups=groups)


def conv4(
    way: int | None,
    *,
    filters: int = 64,
    downsample: Literal["stride", "pool"] = "stride",
    readout: Literal["flatten", "mean"] = "flatten",
    normalisation: Normalisation = "batch",
    support: int | None = None,
) -> Model:
    """Returns the four-layer convolutional network of few-shot learning.

    Args:
      way: Number of classes. With None there is no head, and the model returns features, as `protonet`
        takes them.
      filters: Channels of every layer.
      downsample: "stride" for MAML's Omniglot network, "pool" for max-pooling by 2 instead.
      readout: How the positions of the last layer, 2 x 2 for 28 x 28 images, become features.
        "flatten" keeps them (Reptile, iMAML); "mean" averages them (MAML).
      normalisation: After each convolution. "batch" takes the statistics of the batch at hand, so that
        a prediction depends on the queries beside it (transductive). "layer" and "instance" take those
        of each image, over all channels or each alone. "support" takes those of the support set, and
        "task" (TaskNorm-I) blends them with each image's; both need a learner in `beside_support`.
        Batch statistics see masked examples as copies of existing ones: see `BatchStatistics`.
      support: Number of support examples, for "support" and "task".

    Returns:
      A model of images `(n, h, w, c)` and logits `(n, way)` by a dense layer that starts at 0, or
      of features `(n, d)` without a head. Its groups are "shifts", all arrays of its normalisation;
      "warp", the second and fourth convolution; and "head", where there is one.

    Raises:
      ValueError: For a count below 1; for a `downsample`, `readout` or `normalisation` that does not
        exist, or one that needs `support` without it; when called, for arrays that are no batch of
        images, or images below 16 pixels a side with "pool".

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.conv4(way=5)
      >>> images = jnp.ones((5, 28, 28, 1))
      >>> model.apply(model.init(jax.random.key(0), images), images).shape
      (5, 5)

    Reference:
      Finn, Abbeel and Levine, ICML 2017, section 5.2; Vinyals et al., NeurIPS 2016.
      https://arxiv.org/abs/1703.03400
    """
    choose("conv4", "downsample", downsample, ("stride", "pool"))
    choose("conv4", "readout", readout, ("flatten", "mean"))
    way = None if way is None else checks.count("conv4", "way", way)
    filters = checks.count("conv4", "filters", filters)
    normalise = normalisation_of("conv4", normalisation, support)
    net = Conv4(way, filters, downsample, readout, normalise)
    groups = {"shifts": by_path(_is_shift), "warp": by_path(_is_warp)}
    if way is not None:
        groups["head"] = by_path(lambda path: path.startswith("params/Dense_0/"))
    return Model(net.init, net.apply, groups=groups)


_BIASES = by_path(lambda path: path.endswith("/bias"))


def _is_shift(path: str) -> bool:
    return not path.startswith(("params/Conv_", "params/Dense_"))


def _is_warp(path: str) -> bool:
    return path.startswith(("params/Conv_1/", "params/Conv_3/"))


def linear(outputs: int, *, start: Literal["zeros", "lecun"] = "zeros") -> Model:
    """Returns a dense layer, the head on top of features.

    Args:
      outputs: Number of classes, or width of the output.
      start: How weights start; biases start at 0. "lecun" is normal with variance 1 / inputs.

    Returns:
      A model of features `(n, d)` and predictions `(n, outputs)`, with a group "biases".

    Raises:
      ValueError: If `outputs` is below 1, or for a `start` that does not exist.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> head = mj.linear(5)
      >>> head.apply(head.init(jax.random.key(0), jnp.ones((3, 8))), jnp.ones((3, 8))).shape
      (3, 5)
    """
    choose("linear", "start", start, ("zeros", "lecun"))
    outputs = checks.count("linear", "outputs", outputs)
    starts = {"zeros": nn.initializers.zeros, "lecun": nn.initializers.lecun_normal()}
    net = nn.Sequential([Dense(outputs, kernel_init=starts[start])])
    return Model(net.init, net.apply, groups={"biases": _BIASES})


def mixed_precision(model: Model, dtype: Any = jnp.bfloat16) -> Model:
    """Returns the same model computed in `dtype`; weights and predictions stay in float32.

    Args:
      model: Its parameters and inputs are cast before it is applied, in adaptation too, and its
        predictions after. `BatchStatistics` takes its means in float32 all the same.
      dtype: A floating-point type.

    Returns:
      A model with the parameters and the groups of `model`.

    Raises:
      ValueError: If `dtype` is not a floating-point type.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> model = mj.mixed_precision(mj.mlp())
      >>> params = model.init(jax.random.key(0), jnp.ones((1, 1)))
      >>> model.apply(params, jnp.ones((1, 1))).dtype
      dtype('float32')

    Reference:
      Micikevicius et al., ICLR 2018, section 3.1. https://arxiv.org/abs/1710.03740
    """
    model = checks.as_model("mixed_precision", model)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"mixed_precision: dtype={jnp.dtype(dtype).name} must be a floating-point type, such as "
            "jnp.bfloat16."
        )

    def cast(tree, dtype):
        def leaf(x):
            x = jnp.asarray(x)
            return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(leaf, tree)

    def computed(call):
        def cast_around(params, x, *key):
            return cast(call(cast(params, dtype), cast(x, dtype), *key), jnp.float32)

        return cast_around

    train = None if model.train is None else computed(model.train)
    return model._replace(apply=computed(model.apply), train=train)
