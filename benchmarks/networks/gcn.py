"""A graph convolutional network that predicts a number of a graph; equinox.

Kipf and Welling, ICLR 2017. https://arxiv.org/abs/1609.02907
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import metajax as mj

NODES, FEATURES = 12, 8
LOSS = mj.mse


class GraphConv(eqx.Module):
    """A linear layer on each node, and a mean over neighbours that is normalised on both sides."""

    linear: eqx.nn.Linear

    def __init__(self, inputs, outputs, key):
        self.linear = eqx.nn.Linear(inputs, outputs, key=key)

    def __call__(self, x, adjacency):  # (nodes, inputs), (nodes, nodes)
        adjacency = adjacency + jnp.eye(len(adjacency))
        scale = jax.lax.rsqrt(adjacency.sum(axis=1))
        return scale[:, None] * (adjacency @ (scale[:, None] * jax.vmap(self.linear)(x)))


class GCN(eqx.Module):
    """Graph convolutions, a mean over nodes and a linear layer."""

    layers: list[GraphConv]
    head: eqx.nn.Linear

    def __init__(self, features, width, layers, outputs, key):
        head_key, *keys = jax.random.split(key, layers + 1)
        inputs = [features] + (layers - 1) * [width]
        self.layers = [GraphConv(n, width, k) for n, k in zip(inputs, keys, strict=True)]
        self.head = eqx.nn.Linear(width, outputs, key=head_key)

    def __call__(self, graph):
        x = graph["nodes"]
        for layer in self.layers:
            x = jax.nn.relu(layer(x, graph["adjacency"]))
        return self.head(x.mean(axis=0))


def model() -> mj.Model:
    """Three layers of width 64."""
    return mj.equinox_model(lambda key: GCN(FEATURES, 64, 3, 1, key), fast=False)


def examples(key: jax.Array, n: int) -> mj.Examples:
    """Random graphs, each edge with probability 1/4, and the mean over edges of a product of features."""
    node_key, edge_key = jax.random.split(key)
    nodes = jax.random.normal(node_key, (n, NODES, FEATURES))
    upper = jnp.triu(jax.random.bernoulli(edge_key, 0.25, (n, NODES, NODES)), k=1)
    adjacency = jnp.where(upper | upper.mT, 1.0, 0.0)
    products = jnp.einsum("nif,nij,njf->n", nodes, adjacency, nodes) / NODES
    return mj.Examples({"nodes": nodes, "adjacency": adjacency}, products[:, None])
