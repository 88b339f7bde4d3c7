"""What several learners are made of: a body and a head, and a head that starts anew in every task."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner, Model, Params


class Parts(NamedTuple):
    """The weights of a body, and those of the head on top of it."""

    body: Params
    head: Params


def init_parts(body: Model, head: Model, key: jax.Array, x) -> Parts:
    """Weights of both, the head's for the shape of the body's features of `x`."""
    body_key, head_key = jax.random.split(key)
    params = body.init(body_key, x)
    features = jax.eval_shape(body.apply, params, x)
    return Parts(params, head.init(head_key, jnp.zeros(features.shape, features.dtype)))


def predict_parts(body: Model, head: Model) -> Callable[[Parts, Any], Any]:
    """`(parts, x) -> predictions`, the head on the body's features."""

    def predict(parts, x):
        return head.apply(parts.head, body.apply(parts.body, x))

    return predict


def with_fresh_head(learner: Learner, embed: Model, head: Model) -> Learner:
    """A learner of `Parts(body, head)` whose meta-parameters are the body, and whose head is new."""

    def adapt(meta_params, support, key, **options):
        features = jax.eval_shape(embed.apply, meta_params, support.x)
        fresh = head.init(key, jnp.zeros(features.shape, features.dtype))
        return learner.adapt(Parts(meta_params, fresh), support, key, **options)

    return Learner(embed.init, adapt, learner.predict)
