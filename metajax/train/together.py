"""The training loop of many members in one program, each with a folder of its own as if it were alone."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metajax.mesh import AXIS
from metajax.train import advance, checkpoint, guard, report
from metajax.train import run_dir as folders
from metajax.train.loop import SECONDS_PER_CALL
from metajax.train.records import SETTINGS, read_failure

_REASON = "Its program has no more to say; the norms of the inner loop below show where it grows."


class Programs(NamedTuple):
    """What members compute, mapped over the first axis of their values and of their carries.

    mesh: The devices that members are spread over.
    begin: `values -> Carry`, the first state of each member.
    advance: `(values, carry, stop) -> Carry`, outer steps up to `stop`.
    validate: `(values, meta_params) -> (members,)`, a number on validation tasks.
    """

    mesh: Mesh
    begin: Callable[[Any], advance.Carry]
    advance: Callable[[Any, advance.Carry, Any], advance.Carry]
    validate: Callable[[Any, Any], jax.Array]


class Member(NamedTuple):
    """Where a member is written, and what its folder says of it.

    name: How messages call it.
    folder: That of a run, which `metajax resume` and `mj.restore` read like any other.
    settings, facts: As in `RunDir.start`.
    """

    name: str
    folder: Path
    settings: Any
    facts: Mapping[str, Any]


def train(
    programs: Programs,
    values: Any,
    members: Sequence[Member],
    *,
    where: Path,
    outer_steps: int,
    report_every: int,
    checkpoint_every_seconds: float = 60.0,
    show_progress: bool = True,
) -> bool:
    """Trains members in one program, or goes on from the newest whole checkpoint of each.

    A member whose numbers stop being finite stays at that step and is named; the others go on. Reports
    are written with the checkpoints, because those after a checkpoint come again.

    Args:
      programs: What members compute.
      values: Settings of the members, each with their number as first axis.
      members: Their folders, which are new or of runs.
      where: The folder above, which a message on how to go on names.
      outer_steps: Where to stop.
      report_every: The outer steps between validations.
      checkpoint_every_seconds: The longest time between checkpoints.
      show_progress: As in `fit`.

    Returns:
      Whether all members came to their end; not so after Ctrl-C or SIGTERM.

    Raises:
      OSError: If a folder cannot be written, or another process trains in it.
      ValueError: If a folder holds another run.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_opened(member)) for member in members]
        interrupted = stack.enter_context(guard.interruptible())
        run = _Run(programs, values, members, files, outer_steps, report_every, show_progress)
        started = time.perf_counter()
        run.advance(0)  # takes no step, and compiles
        seconds, run.seconds = time.perf_counter() - started, run.before
        with report.reporter(outer_steps, show_progress, seconds) as reporter:
            _go_on(run, reporter, interrupted, checkpoint_every_seconds)
            if run.running.any():
                reporter.stopped(run.done, str(where))
        return not run.running.any()


def _opened(member: Member) -> contextlib.AbstractContextManager[Any]:
    resume = (member.folder / SETTINGS).exists()
    return folders.opened(member.folder, member.facts, resume)


class _Run:
    """Members that are training: their states, and what is written and shown of them."""

    def __init__(self, programs, values, members, files, outer_steps, report_every, show):
        self.members, self.files, self.show = members, files, show
        self.outer_steps, self.report_every = outer_steps, report_every
        self.program, self.validate = jax.jit(programs.advance), jax.jit(programs.validate)
        self.pending: list[list[dict[str, Any]]] = [[] for _ in members]
        self.reported, self.seconds = np.zeros(len(members), int), 0.0
        # Every device has a share of the same size; what fills the last one is computed twice.
        self.rows = np.arange(-(-len(members) // programs.mesh.size) * programs.mesh.size) % len(
            members
        )
        self.values = {name: of[self.rows] for name, of in values.items()}
        self.carry = self._started(jax.jit(programs.begin)(self.values), programs.mesh)
        self.before = self.seconds
        self._look()

    def _started(self, carry: advance.Carry, mesh: Mesh) -> advance.Carry:
        """The first carry, with what was restored of each member in its place."""
        device = jax.devices()[0]
        found = [self._restored(i, _row(carry, i), device) for i in range(len(self.members))]
        rows = [found[i] for i in self.rows]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(rows))
        return jax.device_put(stacked, NamedSharding(mesh, P(AXIS)))

    def _restored(self, i: int, carry: advance.Carry, device: Any) -> advance.Carry:
        member, files = self.members[i], self.files[i]
        resume = (member.folder / SETTINGS).exists()
        files.start(member.settings, member.facts, device, resume)
        if not resume:
            return carry
        restored, said = files.restore(carry.state)
        for line in said:
            report.say(line, self.show)
        if restored is None:
            return carry
        self.reported[i] = restored.step if files.has_reported(restored.step) else 0
        beside = files.window(restored.step)
        window = advance.Window() if beside is None else advance.Window(*beside["window"])
        self.seconds = max(self.seconds, 0.0 if beside is None else beside["seconds"])
        failed = read_failure(member.folder).get("step") == restored.step
        good = jnp.array(not failed)
        return advance.begin(restored.tree, window)._replace(good=good)

    def _look(self) -> None:
        """Reads from the device where the members are."""
        number = len(self.members)
        self.steps = np.asarray(self.carry.state.step)[:number]
        self.good = np.asarray(self.carry.good)[:number]
        self.running = self.good & (self.steps < self.outer_steps)
        self.done = int(self.steps[self.running].min()) if self.running.any() else self.outer_steps

    def advance(self, stop: int) -> None:
        """Takes outer steps, and names the members that stay behind."""
        before, started = self.good, time.perf_counter()
        self.carry = jax.block_until_ready(self.program(self.values, self.carry, jnp.int32(stop)))
        self.seconds += time.perf_counter() - started
        self._look()
        for i in np.flatnonzero(before & ~self.good):
            step, (loss, norm) = int(self.steps[i]), (part[i] for part in self.carry.last)
            facts = {"step": step, "loss": str(loss), "gradient_norm": str(norm), "task": None}
            facts |= {"task_key": None, "array": None, "reason": _REASON}
            self.files[i].fail(facts, None)
            report.say(
                f"{self.members[i].name} stopped being finite in outer step {step}: its loss is {loss}. It "
                "stays at the last good state, and the others go on.",
                self.show,
            )

    def tell(self, reporter: report.Reporter) -> None:
        """Validates the members that a report is due of, and begins their sums anew."""
        multiple = self.steps % self.report_every == 0
        due = (
            self.good & (self.steps > self.reported) & (multiple | (self.steps == self.outer_steps))
        )
        if due.any():
            found = np.asarray(self.validate(self.values, self.carry.state.meta_params))
            rows = [self._report(int(i), float(found[i])) for i in np.flatnonzero(due)]
            shown = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
            reporter.report(shown | {"step": self.done})
        keep = ~(multiple & self.good)[self.rows]
        window = jax.tree.map(lambda leaf: leaf * keep.astype(leaf.dtype), self.carry.window)
        self._begun = self.carry._replace(window=window)

    def _report(self, i: int, validation: float) -> dict[str, Any]:
        loss, norm, steps = (float(part[i]) for part in self.carry.window)
        row = {
            "step": int(self.steps[i]),
            "loss": loss / steps if steps else float("nan"),
            "gradient_norm": norm / steps if steps else float("nan"),
            "validation": validation,
            "training_seconds": round(self.seconds, 3),
        }
        self.pending[i].append(row)
        self.reported[i] = row["step"]
        return row

    def begin_windows(self) -> None:
        """Goes on with the sums that `tell` began anew; what is saved before is as a run alone saves it."""
        self.carry = self._begun

    def save(self) -> None:
        """Writes reports, and a checkpoint of every member that has moved."""
        carry = jax.device_get(self.carry)
        for i, files in enumerate(self.files):
            for row in self.pending[i]:
                files.report(row)
            self.pending[i] = []
            own, step = _row(carry, i), int(self.steps[i])
            if step and checkpoint.latest(files.checkpoints) != step:
                window = {"window": [part.item() for part in own.window], "seconds": self.seconds}
                files.save(own.state, window)


def _row(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _go_on(
    run: _Run,
    reporter: report.Reporter,
    interrupted: threading.Event,
    checkpoint_every_seconds: float,
) -> None:
    """Goes on until the end of all members, or a signal."""
    calls, saved = 1, time.monotonic()
    reporter.advance(run.done)
    run.tell(reporter)
    run.begin_windows()
    while run.running.any() and not interrupted.is_set():
        begun, started = run.done, time.perf_counter()
        following = (begun // run.report_every + 1) * run.report_every
        run.advance(min(begun + calls, following, run.outer_steps))
        elapsed = time.perf_counter() - started
        calls = max(1, round((run.done - begun) / max(elapsed, 1e-9) * SECONDS_PER_CALL))
        if run.good.any():
            reporter.advance(
                run.done, float(np.asarray(run.carry.last.loss)[: len(run.good)][run.good].mean())
            )
        run.tell(reporter)
        if time.monotonic() - saved > checkpoint_every_seconds:
            run.save()
            saved = time.monotonic()
        run.begin_windows()
    run.save()
