"""Learners of ratings: each adds a user's taste to a base prediction of items."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
import optax

from metajax.learners.anil import anil
from metajax.learners.neural_process import neural_process
from metajax.learners.ridge import ridge
from metajax.metrics.losses import mse, shrunk
from metajax.recipes.recommendation.networks import (
    BIAS,
    Encode,
    decode,
    items,
    linear_taste,
    network_taste,
    with_ones,
)
from metajax.types import Learner, Model


class Sizes(NamedTuple):
    """What learners of ratings are built from: sizes, the shrinkage of users, and whether ids are used."""

    number: int
    width: int
    shrinkage: float
    ids: bool = False


def _by_steps(head: Callable[[int], Model], num_steps: int, rate: float = 0.5):
    def build(s: Sizes) -> Learner:
        loss = shrunk(mse, s.shrinkage)
        return anil(
            items(s.number, s.width, s.ids), head(s.width), loss, optax.sgd(rate), num_steps
        )

    return build


def _ridge(s: Sizes) -> Learner:
    body = with_ones(items(s.number, s.width, s.ids), s.width)
    mean = jnp.zeros((s.width + 2, 1)).at[0].set(1.0)
    # A bias of variance v and noise of variance 1 shrink a mean by n / (n + 1 / v).
    variance = jnp.full(s.width + 2, 1 / s.shrinkage)
    return ridge(body, mean=mean, variance=variance.at[0].set(0.01 / s.shrinkage))


def _neural_process(s: Sizes) -> Learner:
    encode = Encode(64)
    return neural_process(
        Model(encode.init, encode.apply),
        decode(64),
        embed=items(s.number, s.width, s.ids),
        strength=s.shrinkage,
        deviations=False,
    )


LEARNERS: dict[str, Callable[[Sizes], Learner]] = {
    "zero_step": _by_steps(lambda _: BIAS, 0),
    "bias": _by_steps(lambda _: BIAS, 1),
    "anil": _by_steps(linear_taste, 1),
    "melu": _by_steps(lambda _: network_taste(64), 5, rate=0.05),
    "neural_process": _neural_process,
    "ridge": _ridge,
}
"""Those of `metajax train ratings`."""

if TYPE_CHECKING:
    RatingsLearner: TypeAlias = str
else:
    RatingsLearner = Literal[tuple(LEARNERS)]
