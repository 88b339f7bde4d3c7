"""The padding law: masked examples, whatever they hold and wherever they are, change nothing."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract.tables import smooth

import metajax as mj

TOKENS = mj.Model(
    init=lambda key, x: {"table": jax.random.normal(key, (5, 4))},
    apply=lambda params, x: jnp.einsum("nt,ntd->nd", x["weight"], params["table"][x["ids"]]),
)
"""Features `(n, 4)` of inputs that are a dictionary of token ids and their weights."""
EMBED = {"array": smooth(4), "dict": TOKENS}
TINY: dict[str, Any] = {"width": 4, "heads": 2, "layers": 1}
SNAIL: dict[str, Any] = {"width": 4, "filters": 2, "attention": ((2, 2), (2, 2))}
MEMORY: dict[str, Any] = {"width": 4, "slots": 5, "word": 3, "reads": 2}
ENCODE = smooth(4)

CLASSIFIERS = {
    "protonet": mj.protonet,
    "matching": mj.matching,
    "relation": lambda embed: mj.relation(embed, smooth(1)),
    "relation, mean": lambda embed: mj.relation(embed, smooth(1), pool="mean"),
    "r2d2": lambda embed: mj.r2d2(embed),
    "r2d2, bias": lambda embed: mj.r2d2(embed, bias=True),
    "lrd2": lambda embed: mj.lrd2(embed, 3),
    "lrd2, bias": lambda embed: mj.lrd2(embed, 3, bias=True),
    "knn": lambda embed: mj.knn(embed, 3, rank=1, vote="distance"),
    "decision_tree": lambda embed: mj.decision_tree(2, embed),
    "nearest_neighbour": mj.nearest_neighbour,
    "transformer": lambda embed: mj.transformer(embed, 3, **TINY),
    "transformer, causal": lambda embed: mj.transformer(embed, 3, causal=True, **TINY),
    "snail": lambda embed: mj.snail(embed, 3, 7, **SNAIL),
    "recurrent": lambda embed: mj.recurrent(embed, 3, width=4),
    "memory_augmented": lambda embed: mj.memory_augmented(embed, 3, **MEMORY),
}
REGRESSORS = {
    "neural_process": lambda embed: mj.neural_process(ENCODE, smooth(2), embed=embed),
    "attentive_process": lambda embed: mj.attentive_process(
        ENCODE, ENCODE, smooth(2), heads=2, embed=embed
    ),
    "transformer": lambda embed: mj.transformer(embed, 1, **TINY),
    "prior_fitted": lambda embed: mj.prior_fitted(embed, 5, **TINY),
    "snail": lambda embed: mj.snail(embed, 1, 7, **SNAIL),
    "recurrent": lambda embed: mj.recurrent(embed, 1, width=4),
    "memory_augmented": lambda embed: mj.memory_augmented(embed, 1, **MEMORY),
}
LOSSES = {
    "neural_process": mj.gaussian_nll,
    "attentive_process": mj.gaussian_nll,
    "prior_fitted": mj.binned_nll(jnp.linspace(-3, 3, 6)),
}
OPTIMA = {
    "linear_gaussian_optimum": (mj.linear_gaussian_optimum(), mj.mse),
    "gaussian_process_optimum": (mj.gaussian_process_optimum(), mj.gaussian_nll),
}


class Row(NamedTuple):
    """A learner, its loss, the inputs and the targets."""

    learner: mj.Learner
    loss: Any
    inputs: str
    targets: str


ROWS = {
    f"{name}, {inputs}, integer": Row(build(EMBED[inputs]), mj.cross_entropy, inputs, "integer")
    for name, build in CLASSIFIERS.items()
    for inputs in EMBED
    if inputs == "array" or "," not in name  # Of variants, which share how they read inputs, one.
}
ROWS |= {
    f"{name}, {inputs}, float": Row(build(EMBED[inputs]), LOSSES.get(name, mj.mse), inputs, "float")
    for name, build in REGRESSORS.items()
    for inputs in EMBED
}
ROWS |= {f"{name}, array, float": Row(*pair, "array", "float") for name, pair in OPTIMA.items()}


def examples(key, inputs: str, targets: str) -> mj.Examples:
    """Six examples of three classes."""
    x_key, id_key, y_key = jax.random.split(key, 3)
    labels = jnp.array([0, 1, 2, 1, 0, 2])
    x: Any = jax.random.normal(x_key, (6, 3)) + labels[:, None]
    if inputs == "dict":
        x = {"ids": jax.random.randint(id_key, (6, 3), 0, 5), "weight": x}
    return mj.Examples(x, labels if targets == "integer" else jax.random.normal(y_key, (6, 1)))


def with_masked(given: mj.Examples, fill: float) -> mj.Examples:
    """Two masked examples in the middle and one at the end; integers under the mask are -7."""

    def longer(leaf):
        is_float = jnp.issubdtype(leaf.dtype, jnp.inexact)
        masked = jnp.full((1, *leaf.shape[1:]), fill if is_float else -7, leaf.dtype)
        return jnp.concatenate([leaf[:3], masked, masked, leaf[3:], masked])

    mask = jnp.array([1, 1, 1, 0, 0, 1, 1, 1, 0], bool)
    x, y = jax.tree.map(longer, (given.x, given.y))
    return mj.Examples(x, y, mask)


def moved(meta_params, key):
    """Meta-parameters none of which is at its initial value, so that no gradient is 0 by symmetry."""
    leaves, tree = jax.tree.flatten(meta_params)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(
        tree,
        [
            leaf + 0.3 * jax.random.normal(k, leaf.shape)
            for leaf, k in zip(leaves, keys, strict=False)
        ],
    )


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_masked_examples_change_nothing(row, key):
    support_key, query_key, init_key = jax.random.split(key, 3)
    task = mj.Task(*(examples(k, row.inputs, row.targets) for k in (support_key, query_key)))
    meta_params = moved(row.learner.init(init_key, task.support.x), query_key)
    objective = mj.query_loss(row.learner, row.loss)

    @jax.jit
    def answer(task, x):
        adapted = row.learner.adapt(meta_params, task.support, key)
        tasks = jax.tree.map(lambda leaf: leaf[None], task)
        predictions = row.learner.predict(adapted, x)
        return predictions, jax.value_and_grad(objective)(meta_params, tasks, key)

    predictions, loss_and_gradient = answer(task, task.query.x)
    assert float(jnp.std(predictions, axis=0).max()) > 1e-3  # Not all queries are alike.
    existing = tuple(slice(0, length) for length in predictions.shape)
    for fill in (0.0, jnp.nan):
        padded = mj.Task(with_masked(task.support, fill), with_masked(task.query, fill))
        found, found_loss_and_gradient = answer(padded, task.query.x)
        chex.assert_trees_all_close(found[existing], predictions, rtol=1e-4, atol=1e-5)
        chex.assert_trees_all_close(
            found_loss_and_gradient, loss_and_gradient, rtol=1e-4, atol=1e-5
        )
    # Without any support example, predictions and hypergradients are finite.
    nothing = padded.support._replace(mask=jnp.zeros(9, bool))
    for leaf in jax.tree.leaves(answer(padded._replace(support=nothing), task.query.x)):
        assert np.isfinite(leaf).all()


def test_masked_examples_do_not_reach_a_black_box(key):
    def mean(scale, support_x, support_y, x):
        return np.full((len(x), 1), scale * support_y.mean()) + support_x.sum()

    learner = mj.black_box(mean, lambda key, x: jnp.ones(()), outputs=1)
    task = mj.Task(*(examples(k, "array", "float") for k in jax.random.split(key)))
    init, estimate = mj.evolution(2, 0.1)(mj.query_loss(learner, mj.mse))

    @jax.jit
    def of(task):
        tasks = jax.tree.map(lambda leaf: leaf[None], task)
        return estimate(jnp.array(2.0), init(jnp.array(2.0), tasks, key), tasks, key)

    padded = mj.Task(with_masked(task.support, jnp.nan), with_masked(task.query, jnp.nan))
    chex.assert_trees_all_close(of(padded), of(task), rtol=1e-4)
