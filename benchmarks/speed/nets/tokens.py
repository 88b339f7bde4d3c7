"""Workload E: a Transformer over tokens with layers that normalise their inputs."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from rows.speed import UserWorkload

from nets import common, peer

torch_inputs = common.unchanged
statistics = common.without_statistics
_ATTENTION = "MultiHeadDotProductAttention"


def tasks(w: UserWorkload, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    vocabulary, tokens = w.settings["vocabulary"], w.settings["tokens"]
    return common.classified(w, lambda size: rng.integers(vocabulary, size=(*size, tokens)))


def weights(w: UserWorkload, rng: np.random.Generator) -> dict[str, np.ndarray]:
    s = w.settings
    width, layers, apart = s["width"], s["layers"], (s["heads"], s["width"] // s["heads"])
    shapes: dict[str, tuple[int, ...]] = {
        "Embed_0/embedding": (s["vocabulary"], width),
        "positions": (1, s["tokens"], width),
    }
    for i in range(layers):
        for name in ("query", "key", "value"):
            shapes[f"{_ATTENTION}_{i}/{name}/kernel"] = (width, *apart)
            shapes[f"{_ATTENTION}_{i}/{name}/bias"] = apart
        shapes[f"{_ATTENTION}_{i}/out/kernel"] = (*apart, width)
        shapes[f"{_ATTENTION}_{i}/out/bias"] = (width,)
        shapes |= common.dense(f"Dense_{2 * i}", width, 4 * width)
        shapes |= common.dense(f"Dense_{2 * i + 1}", 4 * width, width)
    for i in range(2 * layers + 1):
        shapes |= common.norm(f"LayerNorm_{i}", width)
    return common.draw(shapes | common.dense(f"Dense_{2 * layers}", width, w.way), rng)


class Transformer(nn.Module):
    """In flax."""

    vocabulary: int
    width: int
    heads: int
    layers: int
    way: int

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(self.vocabulary, self.width)(tokens)
        start = nn.initializers.normal(0.02)
        x = x + self.param("positions", start, (1, tokens.shape[1], self.width))
        for _ in range(self.layers):
            x = x + nn.MultiHeadDotProductAttention(num_heads=self.heads)(nn.LayerNorm()(x))
            hidden = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(hidden)
        return nn.Dense(self.way)(jnp.mean(nn.LayerNorm()(x), axis=1))


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    s = w.settings
    return (Transformer(s["vocabulary"], s["width"], s["heads"], s["layers"], w.way),)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"": "params/"})


class EquinoxBlock(eqx.Module):
    """A layer in equinox, for one example."""

    before_attention: eqx.nn.LayerNorm
    before_hidden: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    widen: eqx.nn.Linear
    narrow: eqx.nn.Linear

    def __init__(self, width: int, heads: int, key):
        attention_key, widen_key, narrow_key = jax.random.split(key, 3)
        self.before_attention = eqx.nn.LayerNorm(width, eps=1e-6)
        self.before_hidden = eqx.nn.LayerNorm(width, eps=1e-6)
        self.attention = eqx.nn.MultiheadAttention(
            heads,
            width,
            use_query_bias=True,
            use_key_bias=True,
            use_value_bias=True,
            use_output_bias=True,
            key=attention_key,
        )
        self.widen = eqx.nn.Linear(width, 4 * width, key=widen_key)
        self.narrow = eqx.nn.Linear(4 * width, width, key=narrow_key)

    def __call__(self, x, key=None):
        normal = jax.vmap(self.before_attention)(x)
        x = x + self.attention(normal, normal, normal, key=key)
        hidden = jax.nn.gelu(jax.vmap(self.widen)(jax.vmap(self.before_hidden)(x)))
        return x + jax.vmap(self.narrow)(hidden)


class EquinoxTransformer(eqx.Module):
    """The same in equinox, for one example."""

    embed: eqx.nn.Embedding
    positions: jax.Array
    blocks: list
    last: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, w: UserWorkload, key):
        s, width, layers = w.settings, w.settings["width"], w.settings["layers"]
        embed_key, positions_key, head_key, *keys = jax.random.split(key, 3 + layers)
        self.embed = eqx.nn.Embedding(s["vocabulary"], width, key=embed_key)
        self.positions = 0.02 * jax.random.normal(positions_key, (s["tokens"], width))
        self.blocks = [EquinoxBlock(width, s["heads"], key) for key in keys]
        self.last = eqx.nn.LayerNorm(width, eps=1e-6)
        self.head = eqx.nn.Linear(width, w.way, key=head_key)

    def __call__(self, tokens, key=None):
        x = jax.vmap(self.embed)(tokens) + self.positions
        for block in self.blocks:
            x = block(x, key=key)
        return self.head(jnp.mean(jax.vmap(self.last)(x), axis=0))


def equinox(w: UserWorkload) -> Callable:
    return lambda key: EquinoxTransformer(w, key)


def to_equinox(w: UserWorkload, weights: common.Weights) -> common.Weights:
    names, moved = _names(w, "/"), _joined_heads(weights)
    for i in range(w.settings["layers"]):
        names[f"{_ATTENTION}_{i}/out"] = f"blocks/{i}/attention/output_proj"
        for name in ("query", "key", "value"):
            names[f"{_ATTENTION}_{i}/{name}"] = f"blocks/{i}/attention/{name}_proj"
    positions = moved.pop("positions")[0]
    return {**common.outputs_first(moved, names, "/"), "positions": positions}


def torch_net(w: UserWorkload):
    torch = peer("torch")
    nn, s = torch.nn, w.settings
    width, heads = s["width"], s["heads"]

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            # Fused attention has no second derivative.
            heads_apart = self.project(x).unflatten(-1, (3, heads, width // heads))
            queries, keys, values = heads_apart.permute(2, 0, 3, 1, 4).unbind(0)
            scores = queries @ keys.transpose(-2, -1) / (width // heads) ** 0.5
            return self.out((scores.softmax(-1) @ values).transpose(1, 2).flatten(-2))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before_attention = nn.LayerNorm(width, eps=1e-6)
            self.before_hidden = nn.LayerNorm(width, eps=1e-6)
            self.attention = Attention()
            self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            x = x + self.attention(self.before_attention(x))
            hidden = nn.functional.gelu(self.widen(self.before_hidden(x)), approximate="tanh")
            return x + self.narrow(hidden)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(s["vocabulary"], width)
            self.positions = nn.Parameter(torch.zeros(1, s["tokens"], width))
            self.blocks = nn.Sequential(*(Block() for _ in range(s["layers"])))
            self.last, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, w.way)

        def forward(self, tokens):
            x = self.blocks(self.embed(tokens) + self.positions)
            return self.head(self.last(x).mean(1))

    return Net()


def to_torch(w: UserWorkload, weights: common.Weights) -> common.Weights:
    names, moved = _names(w, "."), _joined_heads(weights)
    for i in range(w.settings["layers"]):
        names[f"{_ATTENTION}_{i}/"] = f"blocks.{i}.attention."
        for kind in ("kernel", "bias"):
            parts = [
                moved.pop(f"{_ATTENTION}_{i}/{name}/{kind}") for name in ("query", "key", "value")
            ]
            moved[f"{_ATTENTION}_{i}/project/{kind}"] = np.concatenate(parts, axis=-1)
    positions = moved.pop("positions")
    return {**common.outputs_first(moved, names, "."), "positions": positions}


def _joined_heads(weights: common.Weights) -> dict[str, np.ndarray]:
    """Attention with all heads in one axis, as PyTorch and equinox have it."""

    def joined(name, value):
        if _ATTENTION not in name or value.ndim == 1:
            return value
        if name.endswith("out/kernel"):
            return value.reshape(-1, value.shape[-1])
        return value.reshape(*value.shape[:-2], -1)

    return {name: joined(name, value) for name, value in weights.items()}


def _names(w: UserWorkload, separator: str) -> dict[str, str]:
    layers = w.settings["layers"]
    names = {
        "Embed_0": "embed",
        f"LayerNorm_{2 * layers}": "last",
        f"Dense_{2 * layers}": "head",
    }
    for i in range(layers):
        block = f"blocks{separator}{i}{separator}"
        names[f"LayerNorm_{2 * i}"] = f"{block}before_attention"
        names[f"LayerNorm_{2 * i + 1}"] = f"{block}before_hidden"
        names[f"Dense_{2 * i}"] = f"{block}widen"
        names[f"Dense_{2 * i + 1}"] = f"{block}narrow"
    return names
