"""Workload G: the ResNet-12 of few-shot learning, with half of the usual filters."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from rows.speed import UserWorkload

from nets import common, peer

tasks = common.images
torch_inputs = common.channels_last
statistics = common.by_the_batch


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    inputs, shapes = w.settings["channels"], {}
    for i, filters in enumerate(_filters(w)):
        of_layers = ((inputs, 3), (filters, 3), (filters, 3), (inputs, 1))
        for j, (channels, size) in enumerate(of_layers):
            shapes[f"Block_{i}/Conv_{j}/kernel"] = (size, size, channels, filters)
            shapes |= common.norm(f"Block_{i}/BatchNorm_{j}", filters)
        inputs = filters
    return common.draw(shapes | common.dense("Dense_0", inputs, w.way), rng)


class Block(nn.Module):
    """Three convolutions beside a convolution of single positions."""

    filters: int

    @nn.compact
    def __call__(self, x):
        def convolved(x, size):
            x = nn.Conv(self.filters, (size, size), use_bias=False)(x)
            return nn.BatchNorm(use_running_average=False)(x)

        out = nn.leaky_relu(convolved(x, 3), 0.1)
        out = nn.leaky_relu(convolved(out, 3), 0.1)
        out = convolved(out, 3)
        out = nn.leaky_relu(out + convolved(x, 1), 0.1)
        return nn.max_pool(out, (2, 2), strides=(2, 2))


class ResNet12(nn.Module):
    """In flax."""

    filters: tuple[int, ...]
    way: int

    @nn.compact
    def __call__(self, x):
        for filters in self.filters:
            x = Block(filters)(x)
        return nn.Dense(self.way)(jnp.mean(x, axis=(1, 2)))


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    return (ResNet12(_filters(w), w.way),)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "params/"})


def torch_net(w: UserWorkload):
    torch = peer("torch")
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self, inputs, filters):
            super().__init__()
            of_layers = ((inputs, 3), (filters, 3), (filters, 3), (inputs, 1))
            convs = [
                nn.Conv2d(channels, filters, size, padding=size // 2, bias=False)
                for channels, size in of_layers
            ]
            norms = [nn.BatchNorm2d(filters, track_running_stats=False) for _ in convs]
            self.convs, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)

        def forward(self, x):
            one, two, three, beside = zip(self.convs, self.norms, strict=True)
            out = F.leaky_relu(_both(one, x), 0.1)
            out = F.leaky_relu(_both(two, out), 0.1)
            out = _both(three, out) + _both(beside, x)
            return F.max_pool2d(F.leaky_relu(out, 0.1), 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            filters = _filters(w)
            inputs = (w.settings["channels"], *filters[:-1])
            self.blocks = nn.Sequential(*map(Block, inputs, filters))
            self.head = nn.Linear(filters[-1], w.way)

        def forward(self, x):
            return self.head(self.blocks(x).mean((2, 3)))

    return Net()


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    names = {"Dense_0": "head"}
    for i in range(4):
        names |= {
            f"Block_{i}/Conv_": f"blocks.{i}.convs.",
            f"Block_{i}/BatchNorm_": f"blocks.{i}.norms.",
        }
    return common.outputs_first(weights, names, ".")


def _filters(w: UserWorkload) -> tuple[int, ...]:
    return tuple(w.settings["filters"] * 2**i for i in range(4))


def _both(layers, x):
    conv, norm = layers
    return norm(conv(x))
