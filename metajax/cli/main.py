"""The command line: reads flags, calls a recipe, and says what came of it."""

import dataclasses
import inspect
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import tyro
from rich.console import Console
from rich.table import Table

from metajax.recipes.experiment import Experiment
from metajax.recipes.synthetic.icl import Icl
from metajax.recipes.synthetic.optimizer import Optimizer
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.vision.cifar_fs import CifarFs
from metajax.recipes.vision.omniglot import Omniglot

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Train:
    """Meta-train a recipe, test it on new tasks, and draw what it does."""

    recipe: (
        Annotated[Sinusoid, tyro.conf.subcommand("sinusoid")]
        | Annotated[Icl, tyro.conf.subcommand("icl")]
        | Annotated[Omniglot, tyro.conf.subcommand("omniglot")]
        | Annotated[CifarFs, tyro.conf.subcommand("cifar_fs")]
        | Annotated[Optimizer, tyro.conf.subcommand("optimizer")]
    )
    run_dir: Path | None = None
    """A new folder for the run; by default runs/RECIPE-DATE-TIME."""
    report_every: int | None = None
    """Outer steps from one validation and checkpoint to the next; by default a fiftieth of all."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs metajax[tensorboard])."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, to the very bits of one that was not."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    data: str | None = None
    """The folder of the data, if it has moved."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs metajax[tensorboard])."""


@dataclass(frozen=True)
class Evaluate:
    """Test the newest checkpoint of a run on new tasks."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    num_tasks: int | None = None
    """Test tasks; by default the recipe's own number."""
    num_steps: tuple[int, ...] | None = None
    """Inner steps to report, such as --num-steps 0 1 5; by default the recipe's own."""
    seed: int = 1
    """Seed of the test tasks."""
    data: str | None = None
    """The folder of the data, if it has moved."""


@dataclass(frozen=True)
class Inspect:
    """Examine the hypergradient of a run: what is dead, how far from first order, and what it costs."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    num_tasks: int = 16
    """Training tasks to look at."""
    data: str | None = None
    """The folder of the data, if it has moved."""


@dataclass(frozen=True)
class Data:
    """Download a data set into the user cache and verify its checksums."""

    name: tyro.conf.Positional[str]
    """Name of the data set: omniglot, cifar_fs or mnist."""


@dataclass(frozen=True)
class List:
    """Show the recipes, learners, adjoints, objectives, sources and data sets there are."""


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[List, tyro.conf.subcommand("list")]
)

_ABOUT = (
    """metajax: learn how to learn. Start with `metajax train sinusoid`, which needs no data."""
)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's ends in one sentence and exit status 2."""
    try:
        command = tyro.cli(
            Command,
            prog="metajax",
            description=_ABOUT,
            args=args,
            config=(
                tyro.conf.OmitArgPrefixes,
                tyro.conf.OmitSubcommandPrefixes,
                tyro.conf.CascadeSubcommandArgs,
            ),
        )
    except SystemExit as stopped:
        if stopped.code:
            _suggest(sys.argv[1:] if args is None else args)
        raise
    from metajax.cli.machine import one_device_per_core
    from metajax.train.loop import NonFiniteError

    one_device_per_core()
    try:
        finished = _DO[type(command)](command)
    except (ValueError, OSError, ModuleNotFoundError, NonFiniteError) as error:
        console.print(f"[bold red]error[/] {_escape(str(error))}")
        sys.exit(2)
    sys.exit(0 if finished else 130)  # 130: stopped by Ctrl-C, as shells have it


def _suggest(words: Sequence[str]) -> None:
    """Name what was likely meant by a word that is the name of nothing."""
    from metajax.names import nearest
    from metajax.recipes import RECIPES

    hints = [get_type_hints(recipe.settings) for recipe in RECIPES.values()]
    commands = {kind.__name__.lower() for kind in _DO}
    known = {*RECIPES, *(name for hint in hints for kind in hint.values() for name in _names(kind))}
    for word in words:
        near = None if word.startswith("-") else nearest(word, known | commands)
        if near and word not in known | commands:
            console.print(f"Did you mean '{near}' by '{word}'?", markup=False)


def _names(kind: Any) -> list[str]:
    """Those that a setting of this type takes."""
    if isinstance(kind, str):
        return [kind]
    return [name for part in get_args(kind) for name in _names(part)]


def train(command: Train) -> bool:
    """`metajax train RECIPE`."""
    from metajax import recipes

    name = recipes.name_of(command.recipe)
    folder = command.run_dir or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    how = {"report_every": command.report_every, "tensorboard": command.tensorboard}
    return _run(name, command.recipe, folder, **how)


def resume(command: Resume) -> bool:
    """`metajax resume RUN`."""
    name, settings = _settings(command.run, command.data)
    return _run(name, settings, command.run, resume=True, tensorboard=command.tensorboard)


def evaluate(command: Evaluate) -> bool:
    """`metajax evaluate RUN`."""
    from metajax import recipes
    from metajax.train import loop as training

    _, settings = _settings(command.run, command.data)
    experiment = recipes.build(settings)
    if command.num_steps is not None:
        if experiment.test_steps is None:
            raise ValueError("evaluate: this learner has no inner loop; leave --num-steps out.")
        experiment = dataclasses.replace(
            experiment,
            test_steps=command.num_steps,
            columns=tuple(f"step {n}" for n in command.num_steps),
            published=(),
        )
    step, meta_params = training.restore_meta_params(
        command.run, experiment.learner, experiment.optimizer, experiment.train
    )
    _test(experiment, step, meta_params, command.run, command.num_tasks, command.seed)
    return True


def inspect_run(command: Inspect) -> bool:
    """`metajax inspect RUN`."""
    import jax

    from metajax import recipes
    from metajax.inspection import inspect as examine
    from metajax.recipes.learners import takes_adjoint
    from metajax.train import loop as training

    _, settings = _settings(command.run, command.data)
    experiment = recipes.build(settings)
    step, meta_params = training.restore_meta_params(
        command.run, experiment.learner, experiment.optimizer, experiment.train
    )
    reference = None
    if takes_adjoint(settings.learner):
        first = dataclasses.replace(settings, adjoint="first_order")
        reference = recipes.build(first).learner
    keys = jax.random.split(jax.random.key(1), command.num_tasks)
    found = examine(
        experiment.learner,
        experiment.loss,
        meta_params,
        jax.vmap(experiment.train)(keys),
        jax.random.key(2),
        num_steps=experiment.validation_steps,
        reference=reference,
    )
    console.print(
        f"[bold]{settings.learner}, outer step {step:,}, {command.num_tasks} training tasks[/]"
    )
    console.print(_escape(str(found)))
    if reference is not None:
        console.print("the reference is the same learner with first-order steps")
    return True


def data(command: Data) -> bool:
    """`metajax data NAME`."""
    from metajax.data import cifar, mnist, omniglot, store
    from metajax.names import choose

    def characters(folder: Path) -> str:
        found = omniglot.load(folder)
        return f"{len(found.names)} characters of {omniglot.DRAWINGS} drawings"

    def photographs(folder: Path) -> str:
        found = cifar.load(folder)
        return f"{len(found.names)} classes of {cifar.PER_CLASS} photographs"

    def digits(folder: Path) -> str:
        return f"{len(mnist.load(data=folder).labels):,} test digits"

    sets = {
        "omniglot": (
            omniglot.DOWNLOADS,
            characters,
            "Lake et al. 2015, MIT licence",
            "omniglot",
        ),
        "cifar_fs": (
            cifar.DOWNLOADS,
            photographs,
            "CIFAR-100, Krizhevsky 2009, no licence stated",
            "cifar_fs",
        ),
        "mnist": (
            mnist.DOWNLOADS,
            digits,
            "LeCun, Cortes and Burges",
            "optimizer --source mnist",
        ),
    }
    downloads, read, origin, recipe = sets[choose("data", "name", command.name, sets)]
    with console.status(f"downloading {command.name}"):
        folder = store.fetch(command.name, downloads)
        found = read(folder.parent)
    console.print(
        f"{command.name} is in {folder}: {found} ({origin}).\nNext: metajax train {recipe}"
    )
    return True


def list_all(command: List) -> bool:
    """`metajax list`."""
    del command
    from metajax import recipes
    from metajax.nn.normalisation import NORMALISATIONS

    catalogue = {
        "Recipes: metajax train NAME": {
            name: _first_line(recipe.settings) for name, recipe in recipes.RECIPES.items()
        },
        **{title: _public(packages) for title, packages in _PACKAGES.items()},
        "Normalisation: mj.conv4(normalisation=NAME)": {
            name: _line(getattr(layer, "func", layer)) for name, layer in NORMALISATIONS.items()
        },
        "Data sets: metajax data NAME": {
            "omniglot": "1623 characters, 20 drawings each (Lake et al. 2015, MIT licence)",
            "cifar_fs": "100 classes, 600 photographs each (CIFAR-100, Krizhevsky 2009, no licence stated)",
            "mnist": "10,000 handwritten digits, MNIST's test set (LeCun, Cortes and Burges)",
        },
    }
    for title, entries in catalogue.items():
        table = Table(
            title=title, title_justify="left", title_style="bold", show_header=False, box=None
        )
        table.add_column(no_wrap=True)
        table.add_column()
        for name, line in entries.items():
            table.add_row(f"  {name}", _escape(line))
        console.print(table)
    return True


_PACKAGES = {
    "Learners": ("metajax.learners",),
    "Inner loops": ("metajax.inner",),
    "Adjoints and their solvers": ("metajax.adjoints",),
    "Objectives": ("metajax.objectives",),
    "Objectives that show their inner steps": ("metajax.optimizers.unroll",),
    "Estimators": ("metajax.estimators",),
    "Training": ("metajax.outer", "metajax.train.loop"),
    "Evaluation": ("metajax.evaluation", "metajax.inspection"),
    "Losses and metrics": ("metajax.metrics.losses", "metajax.metrics.binned"),
    "Sources": ("metajax.tasks",),
    "Learned optimisers": ("metajax.optimizers", "metajax.optimizers.export"),
    "Problems for optimisers": ("metajax.optimizers.problems",),
    "Models": ("metajax.nn.models",),
    "Models that read a context": ("metajax.nn.contexts",),
    "Operations of a model": ("metajax.ops",),
}


def _public(packages: tuple[str, ...]) -> dict[str, str]:
    """The public functions of modules or packages, each with its line."""
    import metajax

    lines = {}
    parts = {f"mj.{part}.": getattr(metajax, part) for part in ("tasks", "optimizers", "problems")}
    for prefix, module in {"mj.": metajax, **parts}.items():
        for name, thing in sorted(vars(module).items()):
            of = getattr(thing, "__module__", "")
            if name.startswith("_") or not inspect.isfunction(thing):
                continue
            # What a part merely imports is shown where it is at home.
            if of.startswith(module.__name__) and any(
                of == package or of.startswith(f"{package}.") for package in packages
            ):
                lines[f"{prefix}{name}"] = _line(thing)
    return lines


def _line(thing: Any) -> str:
    """What its docstring begins with, and its source."""
    reference = re.search(r"Reference: (.*?)(?:, sections? .*?)?\.\s", thing.__doc__ or "")
    source = f" ({' '.join(reference[1].split())})" if reference else ""
    return _first_line(thing).rstrip(".") + source


def _cell(digits: int, *numbers: float) -> str:
    """A mean and its interval, or a median; the inner loop of some task overflowed where it is no number."""
    if not all(map(math.isfinite, numbers)):
        return "diverged"
    return " ± ".join(f"{number:.{digits}f}" for number in numbers)


def _plain(numbers: Any) -> list[float | None]:
    """For JSON, which has no word for what is no number."""
    return [float(number) if math.isfinite(number) else None for number in numbers]


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _run(name: str, settings: Any, folder: Path, **how: Any) -> bool:
    """Train as `how` says to `recipes.train`, then test and draw."""
    import jax

    from metajax import recipes
    from metajax.data.store import cache_dir
    from metajax.recipes import plots
    from metajax.train import loop as training

    # A second start finds the compiled programs of the first.
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    begun = time.perf_counter()
    experiment = recipes.build(settings)
    console.print(f"[bold]metajax train {name}[/] on {jax.devices()[0].platform}, run in {folder}")
    if jax.default_backend() == "gpu":
        console.print(
            "float32 products may run in TF32 on this GPU; JAX_DEFAULT_MATMUL_PRECISION=highest "
            "keeps all of float32."
        )
    state = recipes.train(experiment, settings, folder, **how)
    pictures = folder / "plots"
    pictures.mkdir(exist_ok=True)
    rows = training.read_metrics(folder)
    if rows:
        plots.training(rows, experiment.metric_name).savefig(pictures / "training.png", dpi=150)
    if int(state.step) < settings.outer_steps:
        return False
    _test(experiment, int(state.step), state.meta_params, folder, None, seed=1)
    if experiment.picture is not None:
        experiment.picture(state.meta_params).savefig(pictures / "adaptation.png", dpi=150)
    kept = "" if experiment.keep is None else f"{experiment.keep(state.meta_params, folder)}\n"
    console.print(
        f"\nLearned: {experiment.learned}\n"
        f"It is in {folder}: checkpoints, metrics.jsonl, and pictures in {pictures}.\n"
        f"{kept}All of it took {time.perf_counter() - begun:.0f} s.\n"
        f"Next: metajax evaluate {folder} {experiment.next_flags}".rstrip()
    )
    return True


def _test(
    experiment: Experiment,
    step: int,
    meta_params: Any,
    folder: Path,
    num_tasks: int | None,
    seed: int,
) -> None:
    import jax
    import numpy as np

    from metajax.evaluation import Evaluation, Score, evaluate

    num_tasks = experiment.test_tasks if num_tasks is None else num_tasks
    scores = evaluate(
        experiment.learner,
        meta_params,
        experiment.test,
        experiment.metric,
        key=jax.random.key(seed),
        num_tasks=num_tasks,
        num_steps=experiment.test_steps,
        inductive=experiment.inductive,
    )
    table = Table(
        title=f"metajax: {experiment.metric_name} on {num_tasks:,} new tasks, outer step {step:,}",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    for column in experiment.columns:
        table.add_column(column, justify="right")
    written = {"step": step, "num_tasks": num_tasks, "seed": seed, "columns": experiment.columns}

    def add(name: str, score: Evaluation | Score, shown_as: str) -> None:
        mean, interval, median = (
            np.atleast_1d(experiment.scale * v)
            for v in (score.mean, score.interval, np.median(score.values, axis=0))
        )
        digits = experiment.digits
        table.add_row(
            shown_as, *(_cell(digits, *pair) for pair in zip(mean, interval, strict=True))
        )
        if shown_as == "mean":
            table.add_row("median", *(_cell(digits, m) for m in median))
        written[name] = {
            "mean": _plain(mean),
            "interval": _plain(interval),
            "median": _plain(median),
        }

    if scores.inductive is None:
        add("metajax", scores, "mean")
    else:
        add("transductive", scores, "transductive")
        add("inductive", scores.inductive, "inductive")
    rivals = ()
    if experiment.rivals is not None:
        with console.status("measuring what it is compared with"):
            rivals = experiment.rivals(jax.random.key(seed), num_tasks, experiment.test_steps)
    for rival in rivals:
        add(rival.name, rival.scores, f"[dim]{rival.name}[/]")
    for row in experiment.published:
        shown = ["" if value is None else f"{value:g}" for value in row.values]
        table.add_row(f"[dim]{row.name}[/]", *shown)
    console.print(table)
    console.print("±: half of a 95% interval over tasks, 1.96 standard errors.")
    notes = [(rival.name, rival.what) for rival in rivals]
    for name, note in notes + [(row.name, row.protocol) for row in experiment.published]:
        console.print(f"[dim]{name}: {note}.[/]")
    if experiment.inductive:
        console.print(
            "[dim]transductive: the queries of a task share batch statistics; inductive: each "
            "query is predicted alone with the support set.[/]"
        )
    (folder / "evaluation.json").write_text(json.dumps(written, indent=2) + "\n")


def _settings(folder: Path, data: str | None) -> tuple[str, Any]:
    from metajax import recipes
    from metajax.train import loop as training

    written = training.read_settings(folder)["settings"]
    if not written or "recipe" not in written:
        raise ValueError(
            f"{folder} was not made by `metajax train`; resume it from Python with "
            "mj.fit(..., run_dir=..., resume=True)."
        )
    name = written.pop("recipe")
    if data is not None:
        written["data"] = data
    return name, recipes.from_json(name, written)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


_DO = {
    Train: train,
    Evaluate: evaluate,
    Resume: resume,
    Inspect: inspect_run,
    Data: data,
    List: list_all,
}
