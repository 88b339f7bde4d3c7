"""Workload H: the network of D in two parts, of which the last layer is adapted."""

from flax import linen as nn
from rows.speed import UserWorkload

from nets import cnn, common

tasks, weights = cnn.tasks, cnn.weights
torch_inputs, statistics = cnn.torch_inputs, cnn.statistics
torch_net, to_torch = cnn.torch_net, cnn.to_torch


def linen(w: UserWorkload) -> tuple[nn.Module, ...]:
    return cnn.Features(w.settings["filters"]), nn.Dense(w.way)


def to_linen(w: UserWorkload, weights: common.Weights) -> common.Weights:
    return common.renamed(weights, {"Features_0/": "body/params/", "Dense_0/": "head/params/"})
