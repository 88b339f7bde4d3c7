"""Workload F: the embedding of prototypical networks, four times convolution to pooling."""

import numpy as np
from flax import linen as nn
from rows.speed import UserWorkload

from nets import common, peer

tasks = common.images
torch_inputs = common.channels_last
statistics = common.by_the_batch


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    filters, shapes = w.settings["filters"], {}
    for i in range(4):
        shapes |= common.conv(f"Conv_{i}", filters if i else w.settings["channels"], filters)
        shapes |= common.norm(f"BatchNorm_{i}", filters)
    return common.draw(shapes, rng)


class Embedding(nn.Module):
    """In flax."""

    filters: int

    @nn.compact
    def __call__(self, x):
        for _ in range(4):
            x = nn.BatchNorm(use_running_average=False)(nn.Conv(self.filters, (3, 3))(x))
            x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        return x.reshape(len(x), -1)


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    return (Embedding(w.settings["filters"]),)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "params/"})


def torch_net(w: UserWorkload):
    torch = peer("torch")
    F, filters = torch.nn.functional, w.settings["filters"]
    inputs = (w.settings["channels"], filters, filters, filters)

    class ProtoNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            convs = [torch.nn.Conv2d(c, filters, 3, padding=1) for c in inputs]
            norms = [torch.nn.BatchNorm2d(filters, track_running_stats=False) for _ in inputs]
            self.convs, self.norms = torch.nn.ModuleList(convs), torch.nn.ModuleList(norms)

        def embed(self, x):
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = F.max_pool2d(F.relu(norm(conv(x))), 2)
            return torch.flatten(x, 1)

        def forward(self, support_x, support_y, query_x):
            features, queries = self.embed(support_x), self.embed(query_x)
            classes = torch.arange(w.way, device=support_y.device)
            member = (support_y[:, None] == classes).to(features.dtype)
            means = member.T @ features / member.sum(0)[:, None]
            products = queries @ means.T
            return 2 * products - (queries**2).sum(1, keepdim=True) - (means**2).sum(1)

    return ProtoNet()


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.outputs_first(weights, {"Conv_": "convs.", "BatchNorm_": "norms."}, ".")
