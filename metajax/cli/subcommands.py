"""Commands and recipes as the subcommands of tyro."""

import functools
import operator
from collections.abc import Mapping
from typing import Annotated, Any

import tyro


def subcommands(kinds: Mapping[str, type]) -> Any:
    """Returns the union of dataclasses that tyro reads as subcommands of these names."""
    named = (Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    return functools.reduce(operator.or_, named)
