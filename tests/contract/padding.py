"""The padding law's table: every learner, on every kind of example it takes, with masked examples appended."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contract.tables import smooth

import metajax as mj
from metajax.nn.contexts import Conditioned

WAY, VOCABULARY = 3, 7


class Kind(NamedTuple):
    """A kind of examples: their inputs, and whether targets are labels or numbers."""

    inputs: Callable[[jax.Array], Any]
    labels: bool


def _as_dict(x):
    return {"left": x[:, :1], "right": x[:, 1:]}


def _as_tokens(x):
    return jnp.floor(jnp.abs(10 * x)).astype(int) % VOCABULARY


KINDS = {
    "float": Kind(lambda x: x, labels=False),
    "integer": Kind(lambda x: x, labels=True),
    "dict": Kind(_as_dict, labels=True),
    "dict, float targets": Kind(_as_dict, labels=False),
    "tokens": Kind(_as_tokens, labels=True),
}


def _features(x: Any) -> jax.Array:
    """Numbers `(n, d)` of inputs of any kind."""
    if isinstance(x, dict):
        return jnp.concatenate([x["left"], x["right"]], axis=1)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jax.nn.one_hot(x, VOCABULARY).reshape(len(x), -1)
    return x


def reading(model: mj.Model) -> mj.Model:
    """The model on inputs of any kind."""
    return mj.Model(
        lambda key, x: model.init(key, _features(x)),
        lambda params, x: model.apply(params, _features(x)),
        groups=model.groups,
    )


SGD = optax.sgd(0.1)
TINY: dict[str, Any] = {"width": 4, "heads": 2}


class Make(NamedTuple):
    """How a learner is made of outputs and a loss, and which targets and inputs it takes."""

    learner: Callable[[int, Any], mj.Learner]
    labels: bool = True
    numbers: bool = True
    dicts: bool = True
    loss: Any = None


def _net(outputs: int) -> mj.Model:
    net = smooth(outputs)
    return reading(net._replace(groups={"first": partial(_in_first, net)}))


def _in_first(net, params):
    del net
    return jax.tree.map_with_path(lambda path, _: "Dense_0" in jax.tree_util.keystr(path), params)


def _context(outputs: int):
    inner = mj.concatenated(smooth(outputs), 3)
    return Conditioned(
        lambda key, x: inner.init(key, _features(x)),
        inner.context,
        lambda params, context, x: inner.apply(params, context, _features(x)),
    )


BODY = reading(smooth(4))
HEAD = partial(mj.linear, start="lecun")
LEARNERS = {
    "maml": Make(lambda n, loss: mj.maml(_net(n), loss, SGD, 2)),
    "fomaml": Make(lambda n, loss: mj.maml(_net(n), loss, SGD, 2, adjoint=mj.first_order)),
    "maml, remat": Make(lambda n, loss: mj.maml(_net(n), loss, SGD, 2, adjoint=mj.remat)),
    "maml, mixed mode": Make(lambda n, loss: mj.maml(_net(n), loss, SGD, 2, adjoint=mj.mixed_mode)),
    "maml, truncated": Make(
        lambda n, loss: mj.maml(_net(n), loss, SGD, 2, adjoint=mj.truncated(1))
    ),
    "anil": Make(lambda n, loss: mj.anil(BODY, HEAD(n), loss, SGD, 2)),
    "boil": Make(lambda n, loss: mj.boil(BODY, HEAD(n), loss, SGD, 2)),
    "meta_sgd": Make(lambda n, loss: mj.meta_sgd(_net(n), loss, 2, rate=0.1)),
    "mamlpp": Make(lambda n, loss: mj.mamlpp(_net(n), loss, 2, rate=0.1, per_step="first")),
    "meta_curvature": Make(lambda n, loss: mj.meta_curvature(_net(n), loss, 2, rate=0.1)),
    "alfa": Make(lambda n, loss: mj.alfa(_net(n), loss, 2, rate=0.1)),
    "warp": Make(lambda n, loss: mj.warp(_net(n), loss, SGD, 2, frozen="first")),
    "imaml": Make(lambda n, loss: mj.imaml(_net(n), loss, SGD, 5, strength=2.0)),
    "imaml, neumann": Make(
        lambda n, loss: mj.imaml(
            _net(n), loss, SGD, 5, strength=2.0, adjoint=mj.implicit(mj.neumann(3, 0.1))
        )
    ),
    "cavia": Make(lambda n, loss: mj.cavia(_context(n), loss, SGD, 2)),
    "learned": Make(
        lambda n, loss: mj.learned(
            lambda inner: mj.maml(_net(n), loss, inner, 2),
            mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.1}),
        )
    ),
    "learned_loss": Make(lambda n, loss: mj.learned_loss(_net(n), smooth(1), SGD, 2)),
    "from_scratch": Make(lambda n, loss: mj.from_scratch(_net(n), loss, SGD, 2)),
    "linear_probe": Make(lambda n, loss: mj.linear_probe(BODY, loss, SGD, 2, columns=n)),
    "finetune": Make(lambda n, loss: mj.finetune(BODY, loss, SGD, 2, columns=n)),
    "beside_support": Make(lambda n, loss: mj.beside_support(mj.maml(_net(n), loss, SGD, 2))),
    "ensemble": Make(lambda n, loss: mj.ensemble(mj.maml(_net(n), loss, SGD, 2), 2), numbers=False),
    "relabelled": Make(
        lambda n, loss: mj.relabelled(mj.maml(_net(n), loss, SGD, 2), n), numbers=False
    ),
    "proto_maml": Make(lambda n, loss: mj.proto_maml(BODY, loss, SGD, 2), numbers=False),
    "protonet": Make(lambda n, loss: mj.protonet(BODY), numbers=False),
    "simpleshot": Make(lambda n, loss: mj.simpleshot(BODY), numbers=False),
    "matching": Make(lambda n, loss: mj.matching(BODY), numbers=False),
    "relation": Make(lambda n, loss: mj.relation(BODY, smooth(1)), numbers=False),
    "r2d2": Make(lambda n, loss: mj.r2d2(BODY), numbers=False),
    "lrd2": Make(lambda n, loss: mj.lrd2(BODY, 3), numbers=False),
    "ridge": Make(lambda n, loss: mj.ridge(BODY, outputs=n), labels=False),
    "maml, shrunk loss": Make(
        lambda n, loss: mj.maml(_net(n), mj.losses.shrunk(loss, 2.0), SGD, 2)
    ),
    "nearest_neighbour": Make(lambda n, loss: mj.nearest_neighbour(BODY), numbers=False),
    "knn": Make(lambda n, loss: mj.knn(BODY, 2, vote="distance"), numbers=False),
    "decision_tree": Make(lambda n, loss: mj.decision_tree(embed=BODY), numbers=False),
    "transformer": Make(lambda n, loss: mj.transformer(BODY, n, layers=1, **TINY)),
    "prior_fitted": Make(
        lambda n, loss: mj.prior_fitted(BODY, 5, layers=1, **TINY),
        labels=False,
        loss=mj.binned_nll(jnp.linspace(-5, 5, 6)),
    ),
    "snail": Make(
        lambda n, loss: mj.snail(BODY, n, 8, width=4, filters=2, attention=((2, 2), (2, 2)))
    ),
    "recurrent": Make(lambda n, loss: mj.recurrent(BODY, n, width=4)),
    "memory_augmented": Make(
        lambda n, loss: mj.memory_augmented(BODY, n, width=4, slots=8, word=3, reads=2)
    ),
    "neural_process": Make(
        lambda n, loss: mj.neural_process(smooth(4), smooth(2), embed=BODY),
        labels=False,
        loss=mj.gaussian_nll,
    ),
    "neural_process, shrunk": Make(
        lambda n, loss: mj.neural_process(smooth(4), smooth(2), embed=BODY, strength=2.0),
        labels=False,
        loss=mj.gaussian_nll,
    ),
    "attentive_process": Make(
        lambda n, loss: mj.attentive_process(smooth(4), smooth(4), smooth(2), heads=2, embed=BODY),
        labels=False,
        loss=mj.gaussian_nll,
    ),
    "linear_gaussian_optimum": Make(
        lambda n, loss: mj.linear_gaussian_optimum(), labels=False, dicts=False
    ),
    "gaussian_process_optimum": Make(
        lambda n, loss: mj.gaussian_process_optimum(),
        labels=False,
        dicts=False,
        loss=mj.gaussian_nll,
    ),
}


class Case(NamedTuple):
    """A learner and its loss, its meta-parameters, and a batch of tasks."""

    learner: mj.Learner
    loss: Any
    meta_params: Any
    tasks: mj.Task


def takes(make: Make, kind: Kind) -> bool:
    plain = kind is KINDS["float"] or kind is KINDS["integer"]
    once = (
        kind is not KINDS["dict, float targets"] or not make.labels
    )  # dict has labels where it can
    return (make.labels if kind.labels else make.numbers) and (plain or make.dicts) and once


def case(make: Make, kind: Kind, key: jax.Array) -> Case:
    """Two tasks of this kind, and meta-parameters away from where they start."""
    outputs, loss = (WAY, mj.cross_entropy) if kind.labels else (1, mj.mse)
    loss = make.loss or loss
    x_key, y_key, init_key, move_key = jax.random.split(key, 4)
    x = jax.random.normal(x_key, (2, 12, 2))
    labels = jnp.tile(jnp.arange(WAY), (2, 4))
    y = labels if kind.labels else jax.random.normal(y_key, (2, 12, 1)) + x[..., :1]
    inputs = jax.vmap(kind.inputs)(x + (labels[..., None] if kind.labels else 0))
    support, query = (
        jax.tree.map(lambda leaf, part=part: leaf[:, part], mj.Examples(inputs, y))
        for part in (slice(0, 6), slice(6, 12))
    )
    learner = make.learner(outputs, loss)
    start = learner.init(init_key, jax.tree.map(lambda leaf: leaf[0], support.x))
    leaves, tree = jax.tree.flatten(start)
    keys = jax.random.split(move_key, max(1, len(leaves)))
    moved = [
        leaf + 0.2 * jax.random.normal(k, jnp.shape(leaf))
        for leaf, k in zip(leaves, keys, strict=False)
    ]
    return Case(learner, loss, jax.tree.unflatten(tree, moved), mj.Task(support, query))


def with_masked(examples: mj.Examples, fill: float) -> mj.Examples:
    """A batch with masked examples after the first of each task and at its end.

    They hold `fill`, or -7 where numbers are integers.
    """

    def longer(leaf):
        value = fill if jnp.issubdtype(leaf.dtype, jnp.inexact) else -7
        masked = jnp.full((leaf.shape[0], 2, *leaf.shape[2:]), value, leaf.dtype)
        return jnp.concatenate([leaf[:, :1], masked, leaf[:, 1:], masked[:, :1]], axis=1)

    x, y = jax.tree.map(longer, (examples.x, examples.y))
    batch, number = jax.tree.leaves(y)[0].shape[:2]
    mask = jnp.array([True, False, False] + (number - 4) * [True] + [False])
    return mj.Examples(x, y, jnp.tile(mask, (batch, 1)))


def differences(case: Case, fills: Sequence[float], key: jax.Array) -> list[float]:
    """The greatest change that masked examples make, for each of the numbers that they may hold.

    Of predictions, loss and hypergradient, relative to 1 or to the size of what changes, where that is
    greater. The loss is taken after several numbers of steps where there are any.
    """
    several = None if case.learner.num_steps is None else (1, 2)
    objective = mj.query_loss(case.learner, case.loss, num_steps=several)

    @jax.jit
    def measured(tasks):
        def predict(support, x):
            adapted = case.learner.adapt(case.meta_params, support, key)
            return case.learner.predict(adapted, x)

        value, gradient = jax.value_and_grad(objective)(case.meta_params, tasks, key)
        return jax.vmap(predict)(tasks.support, case.tasks.query.x), value, gradient

    expected = measured(case.tasks)
    existing = tuple(slice(0, length) for length in expected[0].shape)

    def change(fill):
        found = measured(mj.Task(*(with_masked(part, fill) for part in case.tasks)))
        pairs = zip(
            jax.tree.leaves((found[0][existing], *found[1:])),
            jax.tree.leaves(expected),
            strict=True,
        )
        return max(
            float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b)), initial=0)) for a, b in pairs
        )

    return [change(fill) for fill in fills]
