"""Recipes by name: settings as a frozen dataclass, and `build(settings)`."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax

from metajax.evaluation import evaluate
from metajax.names import choose
from metajax.recipes.experiment import Experiment
from metajax.recipes.synthetic import icl, optimizer, sinusoid
from metajax.recipes.vision import cifar_fs, omniglot
from metajax.train.loop import fit
from metajax.types import TrainState

VALIDATION_TASKS = 200


class Recipe(NamedTuple):
    """A dataclass of settings, and what turns one into an experiment."""

    settings: type
    build: Any


RECIPES = {
    "sinusoid": Recipe(sinusoid.Sinusoid, sinusoid.build),
    "icl": Recipe(icl.Icl, icl.build),
    "omniglot": Recipe(omniglot.Omniglot, omniglot.build),
    "cifar_fs": Recipe(cifar_fs.CifarFs, cifar_fs.build),
    "optimizer": Recipe(optimizer.Optimizer, optimizer.build),
}


def name_of(settings: Any) -> str:
    """The recipe that these settings belong to."""
    return next(name for name, recipe in RECIPES.items() if type(settings) is recipe.settings)


def build(settings: Any) -> Experiment:
    """The experiment that these settings describe.

    Raises:
      ValueError: for a setting that is out of its range.
    """
    for name in ("outer_rate", "inner_rate", "clip"):
        value = getattr(settings, name, None)
        if value is not None and not value > 0:
            raise ValueError(f"{name_of(settings)}: {name}={value}; give a number above 0.")
    for name in ("outer_steps", "meta_batch", "tasks_per_pass"):
        value = getattr(settings, name, None)
        if value is not None and value < 1:
            raise ValueError(f"{name_of(settings)}: {name}={value}; give 1 or more.")
    return RECIPES[name_of(settings)].build(settings)


def train(
    experiment: Experiment,
    settings: Any,
    run_dir: str | Path,
    *,
    report_every: int | None = None,
    resume: bool = False,
    tensorboard: bool = False,
) -> TrainState:
    """Meta-train what `build` made of these settings, validating on validation tasks alone.

    Returns:
      The state after the last outer step or where Ctrl-C stopped it.

    Raises:
      As `fit` does.
    """

    def validate(meta_params):
        scores = evaluate(
            experiment.learner,
            meta_params,
            experiment.val,
            experiment.metric,
            key=jax.random.key(settings.seed + 1_000_003),
            num_tasks=VALIDATION_TASKS,
            num_steps=experiment.validation_steps,
            inductive=False,
        )
        return experiment.scale * scores.mean

    return fit(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(settings.seed),
        outer_steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        estimator=experiment.estimator,
        validate=validate,
        report_every=report_every,
        run_dir=run_dir,
        settings={"recipe": name_of(settings), **dataclasses.asdict(settings)},
        resume=resume,
        tensorboard=tensorboard,
    )


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
