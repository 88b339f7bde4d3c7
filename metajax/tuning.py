"""The fastest way to take an outer step on this machine, found by trying."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metajax import checks
from metajax.estimators.sharded import parallel
from metajax.mesh import size, task_mesh
from metajax.outer import outer_step
from metajax.types import Estimator, Objective, Params, Task

COMPILING, SECONDS_PER_TURN, TOO_SLOW = 0.6, 0.05, 1.5
"""The part of the time in which candidates are compiled; how long one computes before it is another's turn;
times the fastest, from where on a candidate has no further turn."""


class Candidate(NamedTuple):
    """One way to compute a hypergradient, and what it costs.

    name: Of the objective.
    devices: The number of devices that tasks are spread over.
    tasks_per_pass: The number of tasks that a device computes at once.
    milliseconds: Median time of a hypergradient; nan if it was not measured.
    temporaries_mb: Memory on a device beside inputs and outputs; nan if it was not compiled.
    compile_seconds: The time to trace and compile; nan if it was not compiled.
    """

    name: str
    devices: int
    tasks_per_pass: int
    milliseconds: float = np.nan
    temporaries_mb: float = np.nan
    compile_seconds: float = np.nan


class Tuned(NamedTuple):
    """What `tune` found.

    name: The name of the objective of the fastest candidate; empty where there was only one.
    objective: That objective.
    estimator: For `fit` or `outer_step`, as the fastest candidate has it.
    candidates: All candidates, the fastest first; those that were not measured are last.
    """

    name: str
    objective: Objective
    estimator: Estimator
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        """A line for each candidate."""
        named = any(candidate.name for candidate in self.candidates)
        titles = ("objective", "devices", "tasks a pass", "ms", "MB", "s to compile")
        rows = [titles, *map(_cells, self.candidates)]
        rows = rows if named else [row[1:] for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )


def _cells(candidate: Candidate) -> tuple[str, ...]:
    name, devices, tasks, *numbers = candidate
    found = ("not tried" if np.isnan(number) else f"{number:.3g}" for number in numbers)
    return name, str(devices), str(tasks), *found


class _Program(NamedTuple):
    """A compiled candidate: `run(n)` computes n hypergradients."""

    candidate: Candidate
    run: Callable[[int], Any]


def tune(
    objective: Objective | Mapping[str, Objective],
    meta_params: Params,
    tasks: Task,
    key: jax.Array,
    *,
    seconds: float = 10.0,
    memory_mb: float | None = None,
    mesh: Mesh | None = None,
) -> Tuned:
    """Tries on this machine how many devices and tasks a pass are the fastest, and which objective.

    Several objectives compare what an estimator cannot choose, such as the adjoint. All candidates are
    compiled first and then take turns, so that a busy machine slows all of them.

    Args:
      objective: A mean over tasks, such as `query_loss(learner, loss)`; or several by name, which
        share `meta_params`.
      meta_params: From `learner.init`, or from a run.
      tasks: A batch of tasks, with `meta_batch` as first axis.
      key: The key of the objective.
      seconds: About how long to try. Candidates that are not compiled after the greater part of it are
        left out; the likeliest are tried first, and at least one of each objective is.
      memory_mb: Candidates that need more memory on a device beside their inputs and outputs are
        left out.
      mesh: The devices to choose from; by default `task_mesh(meta_batch)`.

    Returns:
      The fastest candidate's objective and estimator, and the measurements. Print it for a table.

    Raises:
      ValueError: For no objective or no task, for `seconds` or `memory_mb` that are not above 0, and
        if no candidate fits in `memory_mb`.

    Example:
      >>> import jax, optax, metajax as mj
      >>> def by(adjoint):
      ...     return mj.query_loss(mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), 3, adjoint=adjoint), mj.mse)
      >>> key, meta_params = jax.random.key(0), mj.mlp((8,)).init(jax.random.key(1), jax.numpy.ones((1, 1)))
      >>> tasks = mj.tasks.batch(mj.tasks.sinusoid(), key, 4)
      >>> both = {"unrolled": by(mj.unrolled), "mixed mode": by(mj.mixed_mode)}
      >>> found = mj.tune(both, meta_params, tasks, key, seconds=1.0)
      >>> found.objective is both[found.name]
      True
      >>> init, update = mj.outer_step(found.objective, optax.adam(1e-3), found.estimator)
    """
    objectives = dict(objective) if isinstance(objective, Mapping) else {"": objective}
    if not objectives or not all(map(callable, objectives.values())):
        raise ValueError(
            f"tune: objective={objective!r:.60} must be a function of (meta_params, tasks, key), such as "
            "query_loss(learner, loss), or a dict of them by name."
        )
    checks.positive("tune", "seconds", seconds)
    if memory_mb is not None:
        checks.positive("tune", "memory_mb", memory_mb)
    meta_batch = checks.batch_size(tasks)
    mesh = task_mesh(checks.count("tune", "meta_batch", meta_batch)) if mesh is None else mesh
    size(mesh, "tune")
    started = time.perf_counter()
    tried, left = _compiled(
        objectives, (meta_params, tasks, key), mesh, memory_mb, started + COMPILING * seconds
    )
    if not tried:
        least = min(candidate.temporaries_mb for candidate in left)
        raise ValueError(
            f"tune: memory_mb={memory_mb:g} must be at least {least:.3g}, which the smallest of the "
            "candidates needs. Use fewer examples in a task, or an adjoint such as mj.remat."
        )
    times = _take_turns([program.run for program in tried], started + seconds)
    measured = [
        program.candidate._replace(milliseconds=1e3 * float(np.median(turns)))
        for program, turns in zip(tried, times, strict=True)
    ]
    measured.sort(key=lambda candidate: candidate.milliseconds)
    best = measured[0]
    estimator = estimator_of(best, meta_batch, mesh)
    return Tuned(best.name, objectives[best.name], estimator, (*measured, *left))


def estimator_of(candidate: Candidate, meta_batch: int, mesh: Mesh) -> Estimator:
    """The estimator of a candidate."""
    devices = list(mesh.devices.flat[: candidate.devices])
    own = task_mesh(meta_batch, devices)
    return parallel(meta_batch, candidate.tasks_per_pass, mesh=own)


def candidates_of(names: list[str], meta_batch: int, devices: int) -> list[Candidate]:
    """The candidates, those first that are usually the fastest.

    Example:
      >>> [candidate[1:3] for candidate in candidates_of([""], 4, 2)]
      [(2, 1), (2, 2), (1, 1), (1, 4), (1, 2)]
    """
    most = max(n for n in range(1, devices + 1) if meta_batch % n == 0)
    ways = []
    for number in sorted({1, most}, reverse=True):
        share = meta_batch // number
        divisors = [n for n in range(1, share + 1) if share % n == 0]
        ways += [(number, n) for n in sorted(divisors, key=lambda n: (1 < n < share, n))]
    return [Candidate(name, *way) for way in ways for name in names]


def _compiled(
    objectives: Mapping[str, Objective],
    arguments: tuple[Params, Task, jax.Array],
    mesh: Mesh,
    memory_mb: float | None,
    until: float,
) -> tuple[list[_Program], list[Candidate]]:
    """The candidates that were compiled in time and fit in memory, and the others."""
    tried, left = [], []
    meta_batch = checks.batch_size(arguments[1])
    for candidate in candidates_of(list(objectives), meta_batch, mesh.size):
        known = any(program.candidate.name == candidate.name for program in tried)
        if known and time.perf_counter() > until:
            left.append(candidate)
            continue
        estimator = estimator_of(candidate, meta_batch, mesh)
        found = _program(candidate, objectives[candidate.name], estimator, arguments, mesh)
        if memory_mb is not None and found.candidate.temporaries_mb > memory_mb:
            left.append(found.candidate)
        else:
            tried.append(found)
    return tried, left


def _program(candidate, objective, estimator, arguments, mesh) -> _Program:
    """A candidate as a compiled loop of outer steps that change nothing."""
    init, update = outer_step(objective, optax.sgd(0.0), estimator)
    devices = Mesh(mesh.devices.flatten()[: candidate.devices], mesh.axis_names[:1])
    meta_params, tasks, key = jax.device_put(arguments, NamedSharding(devices, P()))
    state = init(meta_params, tasks, key)

    @jax.jit
    def many(state, tasks, key, n):
        def step(_, state):
            return update(state, tasks, jax.random.fold_in(key, state.step))[0]

        return jax.lax.fori_loop(0, n, step, state)

    started = time.perf_counter()
    compiled = many.lower(state, tasks, key, jnp.int32(1)).compile()
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    return _Program(
        candidate._replace(
            temporaries_mb=memory.temp_size_in_bytes / 1e6 if memory else np.nan,
            compile_seconds=seconds,
        ),
        lambda n: jax.block_until_ready(compiled(state, tasks, key, jnp.int32(n))),
    )


def _take_turns(runs: list[Callable[[int], Any]], until: float) -> list[list[float]]:
    """Seconds of one hypergradient, in turns; those that are too slow have fewer of them."""

    def timed(run, number):
        started = time.perf_counter()
        run(number)
        return (time.perf_counter() - started) / number

    once = [min(timed(run, 1), timed(run, 1)) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    alive = list(range(len(runs)))
    while not all(times[i] for i in alive) or time.perf_counter() < until:
        for i in alive:
            times[i].append(timed(runs[i], max(1, round(SECONDS_PER_TURN / once[i]))))
        middle = {i: float(np.median(times[i])) for i in alive}
        alive = [i for i in alive if middle[i] <= TOO_SLOW * min(middle.values())]
    return times
