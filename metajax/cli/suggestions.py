"""Hints for words of the command line that are the name of nothing."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from metajax.names import nearest
from metajax.recipes import RECIPES

ALIASES: dict[str, tuple[str, ...]] = {
    "lr": ("outer-rate", "inner-rate"),
    "learning-rate": ("outer-rate", "inner-rate"),
    "meta-lr": ("outer-rate",),
    "outer-lr": ("outer-rate",),
    "inner-lr": ("inner-rate",),
    "steps": ("outer-steps", "num-steps"),
    "epochs": ("outer-steps",),
    "iterations": ("outer-steps",),
    "inner-steps": ("num-steps", "loss-steps"),
    "batch-size": ("meta-batch",),
    "meta-batch-size": ("meta-batch",),
    "ways": ("way",),
    "n-way": ("way",),
    "shots": ("shot",),
    "k-shot": ("shot",),
    "num-queries": ("query-shot",),
    "data-dir": ("data",),
    "output-dir": ("run-dir",),
    "model": ("learner",),
    "dataset": ("source", "on"),
    "test-num-steps": ("eval-steps",),
    "judged-steps": ("loss-steps",),
}
"""Flags of other libraries, each with ours of the same meaning."""


def suggestions(words: Sequence[str], commands: Mapping[str, type]) -> Iterator[str]:
    """Yields a hint for every word that is near a name, and every flag that is near a flag.

    Args:
      words: The command line.
      commands: The dataclass of every command, by name.
    """
    recipes = {name: recipe.settings for name, recipe in RECIPES.items()}
    kinds = {**commands, **recipes}
    used = [kinds[word] for word in words if word in kinds]
    flags = sorted({flag for kind in used or commands.values() for flag in _flags(kind)})
    asked = [recipes[word] for word in words if word in recipes]
    of_flags = [_names(kind) for kind in (*asked, *recipes.values(), *commands.values())]
    known = {
        *recipes,
        *commands,
        *(name for names in of_flags for each in names.values() for name in each),
    }
    for before, word in pairwise(("", *words)):
        name = word.lstrip("-").partition("=")[0].replace("_", "-")
        if word.startswith("--") and name not in flags:
            near = _near_flags(name, flags)
            if near:
                yield f"Did you mean {' or '.join(f'--{flag}' for flag in near)} by '{word}'?"
        elif not word.startswith("-") and word not in known:
            own = next((names[before] for names in of_flags if before in names), known)
            near_name = nearest(word, own)
            if near_name:
                yield f"Did you mean '{near_name}' by '{word}'?"


def _near_flags(name: str, flags: Iterable[str]) -> list[str]:
    found = [flag for flag in ALIASES.get(name, ()) if flag in flags]
    near = nearest(name, flags)
    return found or ([near] if near else [])


def _flags(kind: type) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        name = field.name.replace("_", "-")
        yield name
        if isinstance(field.default, bool):
            yield f"no-{name}"


def _names(kind: Any) -> dict[str, list[str]]:
    """The names that each flag with a value takes: none where it takes a number, or any word."""

    def inside(hint: Any) -> list[str]:
        if isinstance(hint, str):
            return [hint]
        return [name for part in get_args(hint) for name in inside(part)]

    hints = get_type_hints(kind).items()
    return {
        f"--{field.replace('_', '-')}": inside(hint) for field, hint in hints if hint is not bool
    }
