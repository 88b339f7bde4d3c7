"""The outer optimisers of image recipes, by name."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import optax

OuterName: TypeAlias = Literal["adam", "sgd"]
_DECAY, _CLIMB = 5e-4, 0.2
"""Of weights, in each step of SGD; and the part of the steps in which its rate climbs."""


class Outer(NamedTuple):
    """An optimiser of the outer loop.

    rate: Its greatest step size, unless the settings have another.
    build: `(rate, steps) -> optimizer`.
    """

    rate: float
    build: Callable[[Any, int], optax.GradientTransformation]


def _adam(rate: Any, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def _sgd(rate: Any, steps: int) -> optax.GradientTransformation:
    climb = min(int(_CLIMB * steps), steps - 1)
    rise = optax.linear_schedule(rate / (climb + 1), rate, max(1, climb))
    fall = optax.cosine_decay_schedule(rate, steps - climb)
    schedule = optax.join_schedules([rise, fall], [climb])
    return optax.chain(
        optax.add_decayed_weights(_DECAY), optax.sgd(schedule, momentum=0.9, nesterov=True)
    )


OUTER: Mapping[OuterName, Outer] = {"adam": Outer(1e-3, _adam), "sgd": Outer(0.1, _sgd)}
"""Adam is what meta-learners are trained with; SGD trains deep networks to better features."""
