"""Prototypical networks: an embedding in which a class is the mean of its examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import (
    check_labels,
    lowest_where_absent,
    one_hot,
    squared_distances,
)
from metajax.masks import filled, masked_mean
from metajax.types import Learner, Model, Params


class ProtonetState(NamedTuple):
    """The weights of the embedding, class means `(columns, d)`, and which classes have examples."""

    params: Params
    means: jax.Array
    present: jax.Array


def prototypes(
    features: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Means of the classes, and which classes have examples.

    Args:
      features: `(n, d)`, of examples as `filled` gives them: finite where masked.
      labels: Integers `(n,)`. A label outside of `0 .. n - 1` belongs to no class.
      mask: `(n,)`, which examples exist; None where all do.

    Returns:
      Means `(n, d)`, a row for each label below `n`, zeros for a class without examples; and
      booleans `(n,)`.

    Example:
      >>> features, labels = jnp.array([[0.0], [2.0], [7.0], [9.0]]), jnp.array([0, 0, 1, 1])
      >>> means, present = prototypes(features, labels, jnp.array([True, True, True, False]))
      >>> means[:, 0].tolist(), present.tolist()
      ([1.0, 7.0, 0.0, 0.0], [True, True, False, False])
    """
    member = one_hot(labels, mask, features.dtype)
    count = member.sum(axis=0)
    return member.T @ features / jnp.maximum(count, 1)[:, None], count > 0


def protonet(embed: Model) -> Learner:
    """Learns an embedding in which the nearest class mean is the class of a query.

    Adapting computes the class means, without inner steps.

    Args:
      embed: Maps inputs to features `(n, d)`.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are those of
      `embed`. Predictions are logits `(n, columns)`, minus the squared distances to the class means,
      with as many columns as the support has examples: the way may differ from task to task. A class
      without examples gets the lowest finite logit. A support example whose label is negative or
      beyond the columns belongs to no class.

    Raises:
      ValueError: From `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.protonet(identity)
      >>> support = mj.Examples(x=jnp.array([[0.0], [2.0], [7.0]]), y=jnp.array([0, 0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[3.0]]))[0, :2].tolist()
      [-4.0, -16.0]

    Reference:
      Snell, Swersky and Zemel, NeurIPS 2017, section 2.3. https://arxiv.org/abs/1703.05175
    """
    embed = checks.as_model("protonet", embed)

    def adapt(meta_params, support, key):
        del key
        check_labels("protonet", support.y)
        x, labels, mask = filled(support)
        means, present = prototypes(embed.apply(meta_params, x), labels, mask)
        return ProtonetState(meta_params, means, present)

    def predict(adapted, x):
        features = embed.apply(adapted.params, x)
        # Distances do not depend on the centre, so it has no derivative; it keeps norms small.
        centre = jax.lax.stop_gradient(masked_mean(adapted.means, adapted.present))[None]
        distances = squared_distances(features - centre, adapted.means - centre)
        return lowest_where_absent(-distances, adapted.present)

    return Learner(embed.init, adapt, predict)
