"""The training loop: draw tasks, update, validate, save, and go on where a run stopped."""

import contextlib
import inspect
import math
import shlex
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

from metajax import checks
from metajax.estimators.automatic import automatic
from metajax.mesh import resembling, size, task_mesh, unplaced
from metajax.objectives import Annealed
from metajax.ops import grouped_convolutions
from metajax.outer import outer_step
from metajax.tasks.streamed import Streamed
from metajax.train import (
    advance,
    checkpoint,
    choices,
    diagnosis,
    fault,
    feed,
    guard,
    hosts,
    programs,
    records,
)
from metajax.train import run_dir as folders
from metajax.types import (
    Estimator,
    Learner,
    Objective,
    Optimizer,
    Params,
    Sample,
    Task,
    TrainState,
)

SECONDS_PER_CALL = 0.5
"""How long a compiled call runs before the bar moves and signals are heard."""

Row = dict[str, Any]
"""A report."""

_OWN = ("step", "loss", "gradient_norm", "training_seconds")


class _Plan(NamedTuple):
    """What the loop does besides outer steps."""

    outer_steps: int
    report_every: int
    checkpoint_every_seconds: float
    validate: Callable[[Params], Any] | None
    callbacks: list[Callable[[Row], Any]]
    among: hosts.Hosts


def fit(
    learner: Learner,
    objective: Objective | Annealed,
    optimizer: Optimizer,
    sample: Sample | Streamed | Iterable[Task],
    *,
    key: jax.Array,
    outer_steps: int,
    meta_batch: int | None = None,
    mesh: Mesh | None = None,
    estimator: Estimator | None = None,
    validate: Callable[[Params], Any] | None = None,
    callbacks: Sequence[Callable[[Row], Any]] = (),
    report_every: int | None = None,
    checkpoint_every_seconds: float = 60.0,
    run_dir: str | Path | None = None,
    settings: Any = None,
    resume: bool = False,
    tensorboard: bool = False,
    show_progress: bool = True,
) -> TrainState:
    """Meta-trains: hundreds of outer steps in one compiled call, with tasks drawn inside it.

    Outer step `t` draws its tasks and randomness from `(key, t)` alone. So a run is a function of its
    key, and one that was stopped and resumed ends in the same bits as one that was not. Under `vmap`
    or `jit`, where `key` is traced, nothing is reported or saved, and a run whose numbers stop being
    finite stays at that step: see `state.step`.

    Args:
      learner: Its `init` gives the first meta-parameters.
      objective: What is minimised, such as `query_loss(learner, loss)`.
      optimizer: Any optax transformation.
      sample: A source of training tasks; one of `mj.tasks.streamed`, whose examples stay on disk; or an
        iterable of batches of tasks, each a `Task` whose arrays have `meta_batch` as first axis, such as
        a list, a generator or a data loader. A resumed run skips as many batches of an iterable as it
        has taken outer steps.
      key: The key of the whole run.
      outer_steps: Where to stop, counted from the beginning of the run.
      meta_batch: The number of tasks in an outer step; an iterable has its own.
      mesh: The devices that share the tasks, such as `task_mesh(meta_batch)`; by default all of this
        process, unless JAX has a default device, or an array of `sample` or `key` is bound to one.
        `task_mesh(meta_batch, jax.devices())` spans the processes of `jax.distributed`, all of which
        call `fit` alike: the first one writes, shows and calls `callbacks`, and each one's iterable
        holds its part of every batch. A mesh may have axes besides "tasks" for a model that is larger
        than a device: what constraints in its `init` and `apply` spread stays spread.
      estimator: Of the objective's gradient. What it keeps between outer steps is saved with them. By
        default `automatic` chooses among the devices of `mesh`, unless `key` is traced. The log says
        what was chosen.
      validate: Meta-parameters to a number on validation tasks, or to a mapping of names to numbers.
        It is called at every report with a copy that may be kept. A single number is reported as
        "validation".
      callbacks: Functions of a report, a dict with "step", "loss", "gradient_norm",
        "training_seconds" and what `validate` returned: `[wandb.log]`, say.
      report_every: The number of outer steps between reports, by default a fiftieth of all, or as a
        resumed run began. "loss" and "gradient_norm" are means since the last multiple of it, of
        the steps that `optax.apply_if_finite` did not reject; the first ones after a resume with
        another `report_every` may begin earlier. A report is a line of `metrics.jsonl`, a validation
        and a checkpoint.
      checkpoint_every_seconds: The longest time between checkpoints.
      run_dir: An empty or new folder, or that of a run without a checkpoint, for `settings.json`,
        `metrics.jsonl` and `checkpoints/`. Without it nothing is written. With it, compiled programs are
        kept in the user's cache, unless JAX has a cache of its own, so that a second start or a resumed
        run compiles nothing.
      settings: A dataclass or dict of plain values, kept in `settings.json`.
      resume: Go on from the newest whole checkpoint in `run_dir`, or anew where there is none yet. The
        log names what is damaged, and nothing of it is deleted.
      tensorboard: Also write TensorBoard events into `run_dir` (needs `metajax[tensorboard]`).
      show_progress: A bar on a terminal or in a notebook, a line per report elsewhere.

    Returns:
      The state after `outer_steps`, or after fewer if Ctrl-C was pressed, or SIGTERM or SIGHUP received:
      see `state.step`. It is saved at that step if there is a `run_dir`.

    Raises:
      ValueError: For arguments that cannot work, before anything is compiled; and if an iterable
        ends before `outer_steps`, with the state reached as its `.state`.
      FileExistsError: For a `run_dir` that is not empty, without `resume`.
      BlockingIOError: For a `run_dir` in which another process is training.
      LostProcessError: If another process of `mesh` has ended.
      NonFiniteError: If the loss, its gradient or the updated state is not finite. It names the
        step, the task and the array, and `.state` is the last good state, which is saved as well.
        The task is kept in `failure.npz`, its key and all else in `failure.json`.
      OSError: If a file of the run cannot be written, for example because the disk is full. What was
        there before stays, and `.state` is the state reached. The whole run is kept beside `run_dir`,
        or among the temporary files, where there is room.

    Example:
      >>> import jax, optax, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> state = mj.fit(learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3),
      ...                mj.tasks.sinusoid(), key=jax.random.key(0), outer_steps=20, meta_batch=4,
      ...                show_progress=False)
      >>> int(state.step)
      20
    """
    outer_steps = checks.count("fit", "outer_steps", outer_steps)
    _check_parts(learner, objective, optimizer, key, validate, callbacks)
    _check_traced(key, run_dir, validate, callbacks, mesh)
    if mesh is not None:
        size(mesh, "fit")
    every = _report_every(report_every, outer_steps, run_dir, resume)
    checks.positive("fit", "checkpoint_every_seconds", checkpoint_every_seconds, least=0)
    settings = records.plain(settings)
    among = hosts.of(mesh)
    tasks = feed.feed(sample, meta_batch, outer_steps, among)
    init_key, step_key, check_key = jax.random.split(key, 3)
    chosen = _usual_estimator(tasks, key, mesh) if estimator is None else estimator
    init, update = outer_step(objective, optimizer, chosen)
    begin = partial(first_state, learner, objective, init, tasks, init_key, check_key, among)
    if isinstance(key, Tracer):
        return _traced(begin(), update, tasks, outer_steps, step_key)
    from metajax.train import report  # rich is loaded by those who train

    plan = _Plan(outer_steps, every, checkpoint_every_seconds, validate, list(callbacks), among)
    facts = {**_facts(key), "meta_batch": tasks.meta_batch, "report_every": every}
    show_progress = show_progress and among.is_first
    with _opened(among, mesh, run_dir, facts, resume, tensorboard) as (files, events, interrupted):
        plan.callbacks.extend(events)
        begun = begin()
        state = among.here(begun)
        start = partial(_start, files, settings, facts, state, resume, show_progress)
        state, past = among.shared(among.first(start) or (state, _Past()))
        started = time.perf_counter()
        carry = advance.begin(resembling(state, begun), past.window)
        program = advance.compiled(update, tasks, among.everywhere(step_key), carry, among)
        _tell_of_the_model(program.jaxpr, learner, tasks.first(check_key), state, show_progress)
        for line in choices.lines(program.jaxpr):
            report.say(line, show_progress)
        seconds = time.perf_counter() - started
        with report.reporter(outer_steps, show_progress, seconds) as reporter:
            state = _train(
                plan, learner, objective, carry, program, files, reporter, interrupted, past
            )
    return _unbound(state) if estimator is None or among.number > 1 else state


def _usual_estimator(
    tasks: feed.Drawn | feed.Given | feed.Read, key: jax.Array, mesh: Mesh | None
) -> Estimator:
    """`automatic` on a mesh; on the devices of this process, or on one where JAX or an array is bound to it."""
    if isinstance(key, Tracer):
        return jax.value_and_grad
    if mesh is not None:
        return automatic(mesh)
    given = tasks.sample if isinstance(tasks, feed.Drawn) else tasks.first(key)
    bound = any(getattr(leaf, "committed", False) for leaf in jax.tree.leaves((given, key)))
    only = getattr(jax.config, "jax_default_device")  # noqa: B009 - type checkers do not know it
    if bound or only is not None:
        return automatic(
            task_mesh(devices=[only if isinstance(only, jax.Device) else jax.devices()[0]])
        )
    return automatic(task_mesh())


def _unbound(state: TrainState) -> TrainState:
    """The state without devices, so that it can be used beside any array; what is spread stays spread."""

    def unbound(leaf):
        whole = len(leaf.devices()) > 1 and leaf.is_fully_replicated
        return unplaced(leaf) if whole else leaf

    return jax.tree.map(unbound, state)


@contextlib.contextmanager
def _opened(
    among: hosts.Hosts, mesh: Mesh | None, run_dir: Any, facts: Row, resume: bool, tensorboard: bool
) -> Iterator[tuple[folders.RunDir | None, list[Callable[[Row], Any]], threading.Event]]:
    """What a run is in: its folder and callbacks, which the first process has, and the event of a signal."""
    from metajax.train import report

    with (
        among.together(),
        _axes_known(mesh),
        contextlib.ExitStack() as stack,
        contextlib.nullcontext() if run_dir is None else programs.kept(),
        guard.interruptible() as interrupted,
    ):

        def enter():
            events = stack.enter_context(report.events(run_dir, tensorboard))
            return stack.enter_context(folders.opened(run_dir, facts, resume)), events

        files, callbacks = among.first(enter) or (None, [])
        yield files, callbacks, interrupted


def _axes_known(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
    """Lets a model name the axes of a mesh that has others than that of the tasks."""
    return (
        jax.set_mesh(mesh) if mesh is not None and len(mesh.shape) > 1 else contextlib.nullcontext()
    )


def first_state(
    learner, objective, init, tasks, init_key, check_key, among: hosts.Hosts = hosts.ALONE
) -> TrainState:
    """The first state, checked against a first batch of tasks unless the key is traced."""
    task_key, state_key = jax.random.split(jax.random.fold_in(check_key, 1))
    first = tasks.first(task_key)
    x = jax.tree.map(lambda leaf: leaf[0], first.support.x)
    meta_params = jax.jit(learner.init)(
        init_key, x
    )  # compiled: what init only needs for shapes goes
    if not isinstance(init_key, Tracer):
        diagnosis.check_tasks(learner, objective, meta_params, first, check_key)
    return init(
        among.everywhere(meta_params), tasks.joined(among, first), among.everywhere(state_key)
    )


def _traced(state, update, tasks, outer_steps, key) -> TrainState:
    """The loop as a part of a program, which reports and saves nothing."""
    if not isinstance(tasks, feed.Drawn):
        raise ValueError("fit: key is traced, as under vmap or jit; give sample a source of tasks.")
    carry = advance.begin(state, advance.Window())
    return advance.on_drawn(update, tasks.meta_batch, carry, outer_steps, tasks.sample, key).state


class _Past(NamedTuple):
    """What a resumed run knows besides its state."""

    window: advance.Window = advance.Window()
    seconds: float = 0.0
    reported: bool = True


def _start(
    files: folders.RunDir | None,
    settings: Any,
    facts: Row,
    state: TrainState,
    resume: bool,
    show: bool,
) -> tuple[TrainState, _Past]:
    """The state to begin with: as given, or from the newest checkpoint of the run to resume."""
    from metajax.train import report

    if files is None:
        return state, _Past()
    (device, *_) = jax.tree.leaves(state.step)[0].devices()
    files.start(settings, facts, device, resume)
    if not resume:
        return state, _Past()
    found, said = files.restore(state)
    for line in said:
        report.say(line, show)
    if found is None:
        return state, _Past()
    reported, beside = files.has_reported(found.step), files.window(found.step)
    if beside is None:
        rows = records.read_metrics(files.folder)
        seconds = rows[-1].get("training_seconds", 0.0) if rows else 0.0
        return found.tree, _Past(seconds=seconds, reported=reported)
    return found.tree, _Past(advance.Window(*beside["window"]), beside["seconds"], reported)


class _Run:
    """A run that is training: its state, and what is written and shown of it."""

    def __init__(self, plan: _Plan, carry: advance.Carry, files, reporter: Any, seconds: float):
        self.plan, self.carry, self.files, self.reporter = plan, carry, files, reporter
        self.among = plan.among
        self.seconds, self.saved, self.done = seconds, time.monotonic(), int(carry.state.step)

    def is_due(self) -> bool:
        """Whether a report belongs to this step."""
        at_end = self.done == self.plan.outer_steps
        return self.done > 0 and (self.done % self.plan.report_every == 0 or at_end)

    def save(self) -> None:
        """Writes a checkpoint, unless there is one of this step."""
        state = self.among.here(self.carry.state)
        if self.files and checkpoint.latest(self.files.checkpoints) != self.done:
            with _rescued(self.files, state, self._window()):
                self.files.save(state, self._window())
            self.saved = time.monotonic()

    def agree(self, calls: int, interrupted: threading.Event) -> tuple[int, bool, bool]:
        """The length of the next call, whether to save before it, and whether a process was interrupted."""
        late = time.monotonic() - self.saved > self.plan.checkpoint_every_seconds
        calls, late, stopped = self.among.agree((calls, late, interrupted.is_set()))
        return calls, bool(late), bool(stopped)

    def tell(self) -> None:
        """Validates, writes and shows a report."""
        row = _row(self.plan, self.carry, self.seconds)
        if self.files:
            with _rescued(self.files, self.carry.state, self._window()):
                self.files.report(row)
        self.reporter.report(row)
        for call in self.plan.callbacks if self.among.is_first else ():
            call(dict(row))

    def begin_window(self) -> None:
        """Sums anew after a multiple of `report_every`."""
        if self.done % self.plan.report_every == 0:
            window = advance.begin(self.carry.state, advance.Window()).window
            self.carry = self.carry._replace(window=window)

    def _window(self) -> Row:
        return {"window": [n.item() for n in self.carry.window], "seconds": self.seconds}


def _train(
    plan: _Plan,
    learner: Learner,
    objective: Objective | Annealed,
    carry: advance.Carry,
    program: advance.DrawnProgram | advance.GivenProgram,
    files: folders.RunDir | None,
    reporter: Any,
    interrupted: threading.Event,
    past: _Past,
) -> TrainState:
    """Goes on until the end, a signal, or a number that is not finite."""
    run = _Run(plan, carry, files, reporter, past.seconds)
    reporter.advance(run.done)
    if run.is_due() and not past.reported:  # it was stopped between a checkpoint and its report
        run.tell()
    run.begin_window()
    calls, _, stopped = run.agree(1, interrupted)
    while run.done < plan.outer_steps and not stopped:
        begun, started = run.done, time.perf_counter()
        following = (begun // plan.report_every + 1) * plan.report_every
        run.carry = program(run.carry, min(begun + calls, following, plan.outer_steps))
        good, run.done = bool(run.carry.good), int(run.carry.state.step)
        elapsed = time.perf_counter() - started
        run.seconds += elapsed
        if not good or (program.ended and run.done < plan.outer_steps):
            run.save()
            raise (
                _ended(run.carry, files)
                if good
                else _not_finite(learner, objective, run.carry, program, files)
            )
        calls = max(1, round((run.done - begun) / max(elapsed, 1e-9) * SECONDS_PER_CALL))
        reporter.advance(run.done, run.carry.last.loss.item())
        if run.is_due():
            run.save()  # first, so that neither validate nor a signal meanwhile loses anything
            calls, _, stopped = run.agree(calls, interrupted)
            if stopped and run.done < plan.outer_steps:
                break  # a resumed run reports first
            run.tell()
            run.begin_window()
        calls, late, stopped = run.agree(calls, interrupted)
        if late:
            run.save()
    if run.done < plan.outer_steps:
        if run.done:
            run.save()
        reporter.stopped(run.done, str(files.folder) if files else None)
    return run.carry.state


@contextlib.contextmanager
def _rescued(files: folders.RunDir, state: TrainState, window: Row) -> Iterator[None]:
    """Keeps the whole run elsewhere if its folder cannot be written.

    Raises:
      UnwrittenError: With the state.
    """
    try:
        yield
    except OSError as error:
        place = files.rescue(state, window)
        step = int(state.step)
        where = (
            f".state of this error is the state of step {step}"
            if place is None
            else f"the whole run up to step {step} is kept in {place}; go on with: metajax resume "
            f"{shlex.quote(str(place))}"
        )
        raise guard.UnwrittenError(f"{error} So the run stops, and {where}.", state) from error


def _row(plan: _Plan, carry: advance.Carry, seconds: float) -> Row:
    """A report: means over the window, and what `validate` returns."""
    loss, norm, steps = (number.item() for number in carry.window)
    row = {
        "step": int(carry.state.step),
        "loss": loss / steps if steps else math.nan,
        "gradient_norm": norm / steps if steps else math.nan,
    }
    if plan.validate is not None:
        found = plan.validate(jax.tree.map(jnp.copy, plan.among.here(carry.state.meta_params)))
        found = found if isinstance(found, Mapping) else {"validation": found}
        taken = set(_OWN).intersection(found)
        if taken:
            raise ValueError(f"fit: validate returned {min(taken)!r}, which fit reports itself.")
        row |= {str(name): _number(name, value) for name, value in found.items()}
    return row | {"training_seconds": round(seconds, 3)}


def _number(name: Any, value: Any) -> float:
    if np.shape(value) != () or isinstance(value, str):
        raise ValueError(
            f"fit: validate returned {name}={value!r:.60}; it must return a number, or a mapping of "
            "names to numbers."
        )
    return float(value)


def _not_finite(learner, objective, carry, program, files) -> guard.NonFiniteError:
    step = int(carry.state.step)
    loss, norm = (value.item() for value in carry.last)
    tasks, key = program.batch(step)
    found = fault.find(learner, objective, program.update, carry.state, tasks, key, loss, norm)
    task_key = None if found.task is None else program.task_key(step, found.task)
    drawn = None if task_key is None else jax.random.key_data(task_key).tolist()
    if files:
        task = jax.tree.map(lambda leaf: leaf[found.task or 0], tasks)
        facts = {"step": step, "loss": str(loss), "gradient_norm": str(norm), "task": found.task}
        facts |= {"task_key": drawn, "array": found.leaf, "reason": found.sentence}
        files.fail(facts, None if found.task is None else task)
    named = "" if drawn is None else f" The source drew the task from the key of data {drawn}."
    return guard.NonFiniteError(
        f"outer step {step}: the loss is {loss} and its gradient has norm {norm}, so the run stops"
        f"{_kept(files, step)}. {found.sentence}{named}",
        carry.state,
    )


def _ended(carry, files) -> guard.TasksEndedError:
    step = int(carry.state.step)
    return guard.TasksEndedError(
        f"fit: sample ended after {step} batches, before outer_steps, so the run stops{_kept(files, step)}. "
        "Take fewer outer_steps, or an iterable that begins again, such as itertools.cycle(batches).",
        carry.state,
    )


def _kept(files: folders.RunDir | None, step: int) -> str:
    if files is None:
        return "; .state of this error holds the last good state"
    return f"; the last good state is kept in {checkpoint.path_of(files.checkpoints, step)}"


def _check_parts(learner, objective, optimizer, key, validate, callbacks) -> None:
    """Checks that every argument is of its kind.

    Raises:
      ValueError: Naming the first that is not.
    """
    if not isinstance(learner, Learner):
        raise ValueError(
            f"fit: learner is {_kind(learner)}, not a mj.Learner such as mj.maml(...). The order is "
            "fit(learner, objective, optimizer, sample)."
        )
    if not isinstance(objective, Annealed) and not _takes_three(objective):
        raise ValueError(
            f"fit: objective is {_kind(objective)}, which cannot be called with (meta_params, tasks, key); "
            "give such as mj.query_loss(learner, mj.mse)."
        )
    checks.optimizer("fit", "optimizer", optimizer)
    if not isinstance(key, Tracer):
        checks.prng_key("fit", key)
    if np.shape(key) != ():
        raise ValueError(f"fit: key has shape {np.shape(key)}; give one key, or map fit with vmap.")
    if validate is not None and not callable(validate):
        raise ValueError(f"fit: validate is {_kind(validate)}; give a function of meta_params.")
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise ValueError(
            f"fit: callbacks={callbacks!r:.60} must be a list of functions of a report, such as [wandb.log]."
        )


def _check_traced(key: jax.Array, run_dir, validate, callbacks, mesh) -> None:
    if isinstance(key, Tracer) and (run_dir or validate or callbacks or mesh is not None):
        raise ValueError(
            "fit: key is traced, as under vmap or jit, where nothing can be written or called, and the "
            "program around fit has the devices. Leave out run_dir, validate, callbacks and mesh."
        )


def _kind(thing: Any) -> str:
    return getattr(thing, "__name__", None) or f"a {type(thing).__name__}"


def _takes_three(function: Any) -> bool:
    """Whether a function can be called with three arguments, as far as its signature is known."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(0, 1, 2)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def _report_every(given: int | None, outer_steps: int, run_dir: Any, resume: bool) -> int:
    """The outer steps between reports.

    Raises:
      ValueError: For what is no positive integer, and for `resume` without a `run_dir`.
    """
    if run_dir is not None and not isinstance(run_dir, str | Path):
        raise ValueError(f"fit: run_dir={run_dir!r} must be the path of a folder.")
    if run_dir is None and resume:
        raise ValueError("fit: resume=True needs the run_dir to resume.")
    if given is None and resume and run_dir is not None:
        given = records.read_settings(run_dir)["fit"].get("report_every")
    if given is None:
        return max(1, outer_steps // 50)
    return checks.count("fit", "report_every", given)


def _facts(key: jax.Array) -> Row:
    """A key in JSON."""
    data = jax.random.key_data(key).tolist()
    return {"key": data, "key_impl": str(jax.random.key_impl(key))}


def _tell_of_the_model(
    program, learner: Learner, tasks: Task, state: TrainState, show: bool
) -> None:
    """Says what `fast` replaced in the model, and warns of convolutions that stay slow."""
    from metajax.train import report

    found = diagnosis.replaced(learner, state.meta_params, tasks)
    if found:
        parts = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        report.say(f"Rewritten in the model to be fast: {parts}.", show)
    devices = [leaf.devices() for leaf in jax.tree.leaves(state.meta_params)]
    on_cpu = all(device.platform == "cpu" for group in devices for device in group)
    if not on_cpu or not grouped_convolutions(program):
        return
    untrained = partial(diagnosis.untrained, learner)
    of_model = jax.make_jaxpr(untrained)(state.meta_params, tasks, jax.random.key(0))
    # Groups of the model itself are its own choice; those that vmap makes are not.
    if not grouped_convolutions(of_model):
        warnings.warn(
            "fit: tasks mapped by vmap turn this model's convolutions into grouped ones, which XLA "
            "computes slowly on a CPU. Rewrite the model with mj.fast(model), which leaves "
            "convolutions over three axes alone.",
            stacklevel=3,
        )
