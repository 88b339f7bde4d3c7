"""What several learners are made of: descent on a support set, and a body with a head."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint
from metajax.inner import descend
from metajax.types import Learner, Model, Optimizer, Params


def in_training(model: Model) -> Callable[[Params, Any, jax.Array | None], Any]:
    """`(params, x, key) -> predictions` that an inner loop descends, dropout included."""
    if model.train is not None:
        return model.train
    return lambda params, x, key: model.apply(params, x)


def descent(
    support_loss: Callable[..., jax.Array], inner: Optimizer, adjoint: Adjoint, *models: Model
) -> Callable[..., Params]:
    """Returns descent of a loss: `(params, *args, key=, num_steps=) -> params`.

    Args:
      support_loss: `(params, *args, key) -> scalar`; `key` is None unless a model draws from it.
      inner: Any optax transformation.
      adjoint: How the inner loop is differentiated.
      models: Those that `support_loss` applies. If one draws random numbers in training, every step
        has a key of its own.
    """
    gradient = jax.grad(support_loss)
    random = any(model.train is not None for model in models)

    def own_key(args, step):
        return (*args[:-1], jax.random.fold_in(args[-1], step))

    def run(params, *args, key, num_steps):
        solve = descend(inner, num_steps, at_step=own_key if random else None)
        return adjoint(solve, gradient, params, *args, key if random else None)

    return run


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
