"""Recipes by name: settings as a frozen dataclass, and `build(settings)`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from metajax import checks
from metajax.names import choose
from metajax.recipes.experiment import Experiment
from metajax.recipes.language import intents, relations, summaries, translation
from metajax.recipes.recommendation import ratings
from metajax.recipes.synthetic import icl, optimizer, sinusoid
from metajax.recipes.vision import across, cifar_fs, detection, omniglot


class Recipe(NamedTuple):
    """A dataclass of settings, and the function from such settings to an experiment."""

    settings: type
    build: Callable[[Any], Experiment]


RECIPES = {
    "sinusoid": Recipe(sinusoid.Sinusoid, sinusoid.build),
    "icl": Recipe(icl.Icl, icl.build),
    "omniglot": Recipe(omniglot.Omniglot, omniglot.build),
    "cifar_fs": Recipe(cifar_fs.CifarFs, cifar_fs.build),
    "images": Recipe(across.Across, across.build),
    "detection": Recipe(detection.Detection, detection.build),
    "ratings": Recipe(ratings.Ratings, ratings.build),
    "intents": Recipe(intents.Intents, intents.build),
    "relations": Recipe(relations.Relations, relations.build),
    "summaries": Recipe(summaries.Summaries, summaries.build),
    "translation": Recipe(translation.Translation, translation.build),
    "optimizer": Recipe(optimizer.Optimizer, optimizer.build),
}
"""The only list of recipes: the command line, its help and `metajax list` are made from it."""


def name_of(settings: Any) -> str:
    """Returns the name of the recipe that these settings belong to."""
    return next(name for name, recipe in RECIPES.items() if type(settings) is recipe.settings)


def build(settings: Any) -> Experiment:
    """Returns the experiment of these settings.

    Raises:
      ValueError: For a setting out of its range, and for settings that do not go together.
    """
    name = name_of(settings)
    for setting in ("outer_rate", "inner_rate", "inner_clip", "clip"):
        value = getattr(settings, setting, None)
        if value is not None:
            checks.positive(name, setting, value)
    for setting in ("outer_steps", "meta_batch", "tasks_per_pass"):
        value = getattr(settings, setting, None)
        if value is not None:
            checks.count(name, setting, value)
    return RECIPES[name].build(settings)


def to_json(settings: Any) -> dict[str, Any]:
    """Returns settings as a run writes them; JSON has no infinity.

    Example:
      >>> from metajax.recipes.synthetic.sinusoid import Sinusoid
      >>> to_json(Sinusoid(inner_clip=float("inf")))["inner_clip"]
      'inf'
    """
    values = dataclasses.asdict(settings)
    plain = {key: "inf" if value == float("inf") else value for key, value in values.items()}
    return {"recipe": name_of(settings), **plain}


def from_json(name: str, values: Mapping[str, Any]) -> Any:
    """Returns the settings that `to_json` wrote.

    Raises:
      ValueError: For a recipe or a setting that does not exist.
    """
    recipe = RECIPES[choose("settings.json", "recipe", name, RECIPES)]
    for key in values:
        choose("settings.json", f"setting of {name}", key, recipe.settings.__dataclass_fields__)

    def read(value):
        value = float("inf") if value == "inf" else value
        return tuple(value) if isinstance(value, list) else value  # JSON has no tuples.

    return recipe.settings(**{key: read(value) for key, value in values.items()})
