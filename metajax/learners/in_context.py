"""A network that reads a support set and answers queries, as a learner: adapting is a forward pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.learners.parts import Parts
from metajax.types import Learner, Model, Params


class Reader(NamedTuple):
    """A network that reads labelled examples and answers queries, as three pure functions.

    init: `(key, features, told) -> params`, with features `(n, d)` and `told` as from `tell`.
    encode: `(params, features, told, there) -> context`; examples not `there`, `(n,)`, leave no trace.
    read: `(params, context, features) -> predictions` of shape `(n, ...)`, each query alone.
    """

    init: Callable[[jax.Array, jax.Array, jax.Array], Params]
    encode: Callable[[Params, jax.Array, jax.Array, jax.Array], Any]
    read: Callable[[Params, Any, jax.Array], Any]


class Context(NamedTuple):
    """The weights of embedding and reader, and what the reader made of the support set."""

    params: Parts
    encoded: Any


class Tokens(nn.Module):
    """Features and targets, mapped apart and added, so that neither drowns the other at the start."""

    width: int

    @nn.compact
    def __call__(self, features, told=None):
        """Features `(n, d)` to `(n, width)`; queries come without targets."""
        of_features = nn.Dense(self.width)(features)
        of_targets = nn.Dense(self.width, use_bias=False, name="told")
        return of_features if told is None else of_features + of_targets(told)


def tell(y: jax.Array, outputs: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Targets as rows `(n, outputs + 1)`, the last column 1, and which examples are there `(n,)`.

    Integer targets become one-hot rows, and those of -1 are not there.

    Raises:
      ValueError: for targets of another width than `outputs`.

    Example:
      >>> rows, there = tell(jnp.array([1, -1]), 2, jnp.float32)
      >>> rows.tolist(), there.tolist()
      ([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], [True, False])
    """
    if jnp.issubdtype(y.dtype, jnp.integer):
        rows, there = jax.nn.one_hot(y, outputs, dtype=dtype), y >= 0
    elif y.shape[1:] == (outputs,):
        rows, there = y.astype(dtype), jnp.ones(len(y), bool)
    else:
        raise ValueError(
            f"in_context: targets are {y.shape} and outputs={outputs} needs (n, {outputs}), or "
            "integer labels (n,); change one of them."
        )
    return jnp.concatenate([rows, jnp.ones((len(rows), 1), dtype)], axis=-1), there


def in_context(embed: Model, outputs: int, reader: Reader) -> Learner:
    """In-context learning: no steps; `adapt` reads the support set, and `predict` asks what was read.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`: `mj.conv4(None)` for images,
        `mj.pixels` for the inputs themselves.
      outputs: the number of classes, or the width of a target.
      reader: the network, such as those of `transformer`, `snail` and `recurrent`.

    Returns:
      A learner whose meta-parameters are `Parts(body, head)`, the weights of `embed` and of `reader`. It
      takes integer targets `0 .. outputs - 1`, with -1 for examples that are not there, or float
      targets `(n, outputs)`.

    Raises:
      ValueError: for no output; from `adapt`, for targets of another width.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = mj.Reader(  # a reader without weights: the mean target, whatever the query
      ...     init=lambda key, features, told: (),
      ...     encode=lambda params, features, told, there: told[:, :-1].mean(axis=0),
      ...     read=lambda params, context, features: jnp.tile(context, (len(features), 1)))
      >>> learner = mj.in_context(mj.pixels, 1, mean)
      >>> support = mj.Examples(x=jnp.zeros((2, 1)), y=jnp.array([[3.0], [5.0]]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.zeros((1, 1))).tolist()
      [[4.0]]

    Reference: Mishra, Rohaninejad, Chen and Abbeel, ICLR 2018, section 2, for the setting.
    https://arxiv.org/abs/1707.03141
    """
    if outputs < 1:
        raise ValueError(
            f"in_context: outputs={outputs}; give the number of classes, or 1 or more."
        )

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        body = embed.init(body_key, x)
        features = jax.eval_shape(embed.apply, body, x)
        told = jnp.zeros((features.shape[0], outputs + 1), features.dtype)
        # One program: as hundreds of small ones it would take seconds to begin.
        rows = jnp.zeros(features.shape, features.dtype)
        return Parts(body, jax.jit(reader.init)(head_key, rows, told))

    def adapt(meta_params, support, key):
        del key
        features = embed.apply(meta_params.body, support.x)
        told, there = tell(support.y, outputs, features.dtype)
        return Context(meta_params, reader.encode(meta_params.head, features, told, there))

    def predict(adapted, x):
        features = embed.apply(adapted.params.body, x)
        return reader.read(adapted.params.head, adapted.encoded, features)

    return Learner(init, adapt, predict)
