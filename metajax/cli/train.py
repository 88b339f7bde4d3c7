"""`metajax train RECIPE`: trains a recipe, tests it, and draws what it does."""

import itertools
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
from jax.sharding import Mesh

from metajax import files, recipes
from metajax.cli.machine import Machine, devices
from metajax.cli.output import console, escape
from metajax.cli.scores import test
from metajax.cli.subcommands import subcommands
from metajax.recipes.experiment import Experiment

if TYPE_CHECKING:
    Settings: TypeAlias = Any
else:
    Settings = subcommands({name: recipe.settings for name, recipe in recipes.RECIPES.items()})


@dataclass(frozen=True)
class Train:
    """Meta-train a recipe, test it on new tasks, and draw what it does."""

    recipe: Settings
    run_dir: Path | None = None
    """A new folder for the run; by default runs/RECIPE-DATE-TIME."""
    resume: bool = False
    """Go on with the run in --run-dir if it holds one, so that one command serves every start of a job."""
    report_every: int | None = None
    """Outer steps from one validation and checkpoint to the next; by default a fiftieth of all."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs metajax[tensorboard])."""
    seeds: int | None = None
    """Train this many seeds, from --seed on, and print their scores, mean and interval. Small learners
    share one program; the others are processes."""
    grid: tuple[str, ...] | None = None
    """Settings with several values, such as --grid inner_rate=0.01,0.03 outer_rate=0.001,0.003. Validation
    tasks choose among their combinations, and the chosen one is tested."""
    jobs: int | None = None
    """Train the members of a sweep as processes, this many at a time, each as it would be alone."""
    machine: Machine = field(default_factory=Machine)


def run(command: Train) -> bool:
    """Trains a recipe in a new folder, or a sweep of it."""
    name = recipes.name_of(command.recipe)
    if command.resume and command.run_dir is None:
        raise ValueError("train: --resume needs the --run-dir of the run to go on with.")
    if command.seeds is not None or command.grid is not None:
        return _sweep(command, name)
    if command.jobs is not None:
        raise ValueError(
            f"train: jobs={command.jobs} has no effect without --seeds or --grid. Leave it out."
        )
    folder = command.run_dir or _new_folder(name)
    experiment = recipes.build(command.recipe)
    resume = command.resume and (folder / "settings.json").exists()
    if resume:
        _check_same(experiment, folder)
    return train_and_test(
        experiment,
        experiment.settings,
        folder,
        devices(command.machine),
        report_every=command.report_every,
        resume=resume,
        tensorboard=command.tensorboard,
    )


def _sweep(command: Train, name: str) -> bool:
    from metajax.cli import sweep

    if command.tensorboard:
        raise ValueError("train: tensorboard has no effect beside --seeds or --grid. Leave it out.")
    if command.grid == ():
        raise ValueError("train: --grid needs settings with values, such as inner_rate=0.01,0.03.")
    if jax.process_count() > 1:
        raise ValueError("train: a sweep is started by one process. Leave --distributed out.")
    folder = command.run_dir or _new_folder(f"{name}-sweep")
    grid, how = command.grid or (), (command.jobs, command.report_every)
    asked = sweep.Asked(command.recipe, command.seeds, grid, *how)
    if command.resume and (folder / sweep.SWEEP).exists():
        sweep.check_same(asked, folder)
        return sweep.go_on(asked, folder, command.machine)
    return sweep.start(asked, folder, command.machine)


_OF_A_MACHINE = ("data", "tasks_per_pass")
"""Settings that may differ between the starts of a run."""


def _check_same(experiment: Experiment, folder: Path) -> None:
    """Checks that a run was started with the settings of an experiment.

    Raises:
      ValueError: Naming the settings that differ.
    """
    from metajax.recipes.run import settings_of

    asked = recipes.to_json(experiment.settings)
    found = recipes.to_json(settings_of(folder, trust=True))
    names = [name for name in asked if asked[name] != found.get(name) and name not in _OF_A_MACHINE]
    if names:
        differences = ", ".join(
            f"{name}={found.get(name)!r}, not {asked.get(name)!r}" for name in names
        )
        raise ValueError(
            f"train: the run in {folder} was started with {differences}. Give the same settings, leave out "
            f"--resume and name another --run-dir, or go on with: metajax resume {folder}"
        )


def _new_folder(name: str) -> Path:
    """A folder that does not exist, also where two runs start at once or the clock was set back."""
    first = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    others = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([first], others) if not folder.exists())


def train_and_test(
    experiment: Experiment, settings: Any, folder: Path, spread_over: list[Any], **how: Any
) -> bool:
    """Trains, tests and draws; returns whether training came to its end.

    Args:
      experiment: As `recipes.build(settings)` made it.
      settings: The recipe's dataclass.
      folder: Of the run.
      spread_over: The devices that may share the tasks of training. Testing is left to the first
        process.
      how: As in `recipes.run.train`.
    """
    from metajax.train.programs import kept

    with kept():  # testing compiles as well
        return _train_and_test(experiment, settings, folder, spread_over, **how)


def _train_and_test(experiment, settings, folder: Path, spread_over, **how: Any) -> bool:
    from metajax.mesh import task_mesh
    from metajax.recipes.run import train

    begun, mesh = time.perf_counter(), task_mesh(settings.meta_batch, spread_over)
    platform, is_first = mesh.devices.flat[0].platform, jax.process_index() == 0
    console.quiet = not is_first  # an error is printed all the same
    console.print(
        f"[bold]metajax train {recipes.name_of(settings)}[/] on {_named(mesh)}, run in {escape(str(folder))}"
    )
    if mesh.size < len(spread_over):
        console.print(
            f"{mesh.size} of {len(spread_over)} devices share the tasks, because their number divides "
            f"meta_batch={settings.meta_batch}."
        )
    if platform == "gpu":
        console.print(
            "float32 products may run in TF32 on this GPU; JAX_DEFAULT_MATMUL_PRECISION=highest "
            "keeps all of float32."
        )
    state = train(experiment, settings, folder, mesh=mesh, **how)
    step = int(state.step)
    if is_first:
        _draw_training(experiment, folder)
    if step < settings.outer_steps or not is_first:
        return step == settings.outer_steps
    path = folder / "evaluation.json"
    test(experiment, step, state.meta_params, path, num_tasks=None, seed=1, mesh=task_mesh())
    if experiment.picture is not None:
        picture = experiment.picture(state.meta_params)
        (folder / "plots").mkdir(exist_ok=True)
        files.write_figure(folder / "plots" / "adaptation.png", picture)
    kept = (
        "" if experiment.keep is None else escape(f"{experiment.keep(state.meta_params, folder)}\n")
    )
    shown = escape(str(folder))
    console.print(
        f"\nLearned: {experiment.learned}\n"
        f"The run is in {shown}: checkpoints, metrics.jsonl, and pictures in {shown}/plots.\n"
        f"{kept}It took {time.perf_counter() - begun:.0f} s in all.\n"
        f"Next: metajax evaluate {shown} {experiment.next_flags}".rstrip()
    )
    return True


def _named(mesh: Mesh) -> str:
    """Such as "cpu", or "4 devices (cpu) of 2 processes"."""
    platform = mesh.devices.flat[0].platform
    processes = len({device.process_index for device in mesh.devices.flat})
    return (
        platform if processes == 1 else f"{mesh.size} devices ({platform}) of {processes} processes"
    )


def _draw_training(experiment: Experiment, folder: Path) -> None:
    from metajax.recipes import plots
    from metajax.train.records import read_metrics

    rows = read_metrics(folder)
    if rows:
        (folder / "plots").mkdir(exist_ok=True)
        figure = plots.training(rows, experiment.metric_name)
        files.write_figure(folder / "plots" / "training.png", figure)
