"""Runs of recipes: how they are trained, and how they are read again."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from metajax import files, recipes
from metajax.estimators import automatic, parallel
from metajax.evaluation import evaluate
from metajax.mesh import task_mesh
from metajax.recipes.experiment import Experiment, Preprocessing
from metajax.recipes.learners import is_pretrained
from metajax.train import checkpoint
from metajax.train.loop import fit
from metajax.train.records import read_failure, read_settings
from metajax.train.replay import InnerLoop, Replayed, inner_loop, replay
from metajax.types import Estimator, Learner, Params, TrainState


def estimator_of(experiment: Experiment, meta_batch: int, mesh: Mesh) -> Estimator:
    """Returns the estimator of a recipe: devices and tasks a pass as `automatic` chooses them, or as set."""
    if experiment.tasks_per_pass is None:
        return automatic(mesh)
    return parallel(meta_batch, experiment.tasks_per_pass, mesh=mesh)


def train(
    experiment: Experiment,
    settings: Any,
    run_dir: str | Path,
    *,
    report_every: int | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    mesh: Mesh | None = None,
) -> TrainState:
    """Meta-trains a recipe, and validates it on validation tasks.

    Args:
      experiment: As `recipes.build(settings)` made it.
      settings: The recipe's dataclass.
      run_dir: The folder of the run.
      report_every, resume, tensorboard: As in `fit`.
      mesh: The devices that tasks are spread over; by default all of this process that divide the
        meta-batch.

    Returns:
      The state after the last outer step, or where Ctrl-C stopped the run.

    Raises:
      As `fit` does.
    """
    mesh = task_mesh(settings.meta_batch) if mesh is None else mesh
    return fit(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(settings.seed),
        outer_steps=settings.outer_steps,
        meta_batch=settings.meta_batch,
        mesh=mesh,
        estimator=estimator_of(experiment, settings.meta_batch, mesh),
        validate=lambda meta_params: validation(experiment, meta_params, settings.seed, mesh),
        report_every=report_every,
        run_dir=run_dir,
        settings=written(experiment),
        resume=resume,
        tensorboard=tensorboard,
    )


def validation(experiment: Experiment, meta_params: Params, seed: Any, mesh: Mesh | None) -> Any:
    """Returns the metric on validation tasks, as tables show it; a run has the same tasks at each report."""
    scores = evaluate(
        experiment.learner,
        meta_params,
        experiment.val,
        experiment.metric,
        key=jax.random.key(seed + 1_000_003),
        num_tasks=experiment.validation_tasks,
        num_steps=experiment.validation_steps,
        inductive=False,
        mesh=mesh,
    )
    return experiment.scale * scores.mean


def written(experiment: Experiment) -> dict[str, Any]:
    """Returns what settings.json holds: resolved settings, preprocessing, and what parts of the data hold."""
    found = recipes.to_json(experiment.settings)
    if experiment.preprocessing is not None:
        found["preprocessing"] = experiment.preprocessing._asdict()
    if experiment.parts:
        found["parts"] = {part: list(names) for part, names in experiment.parts.items()}
    return found


def read(run_dir: str | Path, data: str | Path | None = None, *, trust: bool = False) -> Experiment:
    """Returns the experiment of a run of `metajax train`.

    Args:
      run_dir: The folder of the run.
      data: The folder of the data sets, if it has moved.
      trust: Whether functions that its settings name, as `module:function`, are imported and called.

    Raises:
      FileNotFoundError: For a folder without a run, and for data that are missing.
      ValueError: For a run that was not made by a recipe, for settings that are damaged, for one that
        names code, without `trust`, and for data that are not those of the run.
    """
    experiment = recipes.build(settings_of(run_dir, data, trust=trust))
    kept = read_settings(Path(run_dir))["settings"]
    _check_parts(run_dir, experiment, kept.get("parts") or {})
    how = kept.get("preprocessing")
    if how is None:
        return experiment
    with files.naming(Path(run_dir) / "settings.json"):
        pairs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in how.items()}
        return replace(experiment, preprocessing=Preprocessing(**pairs))


def _check_parts(run_dir: str | Path, experiment: Experiment, kept: Mapping[str, Any]) -> None:
    """Checks that data are split as they were, so that nothing that was trained on is tested.

    Raises:
      ValueError: Naming what is new or missing.
    """
    for part, names in kept.items():
        now, before = set(experiment.parts.get(part, ())), set(names)
        if now != before:
            found = {"new": sorted(now - before)[:3], "missing": sorted(before - now)[:3]}
            told = " and ".join(f"{', '.join(own)} is {how}" for how, own in found.items() if own)
            raise ValueError(
                f"{run_dir}: {part} is no longer what it was when the run began: {told}. Data with other names "
                "are split otherwise, and what was trained on would be tested. Restore them, or train again."
            )


def settings_of(run_dir: str | Path, data: str | Path | None = None, *, trust: bool = False) -> Any:
    """Returns the settings of a run of `metajax train`, a recipe's dataclass; otherwise as `read`."""
    values = read_settings(Path(run_dir))["settings"]
    if not (isinstance(values, Mapping) and "recipe" in values):
        raise ValueError(
            f"{run_dir} was not made by `metajax train`. Resume it from Python with "
            "mj.fit(..., run_dir=..., resume=True)."
        )
    fields = {k: v for k, v in values.items() if k not in ("recipe", "preprocessing", "parts")}
    if data is not None:
        fields["data"] = str(data)
    with files.naming(Path(run_dir) / "settings.json"):
        settings = recipes.from_json(values["recipe"], fields)
        if not trust:
            refuse_imports(run_dir, settings)
    return settings


def refuse_imports(run_dir: str | Path, settings: Any) -> None:
    """Checks that settings name no code, because somebody else may have written them.

    Raises:
      ValueError: Naming it.
    """
    for setting, ours in recipes.RECIPES[recipes.name_of(settings)].imports.items():
        value = getattr(settings, setting)
        if value is not None and value not in ours:
            raise ValueError(
                f"{Path(run_dir) / 'settings.json'}: {setting}={value!r} names code, which would be imported "
                "and called. If the run is yours, give trust=True, or --trust."
            )


class Run(NamedTuple):
    """A run, read from its folder.

    experiment: All that its recipe built, test tasks and metric included; None for a run of
      `mj.fit` without a recipe.
    learner: The learner; None without a recipe.
    meta_params: Of the newest whole checkpoint. Without a recipe, nested dicts of arrays by name.
    step: The outer step of that checkpoint.
    settings: The recipe's dataclass, defaults resolved; without a recipe what `fit` was given.
    """

    experiment: Experiment | None
    learner: Learner | None
    meta_params: Params
    step: int
    settings: Any


def restore(run_dir: str | Path, *, data: str | Path | None = None, trust: bool = False) -> Run:
    """Reads a run of `metajax train` or `mj.fit` from its folder, in any process.

    Args:
      run_dir: The folder of the run.
      data: The folder of the data sets that the run's tasks are made of, if it has moved.
      trust: Whether functions that its settings name, as `module:function`, are imported and called. No
        other file of a run can name code.

    Returns:
      A `Run`: `run.learner` with `run.meta_params` adapts and predicts as at the end of training.

    Raises:
      FileNotFoundError: For a folder without a run or without a checkpoint, and for missing data.
      ValueError: For a checkpoint that does not fit its settings.

    Example:
      >>> import jax, optax, tempfile, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     state = mj.fit(learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3),
      ...                    mj.tasks.sinusoid(), key=jax.random.key(0), outer_steps=2, meta_batch=2,
      ...                    run_dir=folder, settings={"note": "short"}, show_progress=False)
      ...     run = restore(folder)
      >>> run.step, run.settings, list(run.meta_params["params"]["Dense_0"])
      (2, {'note': 'short'}, ['bias', 'kernel'])
    """
    folder = Path(run_dir)
    values = read_settings(folder)["settings"]
    saved = folder / "checkpoints"
    if not (isinstance(values, Mapping) and "recipe" in values):
        found = _newest(saved, None)
        return Run(None, None, found.tree, found.step, values)
    experiment = read(folder, data, trust=trust)

    def first(key):
        return experiment.learner.init(key, experiment.train(key).support.x)

    like = jax.eval_shape(first, jax.random.key(0))
    found = _newest(saved, like)
    return Run(experiment, experiment.learner, found.tree, found.step, experiment.settings)


class Replay(NamedTuple):
    """An outer step of a run that was taken again.

    step: The step.
    inner: What its inner loops did; None for a pretrained learner, which is trained without one.
    failure: What `failure.json` holds of the step that was not finite; empty if there was none.
    """

    step: Replayed
    inner: InnerLoop | None
    failure: dict[str, Any]


def replayed(
    run_dir: str | Path,
    step: int | None = None,
    *,
    data: str | Path | None = None,
    trust: bool = False,
) -> Replay:
    """Takes an outer step of a run of `metajax train` again.

    Args:
      run_dir: The folder of the run, in which nothing is written.
      step: The outer step; None for the one that was not finite, or else the newest checkpoint's.
      data: The folder of the data sets, if it has moved.
      trust: As in `restore`.

    Raises:
      FileNotFoundError: For a folder without a run, and for missing data.
      ValueError: For a run that was not made by a recipe.
    """
    folder, experiment = Path(run_dir), read(run_dir, data, trust=trust)
    settings, failure = experiment.settings, read_failure(run_dir)
    if step is None:
        latest, failed = checkpoint.latest(folder / "checkpoints") or 0, failure.get("step")
        step = failed if isinstance(failed, int) else latest
    found = replay(
        experiment.learner,
        experiment.objective,
        experiment.optimizer,
        experiment.train,
        key=jax.random.key(settings.seed),
        meta_batch=settings.meta_batch,
        estimator=estimator_of(experiment, settings.meta_batch, task_mesh(settings.meta_batch)),
        run_dir=folder,
        step=step,
    )
    if is_pretrained(settings.learner):
        return Replay(found, None, failure)
    inner = inner_loop(
        experiment.learner, experiment.loss, found.state.meta_params, found.tasks, found.keys
    )
    return Replay(found, inner, failure)


def _newest(saved: Path, like: Params) -> checkpoint.Restored:
    """The meta-parameters of the newest whole checkpoint; a warning names newer ones that are not."""
    found = checkpoint.newest(saved, like, "meta_params")
    for sentence in found.damaged.values():
        warnings.warn(f"{sentence} Step {found.step} is read in its place.", stacklevel=3)
    return found
