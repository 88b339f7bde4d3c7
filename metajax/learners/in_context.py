"""In-context learning: a network reads a support set and answers queries."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.parts import Parts
from metajax.masks import exists, filled
from metajax.types import Learner, Model, Params


class Reader(NamedTuple):
    """A network that reads labelled examples and answers queries, as three pure functions.

    init: `(key, features, targets) -> params`, with features `(n, d)` and target rows
      `(n, outputs + 1)` as `target_rows` gives them.
    encode: `(params, features, targets, mask) -> context`. Features and targets are finite; masked
      examples, where `mask (n,)` is False, must not change the context.
    read: `(params, context, features) -> predictions` of shape `(n, ...)`, each query alone.
    """

    init: Callable[[jax.Array, jax.Array, jax.Array], Params]
    encode: Callable[[Params, jax.Array, jax.Array, jax.Array], Any]
    read: Callable[[Params, Any, jax.Array], Any]


class InContextState(NamedTuple):
    """The weights of embedding and reader, and the context that the reader encoded."""

    params: Parts
    context: Any


class Tokens(nn.Module):
    """A token for each example: the sum of an embedding of its features and one of its target.

    A sum of two embeddings keeps either from dominating at initialisation.
    """

    width: int

    @nn.compact
    def __call__(self, features, targets=None):
        """Features `(n, d)` to tokens `(n, width)`; queries have no targets."""
        tokens = nn.Dense(self.width, name="feature_embedding")(features)
        label_embedding = nn.Dense(self.width, use_bias=False, name="label_embedding")
        return tokens if targets is None else tokens + label_embedding(targets)


def target_rows(where: str, y: jax.Array, outputs: int, dtype: Any) -> jax.Array:
    """Targets as rows `(n, outputs + 1)`, the last column of which is 1.

    Args:
      where: Whose message it is.
      y: Integer labels `(n,)`, which become one-hot rows, or targets `(n, outputs)`. A label outside
        of `0 .. outputs - 1` becomes zeros.
      outputs: The number of classes, or the width of a target.
      dtype: Of the rows.

    Raises:
      ValueError: For targets of another shape, or labels of a single class.

    Example:
      >>> target_rows("snail", jnp.array([1, 0]), 2, jnp.float32).tolist()
      [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
    """
    shape = getattr(y, "shape", None)
    kind: Any = getattr(y, "dtype", None)
    if shape is not None and len(shape) == 1 and jnp.issubdtype(kind, jnp.integer) and outputs > 1:
        rows = jax.nn.one_hot(y, outputs, dtype=dtype)
    elif shape is not None and shape[1:] == (outputs,):
        rows = jnp.asarray(y, dtype)
    else:
        found = f"a {type(y).__name__}" if shape is None else f"{kind} {shape}"
        labels = "integer labels (n,) or targets" if outputs > 1 else "targets"
        raise ValueError(
            f"{where}: support.y is {found}, but with outputs={outputs} it must be {labels} "
            f"(n, {outputs}). Change one of them."
        )
    return jnp.concatenate([rows, jnp.ones((len(rows), 1), dtype)], axis=-1)


def in_context(embed: Model, outputs: int, reader: Reader, *, where: str = "in_context") -> Learner:
    """Learns a network whose forward pass over the support set is the adaptation.

    `adapt` encodes the support set, without inner steps; `predict` reads the context for each query.

    Args:
      embed: Maps inputs to features `(n, d)`: `mj.conv4(None)` for images, `mj.pixels` for the inputs
        themselves.
      outputs: The number of classes, or the width of a target.
      reader: The network, such as those of `transformer`, `snail` and `recurrent`.
      where: The name of the learner in messages.

    Returns:
      A learner whose meta-parameters are `Parts(body, head)`, the weights of `embed` and of `reader`,
      for integer labels `(n,)` in `0 .. outputs - 1` with two or more classes, or for targets
      `(n, outputs)`.

    Raises:
      ValueError: If `outputs` is below 1; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> mean = mj.Reader(  # a reader without weights: the mean target, whatever the query
      ...     init=lambda key, features, targets: (),
      ...     encode=lambda params, features, targets, mask: mj.masked_mean(targets[:, :-1], mask),
      ...     read=lambda params, context, features: jnp.tile(context, (len(features), 1)))
      >>> learner = mj.in_context(mj.pixels, 1, mean)
      >>> support = mj.Examples(x=jnp.zeros((2, 1)), y=jnp.array([[3.0], [5.0]]))
      >>> adapted = learner.adapt(learner.init(jax.random.key(0), support.x), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.zeros((1, 1))).tolist()
      [[4.0]]

    Reference:
      Mishra, Rohaninejad, Chen and Abbeel, ICLR 2018, section 2, for the setting.
      https://arxiv.org/abs/1707.03141
    """
    embed = checks.as_model(where, embed)
    outputs = checks.count(where, "outputs", outputs)

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        body = embed.init(body_key, x)
        features = jax.eval_shape(embed.apply, body, x)
        zeros = jnp.zeros(features.shape, features.dtype)
        targets = jnp.zeros((features.shape[0], outputs + 1), features.dtype)
        # One compiled program: hundreds of small ones would take seconds.
        return Parts(body, jax.jit(reader.init)(head_key, zeros, targets))

    def adapt(meta_params, support, key):
        del key
        target_rows(where, support.y, outputs, float)  # Refuses targets that have no rows.
        support = filled(support)
        features = embed.apply(meta_params.body, support.x)
        targets = target_rows(where, support.y, outputs, features.dtype)
        context = reader.encode(meta_params.head, features, targets, exists(support))
        return InContextState(meta_params, context)

    def predict(adapted, x):
        features = embed.apply(adapted.params.body, x)
        return reader.read(adapted.params.head, adapted.context, features)

    return Learner(init, adapt, predict)
