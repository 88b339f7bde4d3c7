"""What several learners are made of: descent on a support set, and a body with a head."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint, marked, usual
from metajax.inner import AtStep, descend
from metajax.nn.contexts import Conditioned
from metajax.types import Learner, Model, Optimizer, Params


def in_training(model: Model) -> Callable[[Params, Any, Any], Any]:
    """`(params, x, key) -> predictions` that an inner loop descends, dropout included.

    The key may be None where the model draws no random numbers.
    """
    if model.train is not None:
        return model.train
    return lambda params, x, key: model.apply(params, x)


def split(key: jax.Array | None) -> tuple[Any, Any]:
    """Two keys from one, or None twice where no model draws random numbers."""
    return (None, None) if key is None else tuple(jax.random.split(key))


def descent(
    support_loss: Callable[..., jax.Array],
    inner: Optimizer,
    adjoint: Adjoint | None,
    *models: Model | Conditioned,
    at_step: AtStep | None = None,
) -> Callable[..., Params]:
    """Returns descent of a loss: `(params, *args, key=, num_steps=, at_step=) -> params`.

    Args:
      support_loss: `(params, *args, key) -> scalar`; `key` is None unless a model draws from it.
      inner: Any optax transformation.
      adjoint: How the inner loop is differentiated; None to choose by the number of steps.
      models: Those that `support_loss` applies. If one draws random numbers in training, every step
        has a key of its own.
      at_step: `(args, step) -> args`, where each step reads something else, unless `run` is given another;
        see `descend`.
    """
    gradient = jax.grad(support_loss)
    random = any(model.train is not None for model in models)

    def run(params, *args, key, num_steps, at_step=at_step):
        def of_step(args, step):
            *args, key = args
            args = args if at_step is None else at_step(tuple(args), step)
            return (*args, jax.random.fold_in(key, step) if random else None)

        solve = descend(inner, num_steps, of_step if random or at_step else None)
        chosen = usual(num_steps) if adjoint is None else adjoint
        params = marked(chosen, num_steps, params)
        return chosen(solve, gradient, params, *args, key if random else None)

    return run


class Parts(NamedTuple):
    """The weights of a body, and those of the head on top of it."""

    body: Params
    head: Params


def init_head(body: Model, head: Model, params: Params, key: jax.Array, x) -> Params:
    """Weights of a head for the shape of the body's features of `x`."""
    features = jax.eval_shape(body.apply, params, x)
    return head.init(key, jax.tree.map(lambda f: jnp.zeros(f.shape, f.dtype), features))


def init_parts(body: Model, head: Model, key: jax.Array, x) -> Parts:
    """Weights of both, the head's for the shape of the body's features of `x`."""
    body_key, head_key = jax.random.split(key)
    params = body.init(body_key, x)
    return Parts(params, init_head(body, head, params, head_key, x))


def joined(body: Model, head: Model) -> Model:
    """A body and the head on its features as one model, with parameters `Parts(body, head)`."""

    def apply(parts, x):
        return head.apply(parts.head, body.apply(parts.body, x))

    def train(parts, x, key):
        body_key, head_key = split(key)
        features = in_training(body)(parts.body, x, body_key)
        return in_training(head)(parts.head, features, head_key)

    random = body.train is not None or head.train is not None
    return Model(partial(init_parts, body, head), apply, train if random else None)


def with_fresh_head(learner: Learner, embed: Model, head: Model) -> Learner:
    """A learner of `Parts(body, head)` whose meta-parameters are the body, and whose head is new."""

    def adapt(meta_params, support, key, **options):
        head_key, adapt_key = jax.random.split(key)
        fresh = init_head(embed, head, meta_params, head_key, support.x)
        return learner.adapt(Parts(meta_params, fresh), support, adapt_key, **options)

    return Learner(embed.init, adapt, learner.predict, learner.num_steps)
