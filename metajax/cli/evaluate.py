"""`metajax evaluate RUN`: tests a run on new tasks, its own or those of another source."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from metajax.cli.scores import test
from metajax.recipes.experiment import Experiment


@dataclass(frozen=True)
class Evaluate:
    """Test the newest checkpoint of a run on new tasks, its own or those of another source.

    --on takes any data set of `metajax list datasets`, an invented source such as glyphs or lines, or
    a folder that holds one folder of pictures per class. Pictures are prepared as those of the run.
    """

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    on: str | None = None
    """The source of the test tasks: a name or a folder; by default that of the run. Of a data set with a
    published split it is the test classes, and of the run's own source the classes that were held out."""
    way: int | None = None
    """Classes in a test task; by default as in the run. Learners with an output for each class, such as
    MAML, cannot take another number."""
    shot: int | None = None
    """Support examples of each class; by default as in the run."""
    query_shot: int | None = None
    """Query examples of each class; by default as in the run."""
    ink: Literal["any"] | None = None
    """Leave pictures as they are, of which ink has no clear polarity; by default drawings are turned to that of
    the run."""
    num_tasks: int | None = None
    """Test tasks; by default the recipe's own number."""
    num_steps: tuple[int, ...] | None = None
    """Inner steps to report, such as --num-steps 0 1 5; by default the recipe's own."""
    seed: int = 1
    """Seed of the test tasks."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""
    trust: bool = False
    """Import and call the function that --vectors named when the run was trained."""


NO_FILE_NAME = r"[^\w.,+ -]"
"""Characters that no file's name has."""


def run(command: Evaluate) -> bool:
    """Tests a run; evaluation.json is that of its own test tasks, in their own number and steps."""
    from metajax.mesh import task_mesh
    from metajax.recipes.elsewhere import elsewhere
    from metajax.recipes.run import restore

    found = restore(command.run, data=command.data, trust=command.trust)
    experiment = found.experiment
    if experiment is None:
        raise ValueError(
            f"evaluate: {command.run} was not made by `metajax train`, so its learner is unknown. Use "
            "mj.restore and mj.evaluate from Python."
        )
    size = {"way": command.way, "shot": command.shot, "query_shot": command.query_shot}
    if command.ink is not None:
        experiment = as_they_are(experiment, command.on)
    if command.on is not None or any(value is not None for value in size.values()):
        data = getattr(found.settings, "data", None) if command.data is None else command.data
        experiment = elsewhere(experiment, command.on, **size, data=data)
    asked = (command.on, *size.values(), command.num_tasks, command.num_steps, command.ink)
    own = all(value is None for value in asked) and command.seed == Evaluate.seed
    name = "" if own else f"-{re.sub(NO_FILE_NAME, '-', experiment.test_name)}"
    if command.num_steps is not None:
        experiment = with_steps(experiment, command.num_steps)
    test(
        experiment,
        found.step,
        found.meta_params,
        command.run / f"evaluation{name}.json",
        num_tasks=command.num_tasks,
        seed=command.seed,
        mesh=task_mesh(),
    )
    return True


def as_they_are(experiment: Experiment, on: str | None) -> Experiment:
    """Returns the experiment that leaves the polarity of other pictures as it is.

    Raises:
      ValueError: Where nothing is read, or no pictures.
    """
    if experiment.preprocessing is None or on is None:
        raise ValueError(
            "evaluate: ink='any' has no effect without --on and pictures. Leave --ink out."
        )
    return replace(experiment, preprocessing=experiment.preprocessing._replace(ink=None))


def with_steps(experiment: Experiment, num_steps: tuple[int, ...]) -> Experiment:
    """Returns the experiment with other numbers of inner steps at evaluation.

    Raises:
      ValueError: For a learner without an inner loop, and for a recipe with a report of its own.
    """
    if experiment.judge is not None:
        raise ValueError(
            "evaluate: the report of this run has its own numbers of inner steps. Leave --num-steps out."
        )
    if experiment.eval_steps is None:
        raise ValueError("evaluate: this learner has no inner loop. Leave --num-steps out.")
    columns = tuple(f"step {n}" for n in num_steps)
    return replace(experiment, eval_steps=num_steps, columns=columns, published=())
