"""Workload I: a multilayer perceptron on sine waves."""

import numpy as np
from flax import linen as nn
from rows.speed import UserWorkload

from nets import common, peer

torch_inputs = common.unchanged
statistics = common.without_statistics


def tasks(w: UserWorkload, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    def examples(n):
        x = rng.uniform(-5, 5, size=(w.meta_batch, n, 1)).astype(np.float32)
        return x, np.sin(x)

    return (*examples(w.shot), *examples(w.query_shot))


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    widths, shapes = (1, w.settings["width"], w.settings["width"], 1), {}
    for i in range(3):
        shapes |= common.dense(f"Dense_{i}", widths[i], widths[i + 1])
    return common.draw(shapes, rng)


class Mlp(nn.Module):
    """In flax."""

    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(1)(x)


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    return (Mlp(w.settings["width"]),)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "params/"})


def torch_net(w: UserWorkload):
    nn, width = peer("torch.nn"), w.settings["width"]
    return nn.Sequential(
        nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    names = {f"Dense_{i}": str(2 * i) for i in range(3)}
    return common.outputs_first(weights, names, ".")
