"""Matching networks: an embedding in which a query has the label of the support examples like it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import check_labels, one_hot
from metajax.masks import filled
from metajax.ops.unit import unit_rows
from metajax.types import Learner, Model, Params


class MatchingState(NamedTuple):
    """The support set in the embedding.

    params: The weights of the embedding.
    directions: Unit vectors `(n, d)`.
    labels: One-hot rows `(n, columns)`, zeros for masked examples.
    """

    params: Params
    directions: jax.Array
    labels: jax.Array


def matching(embed: Model, *, sharpness: float = 1.0) -> Learner:
    """Learns an embedding for attention over the support set by cosine similarity.

    Adapting embeds the support set, without inner steps. Each example is embedded alone: the paper's
    full context embeddings are left out.

    Args:
      embed: Maps inputs to features `(n, d)`.
      sharpness: Multiplies the similarities before the softmax, above 0. The paper's 1 limits the
        confidence of a prediction, and trains more slowly than 10.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are those of
      `embed`. Predictions are log-probabilities `(n, columns)`, with as many columns as the support
      has examples, so that `cross_entropy` is the paper's loss. A class without examples has
      probability 1e-12. A support example whose label is negative or beyond the columns is ignored.

    Raises:
      ValueError: If `sharpness` is not above 0; from `adapt`, for targets that are no integer labels
        `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.matching(identity, sharpness=10.0)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[3.0, 1.0]])), axis=-1).tolist()
      [1]

    Reference:
      Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, NeurIPS 2016, section 2.1.
      https://arxiv.org/abs/1606.04080
    """
    embed = checks.as_model("matching", embed)
    checks.positive("matching", "sharpness", sharpness)

    def directions(params, x):
        return unit_rows(embed.apply(params, x))

    def adapt(meta_params, support, key):
        del key
        check_labels("matching", support.y)
        support = filled(support)
        labels = one_hot(support.y, support.mask)
        return MatchingState(meta_params, directions(meta_params, support.x), labels)

    def predict(adapted, x):
        similarity = sharpness * directions(adapted.params, x) @ adapted.directions.T
        known = adapted.labels.sum(axis=1) > 0
        similarity = jnp.where(known[None], similarity, jnp.finfo(similarity.dtype).min)
        # The probability of a class is the sum of the attention to its examples.
        return jnp.log(jax.nn.softmax(similarity, axis=-1) @ adapted.labels + 1e-12)

    return Learner(embed.init, adapt, predict)
