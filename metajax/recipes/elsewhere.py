"""A trained run on tasks of another source, another data set, or another size."""

from dataclasses import replace
from pathlib import Path

import jax

from metajax import checks
from metajax.data import Pictures
from metajax.names import choose
from metajax.recipes.experiment import Experiment, Preprocessing, Shots
from metajax.recipes.vision.sources import find
from metajax.tasks.images import images
from metajax.types import Sample


def elsewhere(
    experiment: Experiment,
    on: str | None = None,
    *,
    way: int | None = None,
    shot: int | None = None,
    query_shot: int | None = None,
    data: str | Path | None = None,
) -> Experiment:
    """Returns the experiment with other test tasks, prepared as those it was trained on.

    Args:
      experiment: Of a run.
      on: The name of a source or data set, or a folder with one folder of pictures per class; None for
        the run's own test tasks.
      way, shot, query_shot: The size of the tasks; by default that of the run's own.
      data: The folder of the data sets; by default METAJAX_DATA, then the user cache.

    Raises:
      ValueError: For a source that does not fit the run, and for a way that the learner's network has
        no outputs for.
      FileNotFoundError: For data that are missing.
    """
    if experiment.on is not None:
        own_size = way is shot is query_shot is None
        shots = None if own_size else _shots(experiment, way, shot, query_shot)
        return experiment.on(on, data, shots)
    shots = _shots(experiment, way, shot, query_shot)
    name, sample = _source(experiment, on, shots, data)
    _check_inputs(experiment, name, sample)
    return replace(
        experiment, test=sample, test_name=name, shots=shots, published=(), baselines=None
    )


def _shots(e: Experiment, way: int | None, shot: int | None, query_shot: int | None) -> Shots:
    if e.shots is None and e.on is not None:
        raise ValueError(
            "evaluate: the size of this run's test tasks is one of its settings. Leave --way, --shot and "
            "--query-shot out."
        )
    if e.shots is None:
        raise ValueError(
            f"evaluate: a run on {e.test_name} has problems of its own and no other source fits it. "
            "Leave --on, --way, --shot and --query-shot out."
        )
    asked = {"way": way, "shot": shot, "query_shot": query_shot}
    given = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        checks.count("evaluate", name, value)
    if way is not None and e.shots.way is None:
        raise ValueError(
            f"evaluate: way={way} has no effect, because this run's tasks have no classes to choose. Leave "
            "--way out."
        )
    shots = e.shots._replace(**given)
    if e.fixed_way is not None and shots.way != e.fixed_way:
        raise ValueError(
            f"evaluate: way={way} does not fit, because {e.settings.learner}'s network has "
            f"{e.fixed_way} outputs, one per class. Use --way {e.fixed_way}, or train a learner "
            "without a fixed head, such as protonet."
        )
    size = (shots.way or 1) * shots.shot
    if e.fixed_support is not None and size != e.fixed_support:
        raise ValueError(
            f"evaluate: way={shots.way} and shot={shots.shot} give {size} support examples, but "
            f"normalisation={e.settings.normalisation!r} counts {e.fixed_support}. Leave --way and "
            "--shot out."
        )
    return shots


def _source(
    e: Experiment, on: str | None, shots: Shots, data: str | Path | None
) -> tuple[str, Sample]:
    """The name of a source and its tasks."""
    if on is None and e.draw is not None:
        return e.test_name, e.draw(shots)
    on = e.test_name if on is None else on
    if on in e.sources:
        return Path(on).name, e.sources[on](shots)
    if e.preprocessing is None:
        return on, e.sources[choose("evaluate", "on", on, e.sources)](shots)
    found = find(
        f"evaluate: on={on!r}",
        on,
        data,
        e.preprocessing.size,
        e.preprocessing.channels,
        [name for name in e.sources if not Path(name).is_absolute()],
    )
    if found.parts is None and found.origin in e.sources:  # a folder by another path
        return found.name, e.sources[found.origin](shots)
    if found.origin in e.trained_on:
        raise ValueError(
            f"evaluate: on={on!r} has classes that this run was trained on. Use another source."
        )
    return found.name, _pictures(found.tests(), found.name, shots, e.preprocessing)


def _pictures(pictures: Pictures, name: str, shots: Shots, p: Preprocessing) -> Sample:
    return images(
        pictures,
        way=shots.way or 5,
        shot=shots.shot,
        query_shot=shots.query_shot,
        size=p.size,
        channels=p.channels,
        mean=p.mean,
        deviation=p.deviation,
        ink=p.ink,
        name=name,
    )


def _check_inputs(e: Experiment, name: str, sample: Sample) -> None:
    key = jax.random.key(0)
    ours, theirs = (
        jax.tree.map(lambda leaf: leaf.shape[1:], jax.eval_shape(source, key).support.x)
        for source in (e.train, sample)
    )
    if ours != theirs:
        raise ValueError(
            f"evaluate: the inputs of {name} have shape {theirs}, but this run was trained on inputs of "
            f"shape {ours}. Use another source."
        )
