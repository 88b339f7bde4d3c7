"""Learners that score the sentences of a document."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from metajax.learners.anil import anil
from metajax.learners.maml import maml
from metajax.learners.neural_process import neural_process
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


class Body(nn.Module):
    """Sentences as features `(n, MOST, features + 1)`: statistics, a network, and whether they exist."""

    width: int

    @nn.compact
    def __call__(self, x):
        """Documents as `Table.inputs` gives them."""
        words = x["words"].astype(jnp.float32)
        start = nn.initializers.normal(0.02)
        read = jnp.concatenate([x["stats"], nn.Dense(self.width, kernel_init=start)(words)], -1)
        hidden = nn.relu(nn.Dense(2 * self.width)(read))
        found = jnp.concatenate([x["stats"], nn.Dense(self.width)(hidden)], axis=-1)
        return jnp.concatenate([found, x["exists"][..., None]], axis=-1)


def masked(scores: jax.Array, features: jax.Array) -> jax.Array:
    """Scores, -1e9 where no sentence is."""
    return jnp.where(features[..., -1] > 0.5, scores, -1e9)


LINEAR = Model(
    lambda key, x: jnp.zeros(x.shape[-1] - 1),
    lambda weights, x: masked(x[..., :-1] @ weights, x),
)
"""A head that adds up features, with weights of 0 at first."""


class Encode(nn.Module):
    """What the choice in a document says of a style."""

    width: int

    @nn.compact
    def __call__(self, x):
        """Flat features and targets to `(n, width)`."""
        parts = x.reshape(len(x), -1)
        features, y = parts[:, :-MOST].reshape(len(x), MOST, -1), parts[:, -MOST:]
        there = features[..., -1:]
        number = jnp.maximum(there.sum(axis=1), 1)
        mean = (there * features[..., :-1]).sum(axis=1) / number
        spread = (there * (features[..., :-1] - mean[:, None]) ** 2).sum(axis=1) / number
        chosen = jnp.sum(y[..., None] * features[..., :-1], axis=1) - mean * y.sum(axis=1)[:, None]
        read = jnp.concatenate([chosen, jnp.sqrt(spread + 1e-6)], axis=-1)
        hidden = nn.relu(nn.Dense(self.width)(read))
        return nn.Dense(self.width)(nn.relu(nn.Dense(self.width)(hidden)))


class Decode(nn.Module):
    """The weights of a linear head from a representation, and the scores of query documents."""

    width: int

    @nn.compact
    def __call__(self, x):
        """A representation beside flat features to scores `(n, MOST)`."""
        style, flat = x[:, : self.width], x[:, self.width :]
        features = flat.reshape(len(x), MOST, -1)
        hidden = nn.relu(nn.Dense(2 * self.width)(style))
        weights = nn.Dense(features.shape[-1] - 1)(nn.relu(nn.Dense(2 * self.width)(hidden)))
        return masked(jnp.einsum("nmf,nf->nm", features[..., :-1], weights), features)


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
