"""Learned optimisers and the problems they are trained on, by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

from metajax import optimizers
from metajax.optimizers.problems import Problem, convs, logistic, mlps, quadratics, together
from metajax.tasks.mnist import mnist
from metajax.tasks.synthetic.clusters import clusters
from metajax.tasks.synthetic.glyphs import glyphs
from metajax.types import LearnedOptimizer, Sample

WAY = 10
"""Classes of every classification problem."""

OPTIMIZERS: dict[str, Callable[[int], LearnedOptimizer]] = {
    "mlp": lambda num_steps: optimizers.mlp(),
    "lstm": lambda num_steps: optimizers.lstm(),
    "meta_lstm": lambda num_steps: optimizers.meta_lstm(),
    "adam": lambda num_steps: optimizers.hyperparameters(
        "adam", positive={"learning_rate": 0.01}, fraction={"b1": 0.9, "b2": 0.99}, eps_root=1e-10
    ),
    "schedule": lambda num_steps: optimizers.schedule("sgd", num_steps, 0.1),
}
"""Learned optimisers by name, from the inner steps of training."""

SOURCES: dict[str, Callable[..., Sample]] = {
    "clusters": lambda subset, data: clusters(way=WAY, shot=20, query_shot=20, spread=0.7),
    "mnist": lambda subset, data: mnist(
        subset, way=WAY, shot=20, query_shot=20, size=14, data=data
    ),
}
"""Data by name, from a subset and the folder of the data sets."""


class ProblemRow(NamedTuple):
    """A family of problems, and which of the settings have an effect on it."""

    make: Callable[[Any, str], Problem]
    reads: tuple[str, ...] = ()


NETWORK = ("width", "depth", "activation")
"""The settings of a network that is trained."""

PROBLEMS: dict[str, ProblemRow] = {
    "mlps": ProblemRow(
        lambda s, subset: mlps(
            SOURCES[s.source](subset, s.data),
            WAY,
            width=s.width,
            depth=s.depth,
            activation=s.activation,
        ),
        ("source", *NETWORK),
    ),
    "convs": ProblemRow(
        lambda s, subset: convs(
            glyphs(way=WAY, shot=5, query_shot=5, size=14),
            WAY,
            filters=s.width,
            depth=s.depth,
            activation=s.activation,
        ),
        NETWORK,
    ),
    "logistic": ProblemRow(
        lambda s, subset: logistic(SOURCES[s.source](subset, s.data), WAY), ("source",)
    ),
    "quadratics": ProblemRow(lambda s, subset: quadratics()),
    "mixture": ProblemRow(
        lambda s, subset: together(
            [PROBLEMS[name].make(s, subset) for name in ("quadratics", "logistic", "mlps")]
        ),
        ("source", *NETWORK),
    ),
}
"""Problems by name."""
