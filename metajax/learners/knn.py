"""k-nearest neighbours with a learned metric and a learned k."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import (
    check_labels,
    class_log_probabilities,
    one_hot,
    squared_distances,
)
from metajax.masks import filled
from metajax.names import choose
from metajax.types import Learner, Model, Params


class KnnParams(NamedTuple):
    """The meta-parameters of `knn`.

    embed: The weights of the embedding.
    log_scales: `(d,)`; a squared difference of features is multiplied by exp(2 log_scale).
    directions: `(rank, d)`; the squared difference along each is added to a squared distance.
    log_k: exp(log_k), rounded, is the number of neighbours.
    log_smoothing: exp(log_smoothing) is the number of votes of each class before any is counted.
    """

    embed: Params
    log_scales: jax.Array
    directions: jax.Array
    log_k: jax.Array
    log_smoothing: jax.Array


class KnnState(NamedTuple):
    """The support set under the metric.

    meta_params: The meta-parameters.
    coordinates: `(n, d + rank)`, in which the metric is Euclidean.
    labels: One-hot rows `(n, columns)`, zeros for masked examples.
    """

    meta_params: KnnParams
    coordinates: jax.Array
    labels: jax.Array


def knn(
    embed: Model,
    k: float = 1.0,
    *,
    rank: int = 0,
    vote: Literal["count", "distance"] = "count",
) -> Learner:
    """Learns a metric and a number of neighbours for k-nearest neighbours.

    Sorting and rounding have no derivative: `k` has a hypergradient of exactly 0 and, where votes are
    counted, so has the metric. Meta-learn them by `evolution`, whose objective may then be the error
    rate itself.

    Args:
      embed: Maps inputs to features `(n, d)`; `pixels` for the inputs themselves.
      k: The initial number of neighbours, at least 1. It is learned as a logarithm, and used rounded
        and at most the number of support examples that exist.
      rank: The number of directions in feature space that the metric adds to its diagonal, initially
        small and random.
      vote: "count" gives each of the nearest examples one vote; "distance" weighs them by a softmax
        of minus the squared distances, through which the metric has a derivative.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are `KnnParams`.
      Predictions are log-probabilities `(n, columns)`, with as many columns as the support has
      examples; a class without examples gets the lowest finite value. A support example whose label
      is negative or beyond the columns is ignored.

    Raises:
      ValueError: If `k` is below 1 or `rank` is negative, and for another `vote`; from `adapt`, for
        targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.knn(mj.pixels)
      >>> support = mj.Examples(x=jnp.array([[0.0, 9.0], [4.0, 0.0]]), y=jnp.array([1, 0]))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> def label(meta_params):
      ...     adapted = learner.adapt(meta_params, support, jax.random.key(0))
      ...     return int(jnp.argmax(learner.predict(adapted, jnp.array([[1.0, 1.0]]))))
      >>> first_feature = meta_params._replace(log_scales=jnp.array([0.0, -5.0]))
      >>> label(meta_params), label(first_feature)
      (0, 1)

    Reference:
      Cover and Hart, 1967; for a metric learned for its votes, Goldberger, Roweis, Hinton and
      Salakhutdinov, NeurIPS 2004, section 2.
    """
    embed = checks.as_model("knn", embed)
    choose("knn", "vote", vote, ("count", "distance"))
    rank = checks.count("knn", "rank", rank, least=0)
    checks.positive("knn", "k", k)
    if k < 1:
        raise ValueError(f"knn: k={k} must be at least 1.")

    def init(key, x):
        embed_key, direction_key = jax.random.split(key)
        params = embed.init(embed_key, x)
        d = jax.eval_shape(embed.apply, params, x).shape[-1]
        directions = 0.1 * jax.random.normal(direction_key, (rank, d)) / d**0.5
        log_k = jnp.log(jnp.array(k, float))
        return KnnParams(params, jnp.zeros(d), directions, log_k, jnp.zeros(()))

    def coordinates(meta_params, x):
        features = embed.apply(meta_params.embed, x)
        scaled = features * jnp.exp(meta_params.log_scales)[None]
        return jnp.concatenate([scaled, features @ meta_params.directions.T], axis=1)

    def adapt(meta_params, support, key):
        del key
        check_labels("knn", support.y)
        x, labels, mask = filled(support)
        return KnnState(meta_params, coordinates(meta_params, x), one_hot(labels, mask))

    def predict(adapted, x):
        meta_params, stored, labels = adapted
        known = labels.sum(axis=1) > 0
        here = coordinates(meta_params, x)
        distance = squared_distances(here, stored)
        distance = jnp.where(known[None], distance, jnp.finfo(distance.dtype).max)
        k = jnp.clip(jnp.round(jnp.exp(meta_params.log_k)), 1, jnp.sum(known)).astype(int)
        farthest = jnp.sort(distance, axis=1)[:, k - 1]
        # All examples at the same distance vote, so that their order does not matter. Distances are
        # the same if they differ by rounding alone, which compilers do differently in two places.
        norms = jnp.sum(here**2, axis=1)[:, None] + jnp.sum(stored**2, axis=1)[None]
        near = distance <= farthest[:, None] + 4 * jnp.finfo(norms.dtype).eps * norms
        if vote == "count":
            share = near / jnp.sum(near, axis=1, keepdims=True)
        else:
            share = jax.nn.softmax(jnp.where(near, -distance, -jnp.inf), axis=1)
        present = labels.sum(axis=0) > 0
        return class_log_probabilities(k * share @ labels, present, meta_params.log_smoothing)

    return Learner(init, adapt, predict)
