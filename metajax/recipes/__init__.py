"""Recipes by name: settings as a frozen dataclass, and `build(settings)`."""

import dataclasses
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from metajax import checks
from metajax.names import choose
from metajax.recipes.experiment import Experiment
from metajax.recipes.language import intents, relations, summaries, translation
from metajax.recipes.recommendation import ratings
from metajax.recipes.synthetic import icl, optimizer, sinusoid
from metajax.recipes.vision import across, cifar_fs, detection, omniglot


class Recipe(NamedTuple):
    """A recipe.

    settings: A dataclass.
    build: Such settings to an experiment.
    imports: Settings that may name code, as `module:function`, and the names of theirs that are our own.
    """

    settings: type
    build: Callable[[Any], Experiment]
    imports: Mapping[str, tuple[str, ...]] = {}


RECIPES = {
    "sinusoid": Recipe(sinusoid.Sinusoid, sinusoid.build),
    "icl": Recipe(icl.Icl, icl.build),
    "omniglot": Recipe(omniglot.Omniglot, omniglot.build),
    "cifar_fs": Recipe(cifar_fs.CifarFs, cifar_fs.build),
    "images": Recipe(across.Across, across.build),
    "detection": Recipe(detection.Detection, detection.build),
    "ratings": Recipe(ratings.Ratings, ratings.build),
    "intents": Recipe(intents.Intents, intents.build, {"vectors": ("wordllama",)}),
    "relations": Recipe(relations.Relations, relations.build, {"vectors": ("wordllama",)}),
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
      ValueError: For a recipe or a setting that does not exist, and for a value of another type.
    """
    recipe = RECIPES[choose("settings.json", "recipe", name, RECIPES)]
    hints = get_type_hints(recipe.settings)
    for key in values:
        choose("settings.json", f"setting of {name}", key, recipe.settings.__dataclass_fields__)

    def read(value):
        value = float("inf") if value == "inf" else value
        return tuple(value) if isinstance(value, list) else value  # JSON has no tuples.

    found = {key: read(value) for key, value in values.items()}
    for key, value in found.items():
        if not _fits(value, hints[key]):
            raise ValueError(
                f"settings.json: setting of {name} {key}={value!r:.60} is not of type "
                f"{getattr(hints[key], '__name__', hints[key])}."
            )
    return recipe.settings(**found)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a type of the settings.

    Example:
      >>> _fits(3, int | None), _fits("3", int), _fits((1, 2), tuple[int, ...])
      (True, False, True)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (UnionType, Union):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(each) == len(value) and all(map(_fits, value, each))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is float:
        return isinstance(value, int | float)
    return not isinstance(hint, type) or isinstance(value, hint)
