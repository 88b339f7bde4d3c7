"""Word statistics of a support set, beside the n-grams of each sentence."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.inner import repeat
from metajax.learners.classes import one_hot
from metajax.masks import exists, filled
from metajax.nn.text import counts
from metajax.types import Examples, Learner


class CountedState(NamedTuple):
    """What a learner adapted to, and the statistics `(size, 2)` of the n-grams of its support set."""

    adapted: Any
    statistics: jax.Array


def statistics_of(support: Examples, size: int) -> jax.Array:
    """Returns `(size, 2)`: of every n-gram log(1 + sentences with it), and in how few classes it is.

    The latter is 1 - (classes with it - 1) / (classes - 1): 1 for an n-gram of one class, 0 for one of
    all, and 0 for one that no sentence of the support set has.

    Args:
      support: Ids `(n, width)` and labels `(n,)`.
      size: The number of ids.

    Example:
      >>> support = Examples(jnp.array([[1, 2], [1, 0]]), jnp.array([0, 1]))
      >>> statistics_of(support, 4).round(1).tolist()  # of the padding, and of ids 1 to 3
      [[0.0, 0.0], [1.100000023841858, 0.0], [0.699999988079071, 1.0], [0.0, 0.0]]
    """
    present = jnp.minimum(counts(support.x, size), 1) * exists(support)[:, None]
    member = one_hot(support.y, support.mask)
    classes = jnp.sum(member.T @ present > 0, axis=0)
    number = jnp.maximum(jnp.sum(jnp.any(member > 0, axis=0)) - 1, 1)
    few = jnp.where(classes > 0, 1 - (classes - 1) / number, 0)
    return jnp.stack([jnp.log1p(jnp.sum(present, axis=0)), few], axis=1)


def counted(learner: Learner, size: int) -> Learner:
    """The same learner, whose model reads the word statistics of the support set beside each sentence.

    A query is described by the statistics of the support set alone, so predictions are inductive.

    Args:
      learner: Its model maps a dict of `ids (n, width)`, `statistics (n, width, 2)` and what else there is
        to features.
      size: The number of ids, of which 0 is padding.

    Returns:
      A learner for such a dict without statistics, with the same meta-parameters.

    Reference:
      Bao, Wu, Chang and Barzilay, ICLR 2020, section 4.1. https://arxiv.org/abs/1908.06039
    """

    def described(x, statistics):
        return x | {"statistics": statistics[x["ids"]]}

    def init(key, x):
        x = jax.tree.map(jnp.asarray, x)
        return learner.init(key, described(x, jnp.zeros((size, 2))))

    def adapt(meta_params, support, key, **options):
        support = filled(support)
        statistics = statistics_of(support._replace(x=support.x["ids"]), size)
        x = described(support.x, statistics)
        adapted = learner.adapt(meta_params, support._replace(x=x), key, **options)
        return CountedState(adapted, repeat(statistics, options.get("num_steps", 0)))

    def predict(adapted, x):
        return learner.predict(adapted.adapted, described(x, adapted.statistics))

    return Learner(init, adapt, predict, learner.num_steps)
