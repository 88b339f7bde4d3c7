"""`metajax train RECIPE --seeds N --grid SETTING=VALUES`: many members, one table."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from metajax import checks, files, recipes
from metajax.cli import processes
from metajax.cli.machine import Machine, devices
from metajax.cli.output import cell, console, escape, show, titled
from metajax.cli.scores import baselines_of, facts_of, measured
from metajax.recipes import sweep, sweep_report
from metajax.recipes.experiment import Experiment

SWEEP, SUMMARY, TEST_SEED = "sweep.json", "summary.json", 1


class Asked(NamedTuple):
    """What `sweep.json` holds.

    settings: The recipe's dataclass.
    seeds, grid, jobs, report_every: As in `Train`.
    """

    settings: Any
    seeds: int | None
    grid: tuple[str, ...]
    jobs: int | None
    report_every: int | None


def start(asked: Asked, folder: Path, machine: Machine) -> bool:
    """Begins a sweep in a new folder, after every cell was checked."""
    sweep.check(_checked(asked))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is not empty; go on with the sweep in it by metajax resume, or name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = asked._replace(settings=recipes.to_json(asked.settings))
    files.write_json(folder / SWEEP, written._asdict())
    return go_on(asked, folder, machine)


def _checked(asked: Asked) -> sweep.Plan:
    """The plan of a sweep, whose numbers are checked."""
    for name in ("jobs", "report_every"):
        if getattr(asked, name) is not None:
            checks.count("train", name, getattr(asked, name))
    return sweep.plan(asked.settings, asked.seeds, asked.grid)


def read(folder: Path, data: str | None = None, *, trust: bool = False) -> Asked:
    """Reads `sweep.json`.

    Raises:
      FileNotFoundError: If there is none.
      ValueError: If it is damaged, or its settings name code, without `trust`.
    """
    from metajax.recipes.run import refuse_imports

    path = folder / SWEEP
    with files.naming(path):
        found = json.loads(files.read(path).decode())
        fields = {key: value for key, value in found["settings"].items() if key != "recipe"}
        fields |= {} if data is None else {"data": data}
        settings = recipes.from_json(found["settings"]["recipe"], fields)
        grid = tuple(str(entry) for entry in found["grid"])
        asked = Asked(settings, found["seeds"], grid, found["jobs"], found["report_every"])
        _checked(asked)
    if not trust:
        refuse_imports(folder, settings)
    return asked


def check_same(asked: Asked, folder: Path) -> None:
    """Checks that a sweep was started as it is asked for again.

    Raises:
      ValueError: Naming what differs.
    """
    found = read(folder, trust=True)
    names = [
        name
        for name in ("settings", "seeds", "grid")
        if getattr(found, name) != getattr(asked, name)
    ]
    if names:
        raise ValueError(
            f"train: the sweep in {folder} was started with other {' and '.join(names)}. Give the same, leave "
            "out --resume and name another --run-dir, or go on with: metajax resume"
        )


def go_on(asked: Asked, folder: Path, machine: Machine, *, trust: bool = False) -> bool:
    """Trains what is left of a sweep, tests the chosen cell, and writes and prints the summary."""
    from metajax.train.programs import kept
    from metajax.train.run_dir import locked

    found = sweep.plan(asked.settings, asked.seeds, asked.grid)
    lock = locked(folder)
    try:
        with kept():
            return _go_on(found, asked, folder, machine, trust)
    finally:
        lock.release()


def _go_on(found: sweep.Plan, asked: Asked, folder: Path, machine: Machine, trust: bool) -> bool:
    from metajax.recipes.together import can_trace

    begun, e = time.perf_counter(), recipes.build(found.cells[0].settings)
    together = (
        asked.jobs is None
        and sweep.shares_a_program(e)
        and can_trace(found.cells[0].settings, "seed")
    )
    apart = f"as processes, {asked.jobs or 1} at a time"
    how = "in one program" if together else apart
    console.print(
        f"[bold]metajax train {recipes.name_of(found.settings)}[/], {_number(len(found.cells), 'cell')} of "
        f"{_number(len(found.seeds), 'seed')}, {how}, sweep in {escape(str(folder))}"
    )
    if together:
        finished = _train_together(found, asked, folder, devices(machine))
    else:
        finished = _train_apart(found, asked, folder, machine, trust)
    if not finished:
        return False
    of_cells = sweep_report.states(found, folder)
    best = sweep_report.chosen(found, of_cells, e.higher_is_better)
    if best is not None:
        e = recipes.build(best.settings)
        _test(found, best, folder, e)
    facts = sweep_report.summary(found, folder, e, how)
    files.write_json(folder / SUMMARY, facts)
    if best is None:
        raise ValueError(
            f"{folder}: the numbers of every member stopped being finite. Lower the rates; "
            f"metajax replay {folder / found.folders(found.cells[0])[0]} shows the step of one."
        )
    _show(found, best, folder, e, facts)
    console.print(
        f"The summary is in {escape(str(folder / SUMMARY))}; every member is a run of its own.\n"
        f"It took {time.perf_counter() - begun:.0f} s in all.\n"
        f"Next: metajax evaluate {escape(str(folder / found.folders(best)[0]))} {e.next_flags}".rstrip()
    )
    return True


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _train_together(found: sweep.Plan, asked: Asked, folder: Path, spread_over: list[Any]) -> bool:
    """Trains the members that are left, one program after the other; returns whether all are over."""
    from metajax.recipes.together import can_trace, train

    for group in sweep.groups(found, can_trace):
        left = sweep.left(group, lambda name, _: not sweep_report.state_of(folder / name).is_over)
        if left.members and not train(left, folder, spread_over, report_every=asked.report_every):
            return False
    return True


def _train_apart(
    found: sweep.Plan, asked: Asked, folder: Path, machine: Machine, trust: bool
) -> bool:
    """Trains the members that are left as processes.

    Raises:
      ValueError: If a process ends in another error than that of numbers which are not finite.
    """
    begun, failed, stopped = time.perf_counter(), [], False
    names = [name for cell in found.cells for name in found.folders(cell)]

    def is_over(name: str) -> bool:
        state = sweep_report.state_of(folder / name)
        tested = (folder / name / sweep_report.EVALUATION).exists()
        return state.is_over and (tested or state.diverged is not None)

    left = [name for name in names if not is_over(name)]
    number, done = len(names), len(names) - len(left)
    data = getattr(asked.settings, "data", None) or ""
    arguments = ("trust" if trust else "", str(machine.devices or ""), str(data))
    for ended in processes.train(folder, left, asked.jobs or 1, arguments):
        done += ended.status == 0 or is_over(ended.name)
        stopped |= ended.status == processes.STOPPED
        if ended.status not in (0, processes.STOPPED) and not is_over(ended.name):
            failed.append(f"{ended.name}: {processes.last_line(folder, ended.name)}")
        processes.tell(ended, done, number, time.perf_counter() - begun)
    if failed:
        raise ValueError(
            f"{folder}: {_number(len(failed), 'member')} of {number} failed, and metajax resume {folder} tries "
            f"again. {' '.join(failed)}"
        )
    if stopped or done < number:
        console.print(f"Stopped; go on with: metajax resume {escape(str(folder))}")
        return False
    return True


def member(folder: str, name: str, trust: str, number: str, data: str) -> None:
    """Trains one member as `metajax train` and `metajax resume` would; the code of its process."""
    from metajax.cli.main import finish

    machine = Machine(devices=int(number) if number else None)
    of = Path(folder), name, machine, data or None
    finish(lambda: _member(*of, trust=trust == "trust"), machine)


def _member(folder: Path, name: str, machine: Machine, data: str | None, *, trust: bool) -> bool:
    from metajax.cli.train import train_and_test
    from metajax.recipes.run import read as read_run
    from metajax.train.records import SETTINGS

    asked, own = read(folder, data, trust=True), folder / name
    if (own / SETTINGS).exists():
        experiment, how = read_run(own, data, trust=trust), {"resume": True}
    else:
        found = sweep.plan(asked.settings, asked.seeds, asked.grid)
        experiment = recipes.build(found.settings_of(name))
        how = {"report_every": asked.report_every}
    return train_and_test(experiment, experiment.settings, own, devices(machine), **how)


def _test(found: sweep.Plan, best: sweep.Cell, folder: Path, e: Experiment) -> None:
    """Measures the members of a cell that were trained in one program, all on the same test tasks."""
    import jax

    from metajax.mesh import task_mesh
    from metajax.train import checkpoint

    mesh, steps = task_mesh(), e.settings.outer_steps
    states = {name: sweep_report.state_of(folder / name) for name in found.folders(best)}
    left = [
        name
        for name, state in states.items()
        if state.diverged is None and not (folder / name / sweep_report.EVALUATION).exists()
    ]
    if not left:
        return
    key = jax.random.key(0)
    like = jax.eval_shape(lambda key: e.learner.init(key, e.train(key).support.x), key)
    baselines = baselines_of(e, e.test_tasks, TEST_SEED, mesh)
    with console.status("testing the members of the chosen cell" if found.grid else "testing"):
        for name in left:
            meta_params = checkpoint.restore(
                folder / name / "checkpoints", like, steps, "meta_params"
            )
            scores = measured(e, meta_params, e.test_tasks, TEST_SEED, mesh)
            facts = facts_of(e, steps, e.test_tasks, TEST_SEED, scores, baselines)
            files.write_json(folder / name / sweep_report.EVALUATION, facts)


def _show(
    found: sweep.Plan, best: sweep.Cell, folder: Path, e: Experiment, facts: Mapping[str, Any]
) -> None:
    """Prints the cells by validation, and the seeds of the chosen one by test."""
    if found.grid:
        show(_cells(found, e, facts))
        console.print(f"[dim]Chosen: {escape(facts['selection'])}.[/]\n")
    own = next(cell for cell in facts["cells"] if cell["chosen"])
    for title, rows in facts["test"]["tables"].items():
        show(_seeds(found, best, e, facts, own, title, rows))
    console.print(
        f"[dim]±: {INTERVAL_SHORT.format(freedom=_number(len(found.seeds) - 1, 'degree'))}.[/]"
    )
    for cell_facts in facts["cells"]:
        for seed, step in cell_facts["diverged"].items():
            name = f"{cell_facts['folder']}/seed-{seed}".lstrip("/")
            console.print(
                f"{escape(name)} diverged in outer step {step:,} and is in no mean; "
                f"metajax replay {escape(str(folder / name))} shows why."
            )


INTERVAL_SHORT = (
    "half of a 95% interval of the mean over seeds, by Student's t ({freedom} of freedom where "
    "all seeds are finite)"
)


def _cells(found: sweep.Plan, e: Experiment, facts: Mapping[str, Any]) -> Table:
    title = f"{e.metric_name} on validation tasks, {_number(len(found.seeds), 'seed')} a cell"
    table = titled(title, [*found.grid, "validation", "diverged"], words=0)
    table.add_column("")
    for row in facts["cells"]:
        values = [escape(str(value)) for value in row["settings"].values()]
        over = row["validation"]
        table.add_row(
            *values,
            _mean(e.digits, over["mean"][0], over["interval"][0]),
            str(len(row["diverged"]) or ""),
            "chosen" if row["chosen"] else "",
        )
    return table


def _mean(digits: int, mean: float | None, interval: float | None) -> str:
    """A mean with its interval, or alone where one seed has none."""
    if mean is None:
        return "diverged"
    return cell(digits, mean) if interval is None else cell(digits, mean, interval)


def _seeds(found, best, e: Experiment, facts, own, title: str, rows) -> Table:
    """The seeds of a cell on the same test tasks, and what each row is on average."""
    columns = facts["test"]["columns"]
    learner, *_ = rows
    of = f" ({escape(best.name)})" if best.name else ""
    tasks = f"the same new tasks of {facts['test']['source']}{of}"
    name = f"metajax: {e.metric_name} on {tasks}"
    if title:  # of a report, whose tables are of other metrics than validation
        name = f"{title}, on {tasks}\nvalidation: {e.metric_name}"
    most = max(len(row["mean"]) for row in rows.values())
    table = titled(name, ["", "validation", *columns[-most:]])
    for seed in found.seeds:
        scores = rows[learner]["seeds"].get(str(seed))
        (validation,) = own["validation"]["seeds"][str(seed)]
        if scores is None:
            table.add_row(f"seed {seed}", "diverged")
            continue
        table.add_row(f"seed {seed}", _one(e, validation), *(_one(e, score) for score in scores))
    over = own["validation"]
    for row, numbers in rows.items():
        table.add_section()
        first = (over["mean"][0], over["interval"][0]) if row == learner else (None, None)
        name = "mean" if row == "metajax" else f"mean, {row}"
        parts = (
            (escape(name), [first[0], *numbers["mean"]]),
            ("±", [first[1], *numbers["interval"]]),
        )
        for label, values in parts:
            table.add_row(label, *("" if value is None else _one(e, value) for value in values))
    return table


def _one(e: Experiment, value: float | None) -> str:
    return "diverged" if value is None else cell(e.digits, value)
