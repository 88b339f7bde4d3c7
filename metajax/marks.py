"""Marks in traced programs: they say what was chosen where, and compiled programs do not hold them."""

from typing import Any, TypeVar

from jax.ad_checkpoint import checkpoint_name
from jax.extend import core as jex

Tree = TypeVar("Tree")

_FIRST = "metajax"


def mark(kind: str, *words: Any, on: Tree) -> Tree:
    """Returns arrays whose traced program shows some words; their values are those of `on`.

    Example:
      >>> import jax
      >>> jaxpr = jax.make_jaxpr(lambda w: mark("devices", 2, on=w))(1.0).jaxpr
      >>> marks(jaxpr, "devices")
      (('2',),)
    """
    return checkpoint_name(on, "/".join(map(str, (_FIRST, kind, *words))))


def marks(jaxpr: jex.Jaxpr, kind: str) -> tuple[tuple[str, ...], ...]:
    """The different marks of a kind in a traced program, at any depth, in alphabetical order."""
    found = set()
    for equation in jaxpr.eqns:
        match str(equation.params.get("name", "")).split("/"):
            case [first, its_kind, *words] if (first, its_kind) == (_FIRST, kind):
                found.add(tuple(words))
        for inner in jex.jaxprs_in_params(equation.params):
            found.update(marks(inner, kind))
    return tuple(sorted(found))
