"""Recipes by name: settings as a frozen dataclass, and `build(settings)`."""

from typing import Any, NamedTuple

from metajax.names import choose
from metajax.recipes import omniglot, sinusoid
from metajax.recipes.experiment import Experiment


class Recipe(NamedTuple):
    """A dataclass of settings, and what turns one into an experiment."""

    settings: type
    build: Any


RECIPES = {
    "sinusoid": Recipe(sinusoid.Sinusoid, sinusoid.build),
    "omniglot": Recipe(omniglot.Omniglot, omniglot.build),
}


def name_of(settings: Any) -> str:
    """The recipe that these settings belong to."""
    return next(name for name, recipe in RECIPES.items() if type(settings) is recipe.settings)


def build(settings: Any) -> Experiment:
    """The experiment that these settings describe."""
    return RECIPES[name_of(settings)].build(settings)


def from_json(name: str, values: dict[str, Any]) -> Any:
    """Settings as they were written by a run.

    Raises:
      ValueError: for a recipe or a setting that does not exist.
    """
    recipe = RECIPES[choose("settings.json", "recipe", name, RECIPES)]
    for key in values:
        choose("settings.json", f"setting of {name}", key, recipe.settings.__dataclass_fields__)
    # JSON has no tuples.
    tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return recipe.settings(**tuples)
