"""What a recipe builds: everything that training and evaluation need, from one frozen dataclass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from metajax.data.store import Ink
from metajax.evaluation import Evaluation
from metajax.types import Learner, Loss, Objective, Optimizer, Params, Sample


@dataclass(frozen=True)
class Published:
    """A row of the literature, and the protocol that must be known to compare with it."""

    name: str
    values: tuple[float | None, ...]
    protocol: str


class Baseline(NamedTuple):
    """The scores of something else on the same tasks, and a note on what it is."""

    name: str
    scores: Evaluation
    note: str


class Shots(NamedTuple):
    """The size of a task. `way` is None for regression, where `shot` counts examples."""

    shot: int
    query_shot: int
    way: int | None = None


class Preprocessing(NamedTuple):
    """How pictures become the inputs of a network, whichever data set they come from.

    size: Pixels a side.
    channels: 1 for grey, 3 for red, green and blue.
    mean, deviation: Of each channel, subtracted and divided by, where pixels are in [0, 1].
    ink: Whether strokes are "bright" on dark paper or "dark" on bright paper; None for photographs,
      whose brightness is kept.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    ink: Ink | None


Baselines = Callable[[jax.Array, int, tuple[int, ...] | None, Mesh | None], tuple[Baseline, ...]]


class ScoreTable(NamedTuple):
    """A table of scores on frozen tasks.

    title: What is measured.
    columns: Such as numbers of support examples.
    rows: Each a mean and half its 95% interval for each column.
    digits: Decimal places.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[float, float], ...]]
    digits: int


class Report(NamedTuple):
    """What a learner and its baselines score on frozen tasks: a title, tables, and notes below them.

    interval: How 95% intervals were computed, half of which tables hold.
    """

    title: str
    tables: tuple[ScoreTable, ...]
    notes: tuple[str, ...]
    interval: str = "Student's t times the standard error"


def pairs_of(found: Any) -> tuple[tuple[float, float], ...]:
    """The means of several columns with half their intervals, as `ScoreTable` holds them."""
    mean, interval = np.asarray(found.mean), np.asarray(found.interval)
    return tuple(zip(mean.tolist(), interval.tolist(), strict=True))


@dataclass(frozen=True)
class Experiment:
    """A learner, and how it is trained and evaluated.

    settings: The settings of the recipe with every default resolved; they rebuild this experiment.
    metric_name: Such as "accuracy %"; tables show `scale` times the metric.
    higher_is_better: Whether the metric is an accuracy or the like, in place of an error.
    columns: The names of what is measured, one for each of `eval_steps`.
    eval_steps: The numbers of inner steps at evaluation; None for a learner without an inner loop.
    validation_steps: The one of `eval_steps` that validation takes.
    digits: Decimal places in tables.
    inductive: Whether predictions depend on the other queries, so that both policies are shown.
    learned: One sentence on what was learned, after "Learned: ".
    next_flags: Flags of the evaluation that is suggested after training.
    picture: Meta-parameters to a matplotlib figure of what adapting does, or None.
    tasks_per_pass: Tasks that a device computes at once; None for what `automatic` chooses.
    test_name: The name of the source of the test tasks.
    shots: The size of a test task.
    draw: The source of test tasks of another size.
    sources: Other sources whose tasks the learner can read, by name.
    trained_on: Data sets and folders of pictures that training has seen classes of; `sources` may have others
      of their classes.
    parts: The names of what each part of data that may change has, such as classes of folders for training;
      `settings.json` keeps them, because another number of them is split otherwise.
    fixed_way: The number of classes that the network has outputs for; None where it takes any way.
    fixed_support: The number of support examples that the network counts, or None.
    preprocessing: How pictures become inputs; None where inputs are no pictures.
    baselines: `(key, num_tasks, num_steps, mesh)` to scores on the test tasks of this key; further
      rows of the table.
    keep: Writes what else a run leaves in its folder, and returns a sentence on its use.
    judge: `(meta_params, seed)` to a report on frozen tasks, where one number for each task is not
      enough; it takes the place of `test` and `baselines`.
    on: The name or file of other data, or None for the run's own; the folder of data sets; and the size of
      tasks, or None for that of the run: to the experiment on them.
    validation_tasks: The number of validation tasks at each report.
    prepared: What the recipe has read of its data, for serving; None where it keeps nothing.
    """

    settings: Any
    learner: Learner
    loss: Loss
    objective: Objective
    optimizer: Optimizer
    train: Sample
    val: Sample
    test: Sample
    metric: Callable[[Any, Any], jax.Array]
    metric_name: str
    scale: float
    columns: tuple[str, ...]
    eval_steps: tuple[int, ...] | None
    validation_steps: int | None
    test_tasks: int
    digits: int
    inductive: bool
    learned: str
    next_flags: str
    picture: Callable[[Params], Any] | None
    test_name: str
    tasks_per_pass: int | None = None
    shots: Shots | None = None
    draw: Callable[[Shots], Sample] | None = None
    sources: Mapping[str, Callable[[Shots], Sample]] = field(default_factory=dict)
    trained_on: frozenset[str] = frozenset()
    parts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fixed_way: int | None = None
    fixed_support: int | None = None
    preprocessing: Preprocessing | None = None
    published: tuple[Published, ...] = ()
    baselines: Baselines | None = None
    keep: Callable[[Params, Path], str] | None = None
    judge: Callable[[Params, int], Report] | None = None
    on: Callable[[Any, str | Path | None, Shots | None], Any] | None = None
    validation_tasks: int = 200
    higher_is_better: bool = False
    prepared: Any = None


def refuse_ignored(recipe: str, settings: Any, by: str, has: Mapping[str, bool]) -> None:
    """Checks that every setting that differs from its default has an effect.

    Args:
      recipe: Whose message it is.
      settings: A dataclass with defaults.
      by: The setting that decides.
      has: Other settings, each with whether it has an effect.

    Raises:
      ValueError: For a setting without effect.
    """
    for setting, effect in has.items():
        value = getattr(settings, setting)
        if value != getattr(type(settings), setting) and not effect:
            refuse(recipe, setting, value, f"{by}={getattr(settings, by)!r}")


def refuse(recipe: str, setting: str, value: Any, beside: str) -> None:
    """Raises the error of a setting that has no effect beside another.

    Raises:
      ValueError: Always.
    """
    raise ValueError(
        f"{recipe}: {setting}={value!r} has no effect with {beside}. Leave {setting} out."
    )
