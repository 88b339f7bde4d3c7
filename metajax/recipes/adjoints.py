"""Adjoints by name: how recipes differentiate an inner loop."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from metajax.adjoints import (
    Adjoint,
    conjugate_gradient,
    first_order,
    implicit,
    mixed_mode,
    neumann,
    remat,
    truncated,
    unrolled,
)
from metajax.names import choose

ADJOINTS: dict[str, Adjoint] = {
    "unrolled": unrolled,
    "first_order": first_order,
    "truncated": truncated(1),
    "remat": remat,
    "mixed_mode": mixed_mode,
}
"""Those of every inner loop."""

IMPLICIT: dict[str, Callable[[float, float], Adjoint]] = {
    "conjugate_gradient": lambda rate, damping: implicit(conjugate_gradient(5, damping=damping)),
    "neumann": lambda rate, damping: implicit(neumann(10, rate)),
    "t1_t2": lambda rate, damping: implicit(neumann(1, rate)),
}
"""Those of an inner loop that ends in a minimum, from its rate and its damping."""

if TYPE_CHECKING:
    ExplicitName: TypeAlias = str
    AdjointName: TypeAlias = str
else:
    ExplicitName = Literal[tuple(ADJOINTS)]
    AdjointName = Literal[(*ADJOINTS, *IMPLICIT)]


def adjoint_of(
    recipe: str, learner: str, name: str, *, rate: float, damping: float | None
) -> Adjoint:
    """Returns the adjoint of this name.

    Args:
      recipe: Whose message it is.
      learner: The name of the learner that takes it.
      name: One of `ADJOINTS` or `IMPLICIT`.
      rate: The inner rate.
      damping: Of conjugate gradients; None for a learner whose inner loop does not end in a minimum.

    Raises:
      ValueError: For an unknown name, and for an implicit adjoint without a minimum.
    """
    choose(recipe, "adjoint", name, (*ADJOINTS, *IMPLICIT))
    if name in ADJOINTS:
        return ADJOINTS[name]
    if damping is None:
        raise ValueError(
            f"{recipe}: adjoint={name!r} differentiates the end of an inner loop as a minimum, but the "
            f"inner loop of learner={learner!r} does not end in one. Use learner='imaml', or one of "
            f"{', '.join(ADJOINTS)}."
        )
    return IMPLICIT[name](rate, damping)
