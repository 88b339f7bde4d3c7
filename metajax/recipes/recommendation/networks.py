"""Networks of items, and heads that add the taste of a user to a base prediction."""

import flax.linen as nn
import jax.numpy as jnp

from metajax.types import Model


class Items(nn.Module):
    """Items as base predictions and features, `(n, 1 + width)`.

    The base is the bias of an item, shrunk to a prior to which a network adds; the network outputs 0 at
    first. Identifiers, where they are used, reach the features alone: in a base they would be fitted to
    their own targets.
    """

    number: int
    width: int
    hidden: int = 32
    ids: bool = False

    @nn.compact
    def __call__(self, x):
        """Items as `described` gives them."""
        stats = x["stats"]
        read = jnp.concatenate([stats[..., 2:], x["features"]], axis=-1)
        hidden = nn.relu(nn.Dense(self.hidden)(read))
        change = nn.Dense(1, kernel_init=nn.initializers.zeros)(hidden)
        features = nn.Dense(self.width)(hidden)
        if self.ids:
            start = nn.initializers.normal(0.01)
            features += nn.Embed(self.number + 1, self.width, embedding_init=start)(x["item"])
        return jnp.concatenate([stats[..., :1] + stats[..., 3:4] * change, features], axis=-1)


def items(number: int, width: int, ids: bool) -> Model:
    """Returns the body that all learners of ratings share."""
    net = Items(number, width, ids=ids)
    return Model(net.init, net.apply)


TASTE = 0.2
"""The scale of features in heads: one rating says less of a taste than of a bias."""


def _base(features):
    return features[..., :1]


BIAS = Model(lambda key, x: jnp.zeros((1, 1)), lambda bias, x: _base(x) + bias)
"""A head that adds one number to the base: the bias of a user."""


def linear_taste(width: int) -> Model:
    """A head that adds a bias and a product with the features, both 0 at first."""

    def apply(params, x):
        bias, taste = params
        return _base(x) + bias + TASTE * x[..., 1:] @ taste / width**0.5

    return Model(lambda key, x: (jnp.zeros((1, 1)), jnp.zeros((width, 1))), apply)


class Residual(nn.Module):
    """A network that outputs about 0 at first."""

    width: int

    @nn.compact
    def __call__(self, x):
        """Any input to one number."""
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(1, kernel_init=nn.initializers.normal(0.01))(x)


def network_taste(width: int) -> Model:
    """A head that adds a network of base and features, as in MeLU."""
    net = Residual(width)
    return Model(net.init, lambda params, x: _base(x) + net.apply(params, x))


class Encode(nn.Module):
    """What a rating says: its distance from the base, and a representation of it."""

    width: int

    @nn.compact
    def __call__(self, x):
        """Features and a target to `(n, 1 + width)`."""
        left = x[..., -1:] - _base(x)
        hidden = nn.relu(nn.Dense(self.width)(jnp.concatenate([x, left], axis=-1)))
        return jnp.concatenate([left, nn.Dense(self.width)(hidden)], axis=-1)


def decode(width: int) -> Model:
    """Base + mean distance of the support ratings + a network."""
    net = Residual(width)

    def apply(params, x):
        return x[..., :1] + x[..., 1 + width : 2 + width] + net.apply(params, x)

    return Model(net.init, apply)


def with_ones(body: Model, width: int) -> Model:
    """Features for a Bayesian head: the base, a one, and scaled features."""

    def apply(params, x):
        found = body.apply(params, x)
        ones = jnp.ones_like(found[..., :1])
        return jnp.concatenate([_base(found), ones, TASTE * found[..., 1:] / width**0.5], axis=-1)

    return Model(body.init, apply)
