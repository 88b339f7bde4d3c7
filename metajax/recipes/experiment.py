"""What a recipe builds: everything that training and evaluation need, from one frozen dataclass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax

from metajax.evaluation import Evaluation
from metajax.types import Estimator, Learner, Loss, Objective, Optimizer, Params, Sample


@dataclass(frozen=True)
class Published:
    """A row from the literature, and what must be known to compare with it."""

    name: str
    values: tuple[float | None, ...]
    protocol: str


class Rival(NamedTuple):
    """What was measured beside the learner, on the same tasks, and what it is."""

    name: str
    scores: Evaluation
    what: str


@dataclass(frozen=True)
class Experiment:
    """A learner and how it is trained and judged.

    metric_name: for people, such as "accuracy %"; `scale` times the metric is shown under it.
    columns: names of what `test_steps` measures, one a number of inner steps.
    test_steps: inner steps at evaluation; None for a learner without an inner loop.
    validation_steps: those of `test_steps` that validation takes while training.
    digits: after the point, in tables.
    inductive: whether predictions depend on the other queries, so that both policies are shown.
    learned: one sentence on what came out.
    next_flags: for the evaluation that is suggested next.
    picture: meta-parameters to a matplotlib figure of what adapting does, or None.
    rivals: `(key, num_tasks, num_steps)` to what is measured on the test tasks of this key, such as the
      best possible learner where it is known; rows under ours.
    keep: writes what else a run leaves into its folder, and says in a sentence what for.
    """

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
    test_steps: tuple[int, ...] | None
    validation_steps: int | None
    test_tasks: int
    digits: int
    inductive: bool
    learned: str
    next_flags: str
    picture: Callable[[Params], Any] | None
    estimator: Estimator = jax.value_and_grad
    published: tuple[Published, ...] = ()
    rivals: Callable[[jax.Array, int, tuple[int, ...] | None], tuple[Rival, ...]] | None = None
    keep: Callable[[Params, Path], str] | None = None


def refuse_ignored(recipe: str, settings: Any, by: str, has: dict[str, bool]) -> None:
    """See that no setting is given, another than its default, that has no effect beside that of `by`.

    Args:
      recipe: whose message it is.
      settings: a dataclass of defaults.
      by: the setting that decides.
      has: of other settings, whether they have an effect.

    Raises:
      ValueError: for one that has none.
    """
    for setting, effect in has.items():
        value = getattr(settings, setting)
        if value != getattr(type(settings), setting) and not effect:
            raise ValueError(
                f"{recipe}: {setting}={value!r} and {by}={getattr(settings, by)!r} has none; leave "
                f"{setting} out."
            )
