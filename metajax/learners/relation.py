"""Relation networks: an embedding, and a network that scores how well two embeddings match."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.classes import check_labels, lowest_where_absent, one_hot
from metajax.learners.parts import Parts, init_parts
from metajax.learners.protonet import prototypes
from metajax.masks import filled
from metajax.names import choose
from metajax.types import Learner, Model


class RelationState(NamedTuple):
    """The weights of both networks, class features `(columns, d)`, and which classes have examples."""

    params: Parts
    pooled: jax.Array
    present: jax.Array


def relation(embed: Model, compare: Model, *, pool: Literal["sum", "mean"] = "sum") -> Learner:
    """Learns to compare a query with the pooled features of each class, without inner steps.

    Args:
      embed: Maps inputs to features `(n, d)`.
      compare: Maps the pooled features of a class, concatenated with those of a query,
        `(pairs, 2 * d)`, to scores `(pairs, 1)`: an `mlp` with `start="lecun"`, for example.
      pool: "sum" adds the features of the examples of a class, as the paper does; with "mean" the
        scale of a class does not depend on the shot.

    Returns:
      A learner for integer labels `(n,)` in `0 .. way - 1`, whose meta-parameters are
      `Parts(body, head)`. Predictions are scores `(n, columns)`, with as many columns as the support
      has examples; a class without examples gets the lowest finite score. Train them with
      `cross_entropy`, or with `mse` on one-hot targets through a sigmoid, as the paper does. A
      support example whose label is negative or beyond the columns belongs to no class.

    Raises:
      ValueError: For another `pool`; from `adapt`, for targets that are no integer labels `(n,)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> product = mj.Model(init=lambda key, pairs: (), apply=lambda params, p: p[:, :1] * p[:, 1:])
      >>> support = mj.Examples(x=jnp.array([[1.0], [2.0], [4.0]]), y=jnp.array([0, 0, 1]))
      >>> for pool in ("sum", "mean"):
      ...     learner = mj.relation(identity, product, pool=pool)
      ...     meta_params = learner.init(jax.random.key(0), support.x)
      ...     adapted = learner.adapt(meta_params, support, jax.random.key(0))
      ...     print(learner.predict(adapted, jnp.array([[10.0]]))[0, :2].tolist())
      [30.0, 40.0]
      [15.0, 40.0]

    Reference:
      Sung, Yang, Zhang, Xiang, Torr and Hospedales, CVPR 2018, section 3. The paper compares feature
      maps by convolutions; here they are vectors. https://arxiv.org/abs/1711.06025
    """
    embed = checks.as_model("relation", embed)
    compare = checks.as_model("relation", compare)
    choose("relation", "pool", pool, ("sum", "mean"))

    def init(key, x):
        def pairs(params, x):
            features = embed.apply(params, x)
            return jnp.concatenate([features, features], axis=-1)

        return init_parts(Model(embed.init, pairs), compare, key, x)

    def adapt(meta_params, support, key):
        del key
        check_labels("relation", support.y)
        x, labels, mask = filled(support)
        features = embed.apply(meta_params.body, x)
        pooled, present = prototypes(features, labels, mask)
        if pool == "sum":
            pooled = one_hot(labels, mask, features.dtype).T @ features
        return RelationState(meta_params, pooled, present)

    def predict(adapted, x):
        features = embed.apply(adapted.params.body, x)
        shape = (len(features), *adapted.pooled.shape)
        pairs = jnp.concatenate(
            [
                jnp.broadcast_to(adapted.pooled[None], shape),
                jnp.broadcast_to(features[:, None], shape),
            ],
            axis=-1,
        )
        scores = compare.apply(adapted.params.head, pairs.reshape(-1, pairs.shape[-1]))
        return lowest_where_absent(scores.reshape(shape[:2]), adapted.present)

    return Learner(init, adapt, predict)
