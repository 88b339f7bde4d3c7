"""Workload J: the in-context Transformer of `mj.transformer`, and the same in PyTorch."""

import numpy as np
from rows.speed import UserWorkload

from nets import common, peer

torch_inputs = common.unchanged
statistics = common.without_statistics


def tasks(w: UserWorkload, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    dimension = w.settings["dimension"]
    slopes = rng.normal(size=(w.meta_batch, dimension, 1))

    def examples(n):
        x = rng.normal(size=(w.meta_batch, n, dimension))
        return x.astype(np.float32), (x @ slopes).astype(np.float32)

    return (*examples(w.shot), *examples(w.query_shot))


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    s = w.settings
    width, apart = s["width"], (s["heads"], s["width"] // s["heads"])
    shapes = common.dense("tokens/feature_embedding", s["dimension"], width)
    shapes["tokens/label_embedding/kernel"] = (2, width)
    for i in range(s["layers"]):
        shapes |= common.norm(f"blocks_{i}/before_attention", width)
        shapes |= common.norm(f"blocks_{i}/before_hidden", width)
        shapes[f"blocks_{i}/project/kernel"] = (width, 3, *apart)
        shapes[f"blocks_{i}/project/bias"] = (3, *apart)
        shapes[f"blocks_{i}/mix/kernel"] = (*apart, width)
        shapes[f"blocks_{i}/mix/bias"] = (width,)
        shapes |= common.dense(f"blocks_{i}/widen", width, 4 * width)
        shapes |= common.dense(f"blocks_{i}/narrow", 4 * width, width)
    return common.draw(shapes | common.norm("last", width) | common.dense("head", width, 1), rng)


def linen(w: UserWorkload) -> tuple:
    return ()  # `mj.transformer` makes the network


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "head/params/"})


def torch_net(w: UserWorkload):
    torch = peer("torch")
    nn, s = torch.nn, w.settings
    width, heads = s["width"], s["heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before_attention = nn.LayerNorm(width, eps=1e-6)
            self.before_hidden = nn.LayerNorm(width, eps=1e-6)
            self.project, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def split(self, x):
            apart = self.project(self.before_attention(x)).unflatten(-1, (3, heads, width // heads))
            return apart.movedim((-3, -2), (0, -3)).unbind(0)  # each (..., heads, n, d)

        def add(self, x, attended):
            x = x + self.mix(attended.transpose(-3, -2).flatten(-2))
            hidden = nn.functional.gelu(self.widen(self.before_hidden(x)), approximate="tanh")
            return x + self.narrow(hidden)

        def forward(self, support, queries):
            q, keys, values = self.split(support)
            weights = (q @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
            support = self.add(support, weights @ values)
            q, own_keys, own_values = self.split(queries)
            to_itself = (q * own_keys).sum(-1, keepdim=True)
            scores = torch.cat([q @ keys.transpose(-2, -1), to_itself], -1) / q.shape[-1] ** 0.5
            weights = scores.softmax(-1)
            attended = weights[..., :-1] @ values + weights[..., -1:] * own_values
            return support, self.add(queries, attended)

    class Net(nn.Module):
        """Maps `(..., n, d)`, with or without an axis of tasks in front."""

        def __init__(self):
            super().__init__()
            self.feature_embedding = nn.Linear(s["dimension"], width)
            self.label_embedding = nn.Linear(2, width, bias=False)
            self.blocks = nn.ModuleList(Block() for _ in range(s["layers"]))
            self.last, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 1)

        def forward(self, support_x, support_y, query_x):
            targets = torch.cat([support_y, torch.ones_like(support_y)], -1)
            support = self.feature_embedding(support_x) + self.label_embedding(targets)
            queries = self.feature_embedding(query_x)
            for block in self.blocks:
                support, queries = block(support, queries)
            return self.head(self.last(queries))

    return Net()


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    width = w.settings["width"]

    def joined(name, value):
        if name.endswith("project/kernel"):
            return value.reshape(width, -1)
        return value.reshape(-1, width) if name.endswith("mix/kernel") else value

    flat = {name: joined(name, value) for name, value in weights.items()}
    flat |= {n: value.reshape(-1) for n, value in flat.items() if n.endswith("project/bias")}
    names = {f"blocks_{i}/": f"blocks.{i}." for i in range(w.settings["layers"])}
    return common.outputs_first(flat, {**names, "tokens/": "", "": ""}, ".")
