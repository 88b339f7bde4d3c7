"""The table of learners that detect, each built from the sizes of its network."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from metajax.learners.conditioned import conditioned
from metajax.learners.maml import maml
from metajax.learners.parts import Parts
from metajax.metrics.detection import detection_loss
from metajax.nn.detector import detector
from metajax.types import Learner, Model

DetectorName: TypeAlias = Literal["conditioned", "maml", "anil", "plain"]
PARTS = 4
"""Cells along a side of a template."""


class Sizes(NamedTuple):
    """The width of the network; inner steps in training, and their size."""

    width: int
    num_steps: int
    inner_rate: float

    def inner(self) -> optax.GradientTransformation:
        """Adam, which is differentiable at a zero gradient."""
        return optax.adam(self.inner_rate, eps_root=1e-8)


def _conditioned(sizes: Sizes, tunes: Literal["all", "head"] = "all") -> Learner:
    body, head = detector(sizes.width)
    return conditioned(
        body, head, detection_loss, sizes.inner(), sizes.num_steps, tunes=tunes, parts=PARTS
    )


def _plain(sizes: Sizes) -> Learner:
    return maml(unconditioned(sizes.width), detection_loss, sizes.inner(), sizes.num_steps)


def unconditioned(width: int) -> Model:
    """Returns the network of `conditioned` as a model: it reads features alone, and no template."""
    body, head = detector(width)

    def read(features):
        blank = jnp.zeros((*features.shape[:-1], PARTS**2), features.dtype)
        return jnp.concatenate([blank, features], axis=-1)

    def init(key, x):
        body_key, head_key = jax.random.split(key)
        params = body.init(body_key, x)
        features = jax.eval_shape(lambda: read(body.apply(params, x)))
        return Parts(params, head.init(head_key, jnp.zeros(features.shape, features.dtype)))

    def apply(params, x):
        return head.apply(params.head, read(body.apply(params.body, x)))

    return Model(init, apply)


def fresh(learner: Learner) -> Learner:
    """The same learner from scratch: every task begins with new weights, and nothing is meta-learned."""

    def adapt(meta_params, support, key, **options):
        del meta_params
        init_key, adapt_key = jax.random.split(key)
        return learner.adapt(learner.init(init_key, support.x), support, adapt_key, **options)

    return Learner(lambda key, x: (), adapt, learner.predict, learner.num_steps)


def learner_of(settings: Any) -> Learner:
    """The learner of a recipe's settings."""
    s = settings
    return LEARNERS[s.learner](Sizes(s.width, s.num_steps or 0, s.inner_rate))


LEARNERS: dict[str, Callable[[Sizes], Learner]] = {
    "conditioned": _conditioned,
    "maml": _conditioned,
    "anil": lambda sizes: _conditioned(sizes, "head"),
    "plain": _plain,
}
TRAINS_INSIDE = "maml", "anil"
"""Learners whose inner steps are a part of training; the others take theirs at test alone."""
