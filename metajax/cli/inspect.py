"""`metajax inspect RUN`: examines the hypergradient of a run."""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from metajax import checks, recipes
from metajax.cli.output import console, escape


@dataclass(frozen=True)
class Inspect:
    """Examine the hypergradient of a run: dead meta-parameters, the distance from first order, its cost."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    num_tasks: int = 16
    """The number of training tasks that the hypergradient is taken on."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""
    trust: bool = False
    """Import and call the function that --vectors named when the run was trained."""


def run(command: Inspect) -> bool:
    """Examines the hypergradient of a run on training tasks."""
    import jax

    from metajax.inspection import inspect
    from metajax.recipes.learners import is_pretrained, takes_adjoint
    from metajax.recipes.run import restore
    from metajax.tasks.batch import batch

    checks.count("inspect", "num_tasks", command.num_tasks)
    found = restore(command.run, data=command.data, trust=command.trust)
    experiment, settings = found.experiment, found.settings
    if experiment is None:
        raise ValueError(
            f"inspect: {command.run} was not made by `metajax train`, so its learner is unknown. Use "
            "mj.restore and mj.inspect from Python."
        )
    if is_pretrained(settings.learner):
        raise ValueError(
            f"inspect: learner={settings.learner!r} was trained to classify all training classes, not through "
            "the loss of its queries, which is what inspect looks at."
        )
    reference = None
    if hasattr(settings, "adjoint") and takes_adjoint(settings.learner):
        reference = recipes.build(replace(settings, adjoint="first_order")).learner
    report = inspect(
        experiment.learner,
        experiment.loss,
        found.meta_params,
        batch(experiment.train, jax.random.key(1), command.num_tasks),
        jax.random.key(2),
        num_steps=experiment.validation_steps,
        reference=reference,
    )
    console.print(
        f"[bold]{settings.learner}, outer step {found.step:,}, {command.num_tasks} training tasks[/]"
    )
    console.print(escape(str(report)))
    if reference is not None:
        console.print("the reference is the same learner with first-order steps")
    return True
