"""Members of a sweep of a recipe as one program, which builds the recipe from traced settings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from metajax import recipes
from metajax.mesh import task_mesh
from metajax.outer import outer_step
from metajax.recipes.experiment import Experiment
from metajax.recipes.run import estimator_of, validation, written
from metajax.recipes.sweep import Group
from metajax.train import advance, together
from metajax.train.feed import Drawn
from metajax.train.loop import first_state
from metajax.train.sweep import over_members

MEMBERS_PER_PASS = 1
"""Members that a device computes at once on a CPU; `python benchmarks/sweeps.py --only rule` measures it."""

_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    ValueError,  # of a check, which the value has passed and its tracer does not
)


def can_trace(settings: Any, name: str) -> bool:
    """Whether training is a program of this setting: whether it can be built and traced without its value.

    Example:
      >>> from metajax.recipes.synthetic.sinusoid import Sinusoid
      >>> can_trace(Sinusoid(outer_steps=2), "outer_rate"), can_trace(Sinusoid(outer_steps=2), "shot")
      (True, False)
    """

    def whole(value):
        e = _built(settings, {name: value})
        return validation(e, _advanced(e, _begun(e), 1).state.meta_params, e.settings.seed, None)

    try:
        jax.eval_shape(whole, jnp.asarray(getattr(settings, name)))
    except (*_NEEDS_VALUES, OverflowError):  # a seed above that of 32 bits
        return False
    return True


def _built(settings: Any, values: Any) -> Experiment:
    with jax.ensure_compile_time_eval():  # checks look at what does not depend on traced settings
        return recipes.build(replace(settings, **values))


def _step(e: Experiment, mesh: Mesh):
    estimator = estimator_of(e, e.settings.meta_batch, mesh)
    return outer_step(e.objective, e.optimizer, estimator)


def _one_device() -> Mesh:
    return task_mesh(devices=jax.devices()[:1])


def _keys(e: Experiment) -> jax.Array:
    """Those of `fit`: of the first state, of the outer steps, and of the first checks."""
    return jax.random.split(jax.random.key(e.settings.seed), 3)


def _begun(e: Experiment) -> advance.Carry:
    init_key, _, check_key = _keys(e)
    tasks, (init, _) = Drawn(e.train, e.settings.meta_batch), _step(e, _one_device())
    state = first_state(e.learner, e.objective, init, tasks, init_key, check_key)
    return advance.begin(state, advance.Window())


def _advanced(e: Experiment, carry: advance.Carry, stop: Any) -> advance.Carry:
    _, step_key, _ = _keys(e)
    _, update = _step(e, _one_device())
    return advance.on_drawn(update, e.settings.meta_batch, carry, stop, e.train, step_key)


def programs(settings: Any, mesh: Mesh, members_per_pass: int | None) -> together.Programs:
    """Returns what members compute that differ in traced settings, spread over the devices of a mesh."""

    def mapped(function):
        return over_members(function, members_per_pass, mesh)

    begin = mapped(lambda values, _: _begun(_built(settings, values)))
    step = mapped(lambda one, stop: _advanced(_built(settings, one[0]), one[1], stop))

    def measure(one, _):
        e = _built(settings, one[0])
        return validation(e, one[1], e.settings.seed, None)

    judge = mapped(measure)
    return together.Programs(
        mesh=mesh,
        begin=lambda values: begin(values, ()),
        advance=lambda values, carry, stop: step((values, carry), stop),
        validate=lambda values, meta_params: judge((values, meta_params), ()),
    )


def train(
    group: Group,
    folder: Path,
    devices: Sequence[Any] | None = None,
    *,
    report_every: int | None = None,
    members_per_pass: int | None = None,
    show_progress: bool = True,
) -> bool:
    """Trains the members of a group that have not come to their end, each in its folder.

    Args:
      group: As `metajax.recipes.sweep.groups` made it.
      folder: Of the sweep.
      devices: Those that members are spread over; by default all of this process.
      report_every: As in `fit`.
      members_per_pass: How many members a device computes at once; by default one on a CPU, and all of
        its share elsewhere.
      show_progress: As in `fit`.

    Returns:
      Whether training came to its end.

    Raises:
      As `metajax.train.together.train` does.
    """
    steps, platform = group.settings.outer_steps, jax.devices()[0].platform
    if members_per_pass is None and platform == "cpu":
        members_per_pass = MEMBERS_PER_PASS
    every = max(1, steps // 50) if report_every is None else report_every
    chosen = (jax.local_devices() if devices is None else devices)[: len(group.members)]
    values = {
        name: np.asarray(of, np.int32 if name == "seed" else np.float32)
        for name, of in group.values.items()
    }
    return together.train(
        programs(group.settings, task_mesh(devices=chosen), members_per_pass),
        values,
        _members(group, folder, every),
        where=folder,
        outer_steps=steps,
        report_every=every,
        show_progress=show_progress,
    )


def _members(group: Group, folder: Path, report_every: int) -> Sequence[together.Member]:
    found = []
    for name, settings in group.members:
        key = jax.random.key(settings.seed)
        facts = {
            "key": jax.random.key_data(key).tolist(),
            "key_impl": str(jax.random.key_impl(key)),
            "meta_batch": settings.meta_batch,
            "report_every": report_every,
        }
        own = written(recipes.build(settings))
        found.append(together.Member(name, folder / name, own, facts))
    return found
