"""Decision trees with learned preferences, grown on a few examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import check_labels, class_log_probabilities, one_hot
from metajax.masks import filled
from metajax.nn.models import pixels
from metajax.types import Learner, Model, Params


class DecisionTreeParams(NamedTuple):
    """The meta-parameters of `decision_tree`.

    embed: The weights of the embedding.
    log_importance: `(d,)`; the gain of a split by a feature is multiplied by its exponential.
    cut: sigmoid(cut) is the position of a threshold between the two values it separates, initially
      the middle.
    log_smoothing: exp(log_smoothing) is the number of examples of each class in a leaf before any is
      counted.
    """

    embed: Params
    log_importance: jax.Array
    cut: jax.Array
    log_smoothing: jax.Array


class DecisionTreeState(NamedTuple):
    """A grown tree, its inner nodes in breadth-first order.

    embed: The weights of the embedding.
    feature: `(2^depth - 1,)`, the feature that a node compares.
    threshold: `(2^depth - 1,)`; an example with a greater value goes right.
    leaves: `(2^depth, columns)`, log-probabilities.
    """

    embed: Params
    feature: jax.Array
    threshold: jax.Array
    leaves: jax.Array


def decision_tree(depth: int = 1, embed: Model = pixels) -> Learner:
    """Learns preferences for growing a tree of threshold splits on each support set.

    A node takes the split with the greatest gain: the decrease of the Gini impurity over its examples,
    times the learned importance of the feature. Choices have no derivative: importances and cuts have
    a hypergradient of exactly 0. Meta-learn them by `evolution`.

    Args:
      depth: The number of splits from the root to a leaf, at least 1; with 1 the tree is a stump.
      embed: Maps inputs to features `(n, d)`; `pixels` for the inputs themselves.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are
      `DecisionTreeParams`. Predictions are log-probabilities `(n, columns)`, with as many columns as
      the support has examples; a class without examples gets the lowest finite value. A support
      example whose label is negative or beyond the columns is ignored.

    Raises:
      ValueError: If `depth` is below 1; from `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.decision_tree()
      >>> support = mj.Examples(x=jnp.array([[0.0], [1.0], [3.0], [9.0]]), y=jnp.array([0, 0, 1, 1]))
      >>> key, grow = jax.random.key(0), jax.jit(learner.adapt)
      >>> tree = grow(learner.init(key, support.x), support, key)
      >>> tree.threshold.tolist(), jnp.exp(learner.predict(tree, jnp.array([[2.5]])))[0, :2].tolist()
      ([2.0], [0.25, 0.75])

    Reference:
      Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, chapter 4.
    """
    embed = checks.as_model("decision_tree", embed)
    depth = checks.count("decision_tree", "depth", depth)

    def init(key, x):
        params = embed.init(key, x)
        d = jax.eval_shape(embed.apply, params, x).shape[-1]
        return DecisionTreeParams(params, jnp.zeros(d), jnp.zeros(()), jnp.zeros(()))

    def adapt(meta_params, support, key):
        del key
        check_labels("decision_tree", support.y)
        x, labels, mask = filled(support)
        features, classes = embed.apply(meta_params.embed, x), one_hot(labels, mask)
        known = classes.sum(axis=1) > 0
        node, splits = jnp.zeros(len(classes), int), []
        split_nodes = jax.vmap(_best_split, in_axes=(None, None, None, 0))
        for level in range(depth):
            member = (node[None] == jnp.arange(2**level)[:, None]) & known[None]
            feature, threshold = split_nodes(meta_params, features, classes, member)
            splits.append((feature, threshold))
            node = _child(feature, threshold, node, features)
        counts = jax.nn.one_hot(node, 2**depth).T @ classes
        present = classes.sum(axis=0) > 0
        leaves = class_log_probabilities(counts, present, meta_params.log_smoothing)
        feature, threshold = (jnp.concatenate(part) for part in zip(*splits, strict=True))
        return DecisionTreeState(meta_params.embed, feature, threshold, leaves)

    def predict(adapted, x):
        features = embed.apply(adapted.embed, x)
        node = jnp.zeros(len(features), int)
        for level in range(depth):
            of_level = slice(2**level - 1, 2 ** (level + 1) - 1)
            node = _child(adapted.feature[of_level], adapted.threshold[of_level], node, features)
        return adapted.leaves[node]

    return Learner(init, adapt, predict)


def _best_split(
    meta_params: DecisionTreeParams, features: jax.Array, classes: jax.Array, member: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The feature and the threshold of the best split of a node.

    Args:
      meta_params: Preferences.
      features: `(n, d)`.
      classes: One-hot rows `(n, columns)`.
      member: `(n,)` booleans, which examples are in the node.
    """
    values = jnp.where(member[:, None], features, jnp.inf)  # Other examples come last.
    order = jnp.argsort(values, axis=0)
    values = jnp.take_along_axis(values, order, axis=0)
    counts = jnp.where(member[:, None], classes, 0)
    left = jnp.cumsum(counts[order], axis=0)  # (n, d, columns), up to each value
    right = jnp.sum(counts, axis=0)[None, None] - left
    gain = _purity(left) + _purity(right) - _purity(jnp.sum(counts, axis=0))
    gain = gain * jnp.exp(meta_params.log_importance)[None]
    separates = jnp.isfinite(values[1:]) & (values[1:] > values[:-1])
    gain = jnp.where(separates, gain[:-1], -jnp.inf)
    position, feature = jnp.unravel_index(jnp.argmax(gain), gain.shape)
    below, above = values[position, feature], values[position + 1, feature]
    threshold = below + jax.nn.sigmoid(meta_params.cut) * (above - below)
    return feature, jnp.where(jnp.any(separates), threshold, jnp.inf)


def _purity(counts: jax.Array) -> jax.Array:
    """The number of examples minus their Gini impurity, of counts `(..., columns)`."""
    return jnp.sum(counts**2, axis=-1) / jnp.maximum(jnp.sum(counts, axis=-1), 1)


def _child(
    feature: jax.Array, threshold: jax.Array, node: jax.Array, features: jax.Array
) -> jax.Array:
    """The node of each example one level further down, `(n,)`."""
    value = jnp.take_along_axis(features, feature[node][:, None], axis=1)[:, 0]
    return 2 * node + (value > threshold[node])
