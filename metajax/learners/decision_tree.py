"""Learn how a decision tree should choose its questions, for trees grown on a few examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.learners.knn import class_log_probabilities, one_hot
from metajax.nn.models import pixels
from metajax.types import Learner, Model, Params


class Taste(NamedTuple):
    """The meta-parameters of `decision_tree`: what questions it prefers.

    embed: the embedding's.
    log_importance: `(d,)`; the gain of a question about a feature is multiplied by the exponential.
    cut: its sigmoid is where a threshold lies between the two values that it parts, at first halfway.
    log_smoothing: its exponential is how many examples of each class a leaf has before any is counted.
    """

    embed: Params
    log_importance: jax.Array
    cut: jax.Array
    log_smoothing: jax.Array


class Tree(NamedTuple):
    """A question for each inner node, breadth first, and what the leaves answer.

    feature, threshold: `(2^depth - 1,)`; a greater value goes right.
    leaves: `(2^depth, columns)` log-probabilities.
    """

    embed: Params
    feature: jax.Array
    threshold: jax.Array
    leaves: jax.Array


def decision_tree(depth: int = 1, embed: Model = pixels) -> Learner:
    """A tree of threshold questions grown on each support set; with depth 1 a decision stump.

    Each question has the greatest gain, the decrease of Gini impurity over the node's examples times
    the learned importance of the feature. Choices have no derivative: importances and cuts get a
    hypergradient of exactly 0. Meta-learn them by `evolution`.

    Args:
      depth: questions from the root to a leaf, 1 or more.
      embed: features `(n, d)` of inputs; `pixels` for the inputs themselves.

    Returns:
      A learner for integer targets `0 .. way - 1`. Predictions are log-probabilities `(n, columns)`
      with as many columns as the support has examples; a class without examples gets the lowest
      finite value. Support examples labelled -1 are not there.

    Raises:
      ValueError: for no question.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.decision_tree()
      >>> support = mj.Examples(x=jnp.array([[0.0], [1.0], [3.0], [9.0]]), y=jnp.array([0, 0, 1, 1]))
      >>> key, grow = jax.random.key(0), jax.jit(learner.adapt)
      >>> tree = grow(learner.init(key, support.x), support, key)
      >>> tree.threshold.tolist(), jnp.exp(learner.predict(tree, jnp.array([[2.5]])))[0, :2].tolist()
      ([2.0], [0.25, 0.75])

    Reference: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, chapter 4.
    """
    if depth < 1:
        raise ValueError(f"decision_tree: depth={depth}; a tree asks 1 question or more.")

    def init(key, x):
        params = embed.init(key, x)
        d = jax.eval_shape(embed.apply, params, x).shape[-1]
        return Taste(params, jnp.zeros(d), jnp.zeros(()), jnp.zeros(()))

    def question(taste, features, classes, member):
        """The best question about the examples of a node: its feature and its threshold."""
        values = jnp.where(member[:, None], features, jnp.inf)  # of others, beyond all of ours
        order = jnp.argsort(values, axis=0)
        values = jnp.take_along_axis(values, order, axis=0)
        counts = jnp.where(member[:, None], classes, 0)
        left = jnp.cumsum(counts[order], axis=0)  # (n, d, classes), among those up to each value
        right = jnp.sum(counts, axis=0)[None, None] - left

        def purity(counts):  # of examples that agree with one drawn from their side, how many
            return jnp.sum(counts**2, axis=-1) / jnp.maximum(jnp.sum(counts, axis=-1), 1)

        gain = (purity(left) + purity(right) - purity(jnp.sum(counts, axis=0))) * jnp.exp(
            taste.log_importance
        )[None]
        parts = jnp.isfinite(values[1:]) & (values[1:] > values[:-1])
        gain = jnp.where(parts, gain[:-1], -jnp.inf)
        position, feature = jnp.unravel_index(jnp.argmax(gain), gain.shape)
        below, above = values[position, feature], values[position + 1, feature]
        threshold = below + jax.nn.sigmoid(taste.cut) * (above - below)
        return feature, jnp.where(jnp.any(parts), threshold, jnp.inf)

    def adapt(meta_params, support, key):
        del key
        features, classes = embed.apply(meta_params.embed, support.x), one_hot(support.y)
        node, questions = jnp.zeros(len(classes), int), []
        for level in range(depth):
            member = (node[None] == jnp.arange(2**level)[:, None]) & (support.y >= 0)[None]
            ask = jax.vmap(question, in_axes=(None, None, None, 0))
            asked = ask(meta_params, features, classes, member)
            questions.append(asked)
            node = step_down(*asked, node, features)
        counts = jax.nn.one_hot(node, 2**depth).T @ classes
        leaves = class_log_probabilities(counts, support.y, meta_params.log_smoothing)
        feature, threshold = (jnp.concatenate(part) for part in zip(*questions, strict=True))
        return Tree(meta_params.embed, feature, threshold, leaves)

    def predict(adapted, x):
        features = embed.apply(adapted.embed, x)
        node = jnp.zeros(len(features), int)
        for level in range(depth):
            asked = slice(2**level - 1, 2 ** (level + 1) - 1)
            node = step_down(adapted.feature[asked], adapted.threshold[asked], node, features)
        return adapted.leaves[node]

    def step_down(feature, threshold, node, features):
        value = jnp.take_along_axis(features, feature[node][:, None], axis=1)[:, 0]
        return 2 * node + (value > threshold[node])

    return Learner(init, adapt, predict)
