"""What the contract tests are run on: a new learner, source, adjoint or estimator is one more row."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import metajax as mj
from metajax.learners.beside_support import BesideSupportState
from metajax.learners.cavia import CaviaState
from metajax.learners.parts import Parts
from metajax.nn.normalisation import BatchStatistics, SupportStatistics, TaskNorm
from metajax.trees import by_path
from metajax.types import Estimator


class Smooth(nn.Module):
    """A small network whose second derivatives are nowhere zero by accident, unlike ReLU's."""

    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.tanh(nn.Dense(5)(x)))


class Normalised(nn.Module):
    """One convolution of ours and normalisation, by which predictions may depend on the batch."""

    normalise: Callable[[], nn.Module] = BatchStatistics

    @nn.compact
    def __call__(self, x):
        layer = nn.Conv(4, (3, 3), strides=(2, 2), conv_general_dilated=mj.conv_general_dilated)
        x = nn.tanh(self.normalise()(layer(x)))
        return nn.Dense(3)(x.reshape(len(x), -1))


def normalised(normalise: Callable[[], nn.Module] = BatchStatistics) -> mj.Model:
    net = Normalised(normalise)
    groups = {"shifts": by_path(lambda path: "BatchStatistics" in path)}
    return mj.Model(net.init, net.apply, groups=groups)


def smooth(outputs: int) -> mj.Model:
    net = Smooth(outputs)
    groups = {"last": by_path(lambda path: "Dense_1" in path)}
    return mj.Model(net.init, net.apply, groups=groups)


POINTS = np.asarray(
    np.random.default_rng(0).normal(size=(8, 10, 3)) + np.arange(8)[:, None, None], np.float32
)
"""Eight classes of ten points of the plane."""

# Sources are traced once for all laws and rows.
REGRESSION = jax.jit(mj.tasks.sinusoid(shot=4, query_shot=6))
CLASSIFICATION = jax.jit(mj.tasks.episodes(POINTS, way=3, shot=2, query_shot=2))

INNER = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.05, eps_root=1e-8),
    "clipped": optax.chain(mj.clip_by_global_norm(0.5), optax.sgd(0.1)),
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
    """A learner with a loss and tasks for it.

    start: what zero steps give, of `(meta_params, support, key)`; None without an inner loop.
    trains: whether there is anything to meta-learn.
    estimator: what trains it, where there is no derivative.
    ordered: whether the support set is a sequence, whose order matters.
    """

    learner: mj.Learner
    loss: Callable[[Any, Any], jax.Array]
    sample: Callable[[jax.Array], mj.Task]
    start: Callable[[Any, mj.Examples, jax.Array], Any] | None
    trains: bool = True
    estimator: Estimator = jax.value_and_grad
    ordered: bool = False


def _images(learner, start=lambda m, *_: m):
    images = np.random.default_rng(1).uniform(size=(6, 4, 6, 6, 1))
    sample = mj.tasks.episodes(images.astype(np.float32), way=3, shot=1, query_shot=2)
    return Row(learner, mj.cross_entropy, jax.jit(sample), start)


def _regresses(learner, start=lambda m, *_: m, **options):
    return Row(learner, mj.mse, REGRESSION, start, **options)


def _classifies(learner, start=lambda m, *_: m, **options):
    return Row(learner, mj.cross_entropy, CLASSIFICATION, start, **options)


def _of_start(m, *_):
    return m.start


SGD = optax.sgd(0.1)
CONTEXT = mj.concatenated(smooth(1), 3)
ADAPTERS = mj.lora(smooth(3), 2)
SCALED = mj.from_collection(nn.Sequential([nn.Dense(5), mj.Film(), nn.tanh, nn.Dense(3)]))
HEAD = mj.linear(3, start="lecun")
TINY: dict[str, Any] = {"width": 4, "heads": 2}
NET = smooth(4)


def _class_means(m, support, _):
    means = [smooth(4).apply(m, support.x)[support.y == c].mean(axis=0) for c in range(3)]
    weights = jnp.zeros((6, 4)).at[:3].set(2 * jnp.stack(means))
    biases = jnp.full((1, 6), -1e9).at[0, :3].set(-jnp.sum(jnp.stack(means) ** 2, axis=1))
    return Parts(m, (weights.T, biases))


def _fresh_head(m, *_):
    return Parts(m, mj.linear(3).init(jax.random.key(0), jnp.zeros((1, 4))))


def _is_shift(path: str) -> bool:
    return "BatchStatistics" in path


def _first_shifts(m, *_):
    return jax.tree.map_with_path(
        lambda path, leaf: leaf[0] if _is_shift(jax.tree_util.keystr(path)) else leaf, m.start
    )


def _kernel_mean(log_width, support_x, support_y, x):
    apart = (x - support_x.T) ** 2 / np.exp(2 * log_width)
    weights = np.exp(-apart) + 1e-6
    return weights @ support_y / weights.sum(axis=1, keepdims=True)


EVOLUTION = mj.evolution(4, 0.1)

LEARNERS = {
    "maml": _regresses(mj.maml(smooth(1), mj.mse, SGD, 2)),
    "fomaml": _regresses(mj.maml(smooth(1), mj.mse, SGD, 2, adjoint=mj.first_order)),
    "maml, adam inside": _classifies(mj.maml(smooth(3), mj.cross_entropy, INNER["adam"], 3)),
    "maml, batch statistics": _images(mj.maml(normalised(), mj.cross_entropy, SGD, 1)),
    "maml, support statistics": _images(
        mj.beside_support(
            mj.maml(normalised(partial(SupportStatistics, 3)), mj.cross_entropy, SGD, 1)
        ),
        lambda m, support, _: BesideSupportState(m, support.x),
    ),
    "maml, TaskNorm": _images(
        mj.beside_support(mj.maml(normalised(partial(TaskNorm, 3)), mj.cross_entropy, SGD, 1)),
        lambda m, support, _: BesideSupportState(m, support.x),
    ),
    "maml, mixed mode": _regresses(mj.maml(smooth(1), mj.mse, SGD, 2, adjoint=mj.mixed_mode)),
    "anil": _classifies(mj.anil(smooth(4), mj.linear(3), mj.cross_entropy, SGD, 2)),
    "boil": _classifies(mj.boil(smooth(4), HEAD, mj.cross_entropy, SGD, 2)),
    "meta_sgd": _regresses(mj.meta_sgd(smooth(1), mj.mse, 2, rate=0.1), _of_start),
    "mamlpp": _regresses(mj.mamlpp(smooth(1), mj.mse, 2, rate=0.1), _of_start),
    "mamlpp, shifts of every step": _images(
        mj.mamlpp(normalised(), mj.cross_entropy, 2, rate=0.1, per_step="shifts"), _first_shifts
    ),
    "meta_curvature": _regresses(mj.meta_curvature(smooth(1), mj.mse, 2, rate=0.1), _of_start),
    "alfa": _regresses(mj.alfa(smooth(1), mj.mse, 2, rate=0.1), _of_start),
    "warp": _classifies(mj.warp(smooth(3), mj.cross_entropy, SGD, 2, frozen="last")),
    "imaml": _regresses(mj.imaml(smooth(1), mj.mse, SGD, 5, strength=2.0)),
    "cavia": _regresses(
        mj.cavia(CONTEXT, mj.mse, SGD, 2), lambda m, *_: CaviaState(m, CONTEXT.context(m))
    ),
    "cavia, low rank": _classifies(
        mj.cavia(ADAPTERS, mj.cross_entropy, SGD, 2),
        lambda m, *_: CaviaState(m, ADAPTERS.context(m)),
    ),
    "cavia, scale and shift": _classifies(
        mj.cavia(SCALED, mj.cross_entropy, SGD, 2), lambda m, *_: CaviaState(m, SCALED.context(m))
    ),
    "proto_maml": _classifies(
        mj.proto_maml(smooth(4), mj.cross_entropy, optax.sgd(0.01), 2), _class_means
    ),
    "protonet": _classifies(mj.protonet(smooth(4)), None),
    "simpleshot": _classifies(mj.simpleshot(smooth(4)), None),
    "matching": _classifies(mj.matching(smooth(4)), None),
    "relation": _classifies(mj.relation(smooth(4), smooth(1)), None),
    "r2d2": _classifies(mj.r2d2(smooth(4)), None),
    "lrd2": _classifies(mj.lrd2(smooth(4), 3), None),
    "ridge": _regresses(mj.ridge(smooth(4), noise=0.5), None),
    "maml, shrunk loss": _regresses(mj.maml(smooth(1), mj.losses.shrunk(mj.mse, 2.0), SGD, 2)),
    "ensemble": _classifies(
        mj.ensemble(mj.maml(smooth(3), mj.cross_entropy, SGD, 2), 2),
        lambda m, *_: jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), m),
    ),
    "neural_process": Row(
        mj.neural_process(smooth(6), smooth(2)), mj.gaussian_nll, REGRESSION, None
    ),
    "neural_process, shrunk": Row(
        mj.neural_process(smooth(6), smooth(2), embed=smooth(3), strength=2.0),
        mj.gaussian_nll,
        REGRESSION,
        None,
    ),
    "attentive_process": Row(
        mj.attentive_process(NET, NET, smooth(2), heads=2), mj.gaussian_nll, REGRESSION, None
    ),
    "transformer": _classifies(mj.transformer(mj.pixels, 3, layers=1, **TINY), None),
    "prior_fitted": Row(
        mj.prior_fitted(mj.pixels, 5, layers=1, **TINY),
        mj.binned_nll(jnp.linspace(-5, 5, 6)),
        REGRESSION,
        None,
    ),
    "snail": _classifies(
        mj.snail(mj.pixels, 3, 2, width=4, filters=2, attention=((2, 2), (2, 2))),
        None,
        ordered=True,
    ),
    "recurrent": _classifies(mj.recurrent(mj.pixels, 3, width=4), None, ordered=True),
    "memory_augmented": _classifies(
        mj.memory_augmented(mj.pixels, 3, width=4, slots=8, word=3, reads=2), None, ordered=True
    ),
    "from_scratch": _regresses(
        mj.from_scratch(smooth(1), mj.mse, SGD, 2),
        lambda m, support, key: smooth(1).init(jax.random.split(key)[0], support.x),
        trains=False,
    ),
    "learned, from scratch": _regresses(
        mj.learned(
            lambda inner: mj.from_scratch(smooth(1), mj.mse, inner, 2),
            mj.optimizers.lstm(hidden=2, layers=1),
        ),
        lambda m, support, key: smooth(1).init(jax.random.split(key)[0], support.x),
    ),
    "learned, maml": _classifies(
        mj.learned(
            lambda inner: mj.maml(smooth(3), mj.cross_entropy, inner, 2),
            mj.optimizers.hyperparameters(
                optax.sgd, positive={"learning_rate": 0.1}, fraction={"momentum": 0.5}
            ),
        ),
        lambda m, *_: m.learner,
    ),
    "learned_loss": _classifies(mj.learned_loss(smooth(3), smooth(1), SGD, 2), _of_start),
    "nearest_neighbour": _classifies(mj.nearest_neighbour(mj.pixels), None, trains=False),
    "linear_probe": _classifies(
        mj.linear_probe(smooth(4), mj.cross_entropy, SGD, 2, columns=3), _fresh_head
    ),
    "finetune": _classifies(
        mj.finetune(smooth(4), mj.cross_entropy, SGD, 2, columns=3), _fresh_head
    ),
    "knn": _classifies(mj.knn(mj.pixels, 2, rank=1), None, estimator=EVOLUTION),
    "decision_tree": _classifies(mj.decision_tree(), None, estimator=EVOLUTION),
    "black_box": _regresses(
        mj.black_box(_kernel_mean, lambda key, x: jnp.zeros(()), 1), None, estimator=EVOLUTION
    ),
}

ESTIMATORS = {
    "value_and_grad": jax.value_and_grad,
    "chunked": mj.chunked(2),
    "chunked, one at a time": mj.chunked(1),
    "clipped at more than there is": mj.clipped(1e6),
    "sharded": mj.sharded(mj.task_mesh(4)),
    "sharded and chunked": mj.sharded(mj.task_mesh(4), mj.chunked(1)),
    "parallel": mj.parallel(4, mesh=mj.task_mesh(4)),
    "automatic": mj.automatic(mj.task_mesh()),
}


def tasks_of(row: Row, key: jax.Array, meta_batch: int) -> mj.Task:
    return jax.vmap(row.sample)(jax.random.split(key, meta_batch))


def padded_with_masked(tasks: mj.Task, support: int, query: int, fill: float) -> mj.Task:
    """A batch of tasks with so many masked examples appended to their sets."""

    def pad(examples: mj.Examples, more: int) -> mj.Examples:
        def longer(leaf):
            is_float = jnp.issubdtype(leaf.dtype, jnp.inexact)
            shape = (leaf.shape[0], more, *leaf.shape[2:])
            return jnp.concatenate([leaf, jnp.full(shape, fill if is_float else -7, leaf.dtype)], 1)

        batch, number = jax.tree.leaves(examples.x)[0].shape[:2]
        mask = jnp.tile(jnp.arange(number + more) < number, (batch, 1))
        x, y = jax.tree.map(longer, (examples.x, examples.y))
        return mj.Examples(x, y, mask)

    return mj.Task(pad(tasks.support, support), pad(tasks.query, query))


def some_meta_params(row: Row, key: jax.Array):
    """Meta-parameters that are no longer those of `init`, so that no gradient is zero by symmetry."""
    return _moved(row, jax.random.key_data(key).tobytes())


@cache
def _moved(row: Row, key_data: bytes):
    """Made once, because many laws start from them."""

    @jax.jit
    def moved(key):
        meta_params = row.learner.init(key, row.sample(key).support.x)
        leaves, tree = jax.tree.flatten(meta_params)
        keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
        return jax.tree.unflatten(
            tree,
            [
                leaf + 0.3 * jax.random.normal(k, leaf.shape)
                for leaf, k in zip(leaves, keys, strict=True)
            ],
        )

    return moved(jax.random.wrap_key_data(jnp.asarray(np.frombuffer(key_data, np.uint32))))


@cache
def predictor(row: Row) -> Callable[[Any, mj.Task, jax.Array], jax.Array]:
    """`query_predictions` of a row, compiled once for all laws."""
    return jax.jit(partial(query_predictions, row))


def query_predictions(row: Row, meta_params, task: mj.Task, key: jax.Array) -> jax.Array:
    adapted = row.learner.adapt(meta_params, task.support, key)
    return row.learner.predict(adapted, task.query.x)
