"""What the contract tests are run on: a new learner, source, adjoint or estimator is one more row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

import metajax as mj
from metajax.models import BatchStatistics


class Smooth(nn.Module):
    """A small network whose second derivatives are nowhere zero by accident, unlike ReLU's."""

    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.tanh(nn.Dense(5)(x)))


class Normalised(nn.Module):
    """One convolution of ours and batch statistics, so that predictions depend on the batch."""

    @nn.compact
    def __call__(self, x):
        layer = nn.Conv(4, (3, 3), strides=(2, 2), conv_general_dilated=mj.conv_general_dilated)
        x = nn.tanh(BatchStatistics()(layer(x)))
        return nn.Dense(3)(x.reshape(len(x), -1))


def normalised() -> mj.Model:
    net = Normalised()
    return mj.Model(net.init, net.apply)


def smooth(outputs: int) -> mj.Model:
    net = Smooth(outputs)
    return mj.Model(net.init, net.apply)


POINTS = np.asarray(
    np.random.default_rng(0).normal(size=(8, 10, 3)) + np.arange(8)[:, None, None], np.float32
)
"""Eight classes of ten points of the plane."""

REGRESSION = mj.tasks.sinusoid(shot=4, query_shot=6)
CLASSIFICATION = mj.tasks.episodes(POINTS, way=3, shot=2, query_shot=2)

INNER = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.05, eps_root=1e-8),
}

EXACT = {
    "unrolled": mj.unrolled,
    "remat": mj.remat,
    "mixed_mode": mj.mixed_mode,
    "truncated to more than there are": mj.truncated(9),
}
"""Adjoints whose hypergradient is the derivative of the value."""
HELD = {"first_order": mj.first_order, "truncated to none": mj.truncated(0)}
"""Adjoints that hold the inner gradients constant."""
ADJOINTS = {**EXACT, **HELD, "truncated to two": mj.truncated(2)}


class Row(NamedTuple):
    learner: mj.Learner
    loss: Callable[[Any, Any], jax.Array]
    sample: Callable[[jax.Array], mj.Task]
    adapts_by_steps: bool


def _images():
    images = np.random.default_rng(1).uniform(size=(6, 4, 6, 6, 1))
    return mj.tasks.episodes(images.astype(np.float32), way=3, shot=1, query_shot=2)


LEARNERS = {
    "maml": Row(mj.maml(smooth(1), mj.mse, optax.sgd(0.1), 2), mj.mse, REGRESSION, True),
    "fomaml": Row(
        mj.maml(smooth(1), mj.mse, optax.sgd(0.1), 2, adjoint=mj.first_order),
        mj.mse,
        REGRESSION,
        True,
    ),
    "maml, adam inside": Row(
        mj.maml(smooth(3), mj.cross_entropy, optax.adam(0.05, eps_root=1e-8), 3),
        mj.cross_entropy,
        CLASSIFICATION,
        True,
    ),
    "maml, batch statistics": Row(
        mj.maml(normalised(), mj.cross_entropy, optax.sgd(0.1), 1),
        mj.cross_entropy,
        _images(),
        True,
    ),
    "maml, mixed mode": Row(
        mj.maml(smooth(1), mj.mse, optax.sgd(0.1), 2, adjoint=mj.mixed_mode),
        mj.mse,
        REGRESSION,
        True,
    ),
    "protonet": Row(mj.protonet(smooth(4)), mj.cross_entropy, CLASSIFICATION, False),
}

ESTIMATORS = {
    "value_and_grad": jax.value_and_grad,
    "chunked": mj.chunked(2),
    "chunked, one at a time": mj.chunked(1),
    "sharded": mj.sharded(),
    "sharded and chunked": mj.sharded(estimator=mj.chunked(1)),
    "parallel": mj.parallel(4),
}


def tasks_of(row: Row, key: jax.Array, meta_batch: int) -> mj.Task:
    return jax.vmap(row.sample)(jax.random.split(key, meta_batch))


def some_meta_params(row: Row, key: jax.Array):
    """Meta-parameters that are no longer those of `init`, so that no gradient is zero by symmetry."""
    meta_params = row.learner.init(key, row.sample(key).support.x)
    leaves, tree = jax.tree.flatten(meta_params)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
    moved = [
        leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def query_predictions(row: Row, meta_params, task: mj.Task, key: jax.Array) -> jax.Array:
    adapted = row.learner.adapt(meta_params, task.support, key)
    return row.learner.predict(adapted, task.query.x)
