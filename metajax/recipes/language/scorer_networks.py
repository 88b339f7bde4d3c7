"""Networks that score the sentences of a document, and what a choice among them says of a style."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from metajax.recipes.language.sentence_features import MOST
from metajax.types import Model


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
