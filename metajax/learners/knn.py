"""Learn what it means to be near, and how many neighbours to ask."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from metajax.names import choose
from metajax.types import Learner, Model, Params


class Nearness(NamedTuple):
    """The meta-parameters of `knn`.

    embed: the embedding's.
    log_scales: `(d,)`; a feature counts exp(log_scale) squared times in a squared distance.
    directions: `(rank, d)`; the squared difference along each counts as well.
    log_k: its exponential, rounded, is the number of neighbours.
    log_smoothing: its exponential is how many votes each class has before any is counted.
    """

    embed: Params
    log_scales: jax.Array
    directions: jax.Array
    log_k: jax.Array
    log_smoothing: jax.Array


class Neighbours(NamedTuple):
    """The support set in the learned coordinates `(n, d + rank)`, and its labels."""

    nearness: Nearness
    places: jax.Array
    labels: jax.Array


def knn(
    embed: Model,
    k: float = 1.0,
    *,
    rank: int = 0,
    vote: Literal["count", "distance"] = "count",
) -> Learner:
    """k-nearest neighbours under a learned metric, with a learned k.

    Sorting and rounding have no derivative: `k` and, where votes are counted, the metric get a
    hypergradient of exactly 0. Meta-learn them by `evolution`, whose objective may then be the error
    rate itself.

    Args:
      embed: features `(n, d)` of inputs; `pixels` for the inputs themselves.
      k: neighbours at the start, 1 or more. It is learned as a logarithm, and used rounded and no
        greater than the support set.
      rank: directions in feature space that the metric adds to its diagonal, at first small and
        random.
      vote: "count" gives each of the nearest one vote, "distance" gives it a share that falls with
        the squared distance as a softmax does, through which the metric has a derivative.

    Returns:
      A learner for integer targets `0 .. way - 1`. Predictions are log-probabilities `(n, columns)`
      with as many columns as the support has examples; a class without examples gets the lowest
      finite value. Support examples labelled -1 are not there.

    Raises:
      ValueError: for fewer than 1 neighbour, a negative rank, or another vote.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.knn(mj.pixels)
      >>> support = mj.Examples(x=jnp.array([[0.0, 9.0], [4.0, 0.0]]), y=jnp.array([1, 0]))
      >>> nearness = learner.init(jax.random.key(0), support.x)
      >>> def label(nearness):
      ...     adapted = learner.adapt(nearness, support, jax.random.key(0))
      ...     return int(jnp.argmax(learner.predict(adapted, jnp.array([[1.0, 1.0]]))))
      >>> blind = nearness._replace(log_scales=jnp.array([0.0, -5.0]))  # to the second feature
      >>> label(nearness), label(blind)
      (0, 1)

    Reference: Cover and Hart, 1967; a metric learned for its votes: Goldberger, Roweis, Hinton and
    Salakhutdinov, NeurIPS 2004, section 2.
    """
    choose("knn", "vote", vote, ("count", "distance"))
    if k < 1 or rank < 0:
        raise ValueError(
            f"knn: k={k} and rank={rank}; give 1 neighbour or more, and no less than 0."
        )

    def init(key, x):
        embed_key, key = jax.random.split(key)
        params = embed.init(embed_key, x)
        d = jax.eval_shape(embed.apply, params, x).shape[-1]
        directions = 0.1 * jax.random.normal(key, (rank, d)) / d**0.5
        return Nearness(
            params, jnp.zeros(d), directions, jnp.log(jnp.array(k, float)), jnp.zeros(())
        )

    def places(nearness, x):
        features = embed.apply(nearness.embed, x)
        scaled = features * jnp.exp(nearness.log_scales)[None]
        return jnp.concatenate([scaled, features @ nearness.directions.T], axis=1)

    def adapt(meta_params, support, key):
        del key
        return Neighbours(meta_params, places(meta_params, support.x), support.y)

    def predict(adapted, x):
        nearness, stored, labels = adapted
        here = places(nearness, x)
        squares = jnp.sum(here**2, axis=1)[:, None] + jnp.sum(stored**2, axis=1)[None]
        distance = jnp.where((labels >= 0)[None], squares - 2 * here @ stored.T, jnp.inf)
        k = jnp.clip(jnp.round(jnp.exp(nearness.log_k)), 1, jnp.sum(labels >= 0)).astype(int)
        farthest = jnp.sort(distance, axis=1)[:, k - 1]
        near = distance <= farthest[:, None]  # all who are equally far, in whatever order they came
        if vote == "count":
            share = near / jnp.sum(near, axis=1, keepdims=True)
        else:
            share = jax.nn.softmax(jnp.where(near, -distance, -jnp.inf), axis=1)
        return class_log_probabilities(k * share @ one_hot(labels), labels, nearness.log_smoothing)

    return Learner(init, adapt, predict)


def one_hot(labels: jax.Array) -> jax.Array:
    """Rows `(n, n)`: as many columns as examples, so that the way may differ from task to task."""
    return jax.nn.one_hot(labels, len(labels))


def class_log_probabilities(
    votes: jax.Array, labels: jax.Array, log_smoothing: jax.Array
) -> jax.Array:
    """Log-shares of votes `(m, columns)`, after each class in `labels` got some beforehand.

    Example:
      >>> votes, labels = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([0, 0, 1])
      >>> jnp.exp(class_log_probabilities(votes, labels, jnp.zeros(()))).tolist()[0]  # 3 and 1 of 4
      [0.75, 0.25, 0.0]
    """
    present = jnp.any(one_hot(labels) > 0, axis=0)[None]
    smoothed = jnp.where(present, votes + jnp.exp(log_smoothing), 0)
    share = smoothed / jnp.sum(smoothed, axis=1, keepdims=True)
    return jnp.where(present, jnp.log(jnp.where(present, share, 1)), jnp.finfo(share.dtype).min)
