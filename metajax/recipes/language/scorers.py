"""Learners that score the sentences of a document."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from metajax.learners.anil import anil
from metajax.learners.maml import maml
from metajax.learners.neural_process import neural_process
from metajax.recipes.language.scorer_networks import LINEAR, Body, Decode, Encode
from metajax.recipes.language.sentence_features import MOST
from metajax.types import Learner, Model


def choice_loss(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross-entropy of chosen sentences, `(n,)`; 0 for documents without any.

    Example:
      >>> choice_loss(jnp.zeros((1, 2)), jnp.array([[0.5, 0.5]])).round(3)
      Array([0.693], dtype=float32)
    """
    return -jnp.sum(targets * jax.nn.log_softmax(predictions), axis=-1)


class Found:
    """The share of chosen sentences that are among as many of the highest scores, `(n,)`."""

    def __init__(self, sentences: int):
        self.sentences = sentences

    def __call__(self, predictions: jax.Array, targets: jax.Array) -> jax.Array:
        """Scores and targets `(n, sentences of a document)` to shares."""
        _, best = jax.lax.top_k(predictions, self.sentences)
        return jnp.take_along_axis(targets, best, axis=-1).sum(axis=-1)

    def __eq__(self, other):
        return isinstance(other, Found) and self.sentences == other.sentences

    def __hash__(self):
        return hash(self.sentences)


class Sizes(NamedTuple):
    """The width of features, and the inner steps."""

    width: int
    num_steps: int
    inner_rate: float


def _body(width: int, *, flat: bool = False) -> Model:
    net = Body(width)

    def apply(params, x):
        found: Any = net.apply(params, x)
        return found.reshape(len(found), -1) if flat else found

    return Model(net.init, apply)


def _anil(s: Sizes) -> Learner:
    return anil(_body(s.width), LINEAR, choice_loss, optax.sgd(s.inner_rate), s.num_steps)


def _maml(s: Sizes) -> Learner:
    body = _body(s.width)

    def init(key, x):
        params = body.init(key, x)
        return params, LINEAR.init(key, body.apply(params, x))

    def apply(params, x):
        return LINEAR.apply(params[1], body.apply(params[0], x))

    inner = optax.sgd(s.inner_rate)
    return maml(Model(init, apply), choice_loss, inner, s.num_steps)


def _neural_process(s: Sizes) -> Learner:
    encode, decode = Encode(4 * s.width), Decode(4 * s.width)
    return neural_process(
        Model(encode.init, encode.apply),
        Model(decode.init, decode.apply),
        outputs=MOST,
        embed=_body(s.width, flat=True),
        strength=1.0,
        deviations=False,
    )


LEARNERS: dict[str, Callable[[Sizes], Learner]] = {
    "neural_process": _neural_process,
    "anil": _anil,
    "maml": _maml,
    "zero_step": lambda s: _anil(s._replace(num_steps=0)),
}
"""Those of `metajax train summaries`."""

if TYPE_CHECKING:
    SummariesLearner: TypeAlias = str
else:
    SummariesLearner = Literal[tuple(LEARNERS)]
