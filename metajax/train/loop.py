"""The training loop: draw tasks, update, validate, save, and go on where it stopped."""

import contextlib
import dataclasses
import json
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.ops import grouped_convolutions
from metajax.outer import outer_step
from metajax.train import checkpoint
from metajax.trees import as_pytree
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
"""How long a compiled call runs before the bar moves and Ctrl-C is heard."""


class NonFiniteError(ArithmeticError):
    """The loss or its gradient stopped being a number; `state` is the last one that was good."""

    def __init__(self, message: str, state: TrainState):
        """Keep the state with the message."""
        super().__init__(message)
        self.state = state


class _Loop(NamedTuple):
    """What the loop carries and saves: also the numbers that the next report is made of."""

    state: TrainState
    losses: jax.Array
    gradient_norms: jax.Array


def fit(
    learner: Learner,
    objective: Objective,
    optimizer: Optimizer,
    sample: Sample,
    *,
    key: jax.Array,
    outer_steps: int,
    meta_batch: int,
    estimator: Estimator = jax.value_and_grad,
    validate: Callable[[Params], Any] | None = None,
    report_every: int | None = None,
    run_dir: str | Path | None = None,
    settings: Any = None,
    resume: bool = False,
    tensorboard: bool = False,
    show_progress: bool = True,
) -> TrainState:
    """Meta-train: hundreds of outer steps in one compiled call, tasks drawn inside it.

    Outer step `t` draws its tasks and randomness from `(key, t)` alone, so a run is a function of its
    key, and one that was stopped and resumed ends in the same bits as one that was not.

    Args:
      learner: whose `init` gives the first meta-parameters.
      objective: what is minimised, such as `query_loss(learner, loss)`.
      optimizer: any optax transformation.
      sample: the source of training tasks.
      key: of the whole run.
      outer_steps: where to stop, counted from the beginning of the run.
      meta_batch: tasks in an outer step.
      estimator: of the objective's gradient; what it keeps between outer steps is saved with them.
      validate: meta-parameters to a scalar on validation tasks; computed at every report.
      report_every: outer steps from one report to the next, by default a fiftieth of all, or what a
        resumed run began with. A report is a line of `metrics.jsonl`, a validation and a checkpoint.
      run_dir: an empty or new folder for `settings.json`, `metrics.jsonl` and `checkpoints/`.
        Without it nothing is written.
      settings: a dataclass or dictionary of plain values, kept in `settings.json`.
      resume: go on from the newest checkpoint in `run_dir`.
      tensorboard: also write TensorBoard events into `run_dir` (needs `metajax[tensorboard]`).
      show_progress: a bar on a terminal or in a notebook, a line per report elsewhere.

    Returns:
      The state after `outer_steps`, or after fewer if Ctrl-C was pressed: see `state.step`. It is
      saved at that step when there is a `run_dir`.

    Raises:
      ValueError: for settings that cannot work, found before anything is compiled.
      FileExistsError: for a `run_dir` that is not empty, without `resume`.
      BlockingIOError: for a `run_dir` in which another process is training.
      NonFiniteError: when the loss or its gradient is not finite, naming the step.
      OSError: when a checkpoint cannot be written; the one before it stays.

    Example:
      >>> import jax, optax, metajax as mj
      >>> learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
      >>> state = mj.fit(learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3),
      ...                mj.tasks.sinusoid(), key=jax.random.key(0), outer_steps=20, meta_batch=4,
      ...                show_progress=False)
      >>> int(state.step)
      20
    """
    if outer_steps < 1 or meta_batch < 1:
        raise ValueError(
            f"fit: outer_steps={outer_steps} and meta_batch={meta_batch}; each is 1 or more."
        )
    every = report_every
    if every is None and resume and run_dir is not None:
        every = read_settings(Path(run_dir))["fit"]["report_every"]
    elif every is None:
        every = max(1, outer_steps // 50)
    if every < 1:
        raise ValueError(f"fit: report_every={report_every}; give 1 or more, or leave it out.")
    init_key, step_key, check_key = jax.random.split(key, 3)
    init, update = outer_step(objective, optimizer, estimator)
    sample = as_pytree(sample)  # its arrays are arguments, not constants
    _check_key(key)
    check_tasks(learner, sample, check_key, meta_batch)

    support = sample(check_key).support
    draw = jax.jit(lambda sample, keys: jax.vmap(sample)(keys))
    task_key, state_key = jax.random.split(jax.random.fold_in(check_key, 1))
    first = draw(sample, jax.random.split(task_key, meta_batch)), state_key
    state = init(learner.init(init_key, support.x), *first)
    # Copied, because the loop gives its buffers away and an optimiser may hold one twice.
    loop = jax.tree.map(jnp.copy, _Loop(state, jnp.zeros(every), jnp.zeros(every)))
    facts = {
        "key": jax.random.key_data(key).tolist(),
        "meta_batch": meta_batch,
        "report_every": every,
    }

    @partial(jax.jit, donate_argnums=0)
    def advance(loop, stop, sample, key):
        """Outer steps up to `stop`. One program for any number, so that bits never depend on it."""

        def unfinished(carry):
            loop, finite = carry
            return (loop.state.step < stop) & finite

        def step(carry):
            (state, losses, norms), _ = carry
            task_key, update_key = jax.random.split(jax.random.fold_in(key, state.step))
            tasks = jax.vmap(sample)(jax.random.split(task_key, meta_batch))
            new, metrics = update(state, tasks, update_key)
            finite = jnp.isfinite(metrics.loss) & jnp.isfinite(metrics.gradient_norm)
            position = state.step % every
            kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state)
            losses = losses.at[position].set(metrics.loss)
            return _Loop(kept, losses, norms.at[position].set(metrics.gradient_norm)), finite

        return jax.lax.while_loop(unfinished, step, (loop, jnp.array(True)))

    with _run_dir(run_dir, settings, facts, resume) as run:
        if run and resume:
            loop = checkpoint.restore(run.checkpoints, loop)
            run.forget_after(int(loop.state.step))

        started = time.perf_counter()
        traced = advance.trace(loop, jnp.int32(0), sample, step_key)
        _warn_of_slow_convolutions(traced.jaxpr, learner, sample, check_key)
        compiled = traced.lower().compile()
        compile_seconds = time.perf_counter() - started

        done, calls = int(loop.state.step), 1
        before = read_metrics(run.folder) if run else []
        seconds = before[-1]["training_seconds"] if before else 0.0
        from metajax.train import report as progress  # rich is loaded by those who train

        reporter = progress.reporter(outer_steps, show_progress, compile_seconds)
        events = _events(run, tensorboard)
        with reporter, events as write_events, _interruptible() as interrupted:
            reporter.advance(done)
            while done < outer_steps and not interrupted.is_set():
                stop = min(done + calls, (done // every + 1) * every, outer_steps)
                started = time.perf_counter()
                (loop, finite) = compiled(loop, jnp.int32(stop), sample, step_key)
                finite = bool(finite)
                elapsed = time.perf_counter() - started
                seconds += elapsed
                taken, done = int(loop.state.step) - done, int(loop.state.step)
                if not finite:
                    _stop_at_non_finite(run, loop, every)
                calls = max(1, round(taken / max(elapsed, 1e-9) * SECONDS_PER_CALL))
                reporter.advance(done, float(loop.losses[(done - 1) % every]))
                if done % every and done != outer_steps:
                    continue
                window = slice(0, (done - 1) % every + 1)
                row = {
                    "step": done,
                    "loss": float(np.mean(loop.losses[window])),
                    "gradient_norm": float(np.mean(loop.gradient_norms[window])),
                }
                if validate is not None:
                    row["validation"] = float(validate(loop.state.meta_params))
                reporter.report(row)
                write_events(row)
                if run:
                    run.write({**row, "training_seconds": round(seconds, 3)})
                    checkpoint.save(run.checkpoints, done, loop)
            if interrupted.is_set() and run and done % every and done != outer_steps:
                checkpoint.save(run.checkpoints, done, loop)
        if done < outer_steps:
            reporter.stopped(done, str(run.folder) if run else None)
    return loop.state


def restore_meta_params(
    run_dir: str | Path, learner: Learner, optimizer: Optimizer, sample: Sample
) -> tuple[int, Params]:
    """The newest step in a run directory, and its meta-parameters.

    Raises:
      FileNotFoundError: when nothing was saved there.
      ValueError: when it was saved by another learner, model or way.
    """
    folder = Path(run_dir)
    every = read_settings(folder)["fit"]["report_every"]

    def like(key):
        meta_params = learner.init(key, sample(key).support.x)
        step = jnp.zeros((), jnp.int32)
        state = TrainState(step, meta_params, optimizer.init(meta_params))
        return _Loop(state, jnp.zeros(every), jnp.zeros(every))

    loop = checkpoint.restore(
        folder / "checkpoints",
        jax.eval_shape(like, jax.random.key(0)),
        leave_out="state/estimator_state",
    )
    return int(loop.state.step), loop.state.meta_params


def check_tasks(learner: Learner, sample: Sample, key: jax.Array, num_tasks: int) -> None:
    """See that a learner's predictions fit a source's targets, at the cost of drawing a few tasks.

    Raises:
      ValueError: for labels beyond the outputs, or a source that is not one.
    """
    task = jax.eval_shape(sample, key)
    if not isinstance(task, Task):
        raise ValueError(
            f"fit: sample(key) returned {type(task).__name__}; it must return a "
            "mj.Task(support, query), each an mj.Examples(x, y)."
        )

    labels = task.query.y
    if not (hasattr(labels, "dtype") and jnp.issubdtype(labels.dtype, jnp.integer)):
        return
    outputs = jax.eval_shape(partial(_untrained, learner, sample), key)
    if getattr(outputs, "ndim", 0) != 2:
        return
    tasks = jax.jit(lambda keys: jax.vmap(sample)(keys).support.y)(jax.random.split(key, num_tasks))
    way = int(tasks.max()) + 1
    if outputs.shape[1] < way:
        raise ValueError(
            f"fit: the model gives {outputs.shape[1]} outputs for a query and the source draws "
            f"{way}-way tasks; give the model {way} outputs, for example mj.conv4(way={way})."
        )


def _untrained(learner, sample, key):
    """The predictions of one task, for their shape or their program."""
    support, query = sample(key)
    adapted = learner.adapt(learner.init(key, support.x), support, key)
    return learner.predict(adapted, query.x)


def _warn_of_slow_convolutions(program, learner, sample, key) -> None:
    if jax.default_backend() != "cpu" or not grouped_convolutions(program):
        return
    if grouped_convolutions(jax.make_jaxpr(partial(_untrained, learner, sample))(key)):
        return  # the model's own choice, not made by vmap
    warnings.warn(
        "fit: tasks mapped by vmap turn this model's convolutions into grouped ones, which XLA "
        "computes slowly on a CPU. Give its layers ours: "
        "nn.Conv(..., conv_general_dilated=mj.conv_general_dilated).",
        stacklevel=3,
    )


class _RunDir(NamedTuple):
    """What a run leaves on disk."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    def write(self, row: dict[str, Any]) -> None:
        with self.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop rows of a report whose checkpoint was never written: they are computed again."""
        rows = [row for row in read_metrics(self.folder) if row["step"] <= step]
        self.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


@contextlib.contextmanager
def _run_dir(run_dir, settings, facts, resume) -> Iterator[_RunDir | None]:
    """Make the folder, or see that it holds the run that is to be resumed, and hold it alone."""
    if run_dir is None:
        if resume:
            raise ValueError("fit: resume=True needs the run_dir to resume.")
        yield None
        return
    from filelock import FileLock, Timeout  # like rich, loaded by those who train

    folder = Path(run_dir)
    if resume:
        written = read_settings(folder)["fit"]
        for name, value in facts.items():
            if written[name] != value:
                raise ValueError(
                    f"{folder}: the run was started with {name}={written[name]} and would go "
                    f"on with {name}={value}; give the same, or start a new run_dir."
                )
    else:
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(
                f"{folder} is not empty; resume the run in it, or name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            settings = dataclasses.asdict(settings)
        versions = {"jax": jax.__version__, "started": datetime.now(UTC).isoformat("T", "seconds")}
        written = {"settings": settings, "fit": facts, "versions": versions}
        (folder / "settings.json").write_text(json.dumps(written, indent=2) + "\n")
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BlockingIOError(
            f"{folder}: a run is going on in this folder, and two would overwrite each other's "
            "checkpoints; stop it or wait until it ends, then resume."
        ) from error
    try:
        yield _RunDir(folder)
    finally:
        lock.release()


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """The reports of a run so far, oldest first; a last line cut off by a kill is left out."""
    path = Path(run_dir) / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def read_settings(folder: Path) -> dict[str, Any]:
    """What `settings.json` of a run holds."""
    path = folder / "settings.json"
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder}: there is no settings.json, so no run was started here; give the folder "
            "that training named when it ended."
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def _check_key(key: jax.Array) -> None:
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"fit: key is {key!r}; give a typed key such as jax.random.key(0).")


def _stop_at_non_finite(run: _RunDir | None, loop: _Loop, every: int) -> None:
    step = int(loop.state.step)
    loss = float(loop.losses[step % every])
    norm = float(loop.gradient_norms[step % every])
    kept = "its .state holds the last good one"
    if run:
        if checkpoint.latest(run.checkpoints) != step:
            checkpoint.save(run.checkpoints, step, loop)
        kept = f"the state before it is kept in {run.checkpoints / str(step)}"
    raise NonFiniteError(
        f"outer step {step}: the loss is {loss} and its gradient has norm {norm}, so the run "
        f"stops; {kept}. Lower the inner or outer rate, or clip with optax.clip_by_global_norm.",
        loop.state,
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; a second one interrupts as usual."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # only the main thread receives signals
        return
    before = signal.getsignal(signal.SIGINT)

    def press(number, frame):
        del number, frame
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _events(run: _RunDir | None, tensorboard: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A function that writes a report as TensorBoard events, or does nothing if not asked to."""
    if not tensorboard:
        yield lambda row: None
        return
    if run is None:
        raise ValueError("fit: tensorboard=True needs a run_dir to write events into.")
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fit: tensorboard=True needs tensorboardX; pip install 'metajax[tensorboard]'."
        ) from error
    with SummaryWriter(str(run.folder / "events")) as writer:

        def write(row):
            for name, value in row.items():
                if name != "step":
                    writer.add_scalar(name, value, row["step"])

        yield write
