"""Workload D: three times convolution, LayerNorm, ReLU and average pooling, then a dense layer."""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from flax import linen as nn
from rows.speed import UserWorkload

from nets import common, peer

tasks = common.images
torch_inputs = common.channels_last
statistics = common.without_statistics


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    filters, side = w.settings["filters"], w.settings["size"] // 8
    shapes = {}
    for i in range(3):
        inputs = filters if i else w.settings["channels"]
        shapes |= common.conv(f"Features_0/Conv_{i}", inputs, filters)
        shapes |= common.norm(f"Features_0/LayerNorm_{i}", filters)
    return common.draw(shapes | common.dense("Dense_0", side * side * filters, w.way), rng)


class Features(nn.Module):
    """The convolutional layers."""

    filters: int

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.relu(nn.LayerNorm()(nn.Conv(self.filters, (3, 3))(x)))
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        return x.reshape(len(x), -1)


class Cnn(nn.Module):
    """And the last layer."""

    filters: int
    way: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.way)(Features(self.filters)(x))


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    return (Cnn(w.settings["filters"], w.way),)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "params/"})


class EquinoxCnn(eqx.Module):
    """The same in equinox, for one image."""

    convs: list
    norms: list
    pool: eqx.nn.AvgPool2d
    head: eqx.nn.Linear

    def __init__(self, w: UserWorkload, key):
        filters, side = w.settings["filters"], w.settings["size"] // 8
        *keys, head_key = jax.random.split(key, 4)
        inputs = (w.settings["channels"], filters, filters)
        self.convs = [
            eqx.nn.Conv2d(c, filters, 3, padding=1, key=key)
            for c, key in zip(inputs, keys, strict=True)
        ]
        self.norms = [eqx.nn.LayerNorm(filters, eps=1e-6) for _ in keys]
        self.pool = eqx.nn.AvgPool2d(2, 2)
        self.head = eqx.nn.Linear(side * side * filters, w.way, key=head_key)

    def __call__(self, x):
        x = x.transpose(2, 0, 1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            over_channels = jax.vmap(jax.vmap(norm, 1, 1), 1, 1)
            x = self.pool(jax.nn.relu(over_channels(conv(x))))
        return self.head(x.ravel())


def equinox(w: UserWorkload) -> Callable:
    return lambda key: EquinoxCnn(w, key)


def to_equinox(w: UserWorkload, weights: common.Weights) -> common.Weights:
    moved = common.outputs_first(_flattened_channels_first(w, weights), _names("/"), "/")
    return {
        n: v[:, None, None] if n.startswith("convs") and v.ndim == 1 else v
        for n, v in moved.items()
    }


def torch_net(w: UserWorkload):
    torch = peer("torch")
    F = torch.nn.functional
    filters, side = w.settings["filters"], w.settings["size"] // 8
    inputs = (w.settings["channels"], filters, filters)

    class Features(torch.nn.Module):
        def __init__(self):
            super().__init__()
            convs = [torch.nn.Conv2d(c, filters, 3, padding=1) for c in inputs]
            self.convs = torch.nn.ModuleList(convs)
            norms = [torch.nn.LayerNorm(filters, eps=1e-6) for _ in inputs]
            self.norms = torch.nn.ModuleList(norms)

        def forward(self, x):
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = norm(conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                x = F.avg_pool2d(F.relu(x), 2)
            return torch.flatten(x, 1)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = Features()
            self.head = torch.nn.Linear(side * side * filters, w.way)

        def forward(self, x):
            return self.head(self.body(x))

    return Net()


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.outputs_first(_flattened_channels_first(w, weights), _names(".", "body."), ".")


def _flattened_channels_first(w, weights):
    kernel = common.channels_before_positions(weights["Dense_0/kernel"], w.settings["filters"])
    return {**weights, "Dense_0/kernel": kernel}


def _names(separator: str, body: str = "") -> dict[str, str]:
    return {
        "Features_0/Conv_": f"{body}convs{separator}",
        "Features_0/LayerNorm_": f"{body}norms{separator}",
        "Dense_0": "head",
    }
