"""Kills runs and damages their files, and compares what is resumed with an undisturbed run.

python benchmarks/faults.py                                            all; it goes on where it stopped
python benchmarks/faults.py --kills 5 --damages 20 --resumes 4 --dry   a few, printed and not written

Every start is a fresh process: a fork of one that has imported metajax and in which JAX has not begun.
Half of the kills come at a uniformly random moment of a start, half as soon as a file is being written.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import record

RESULT = "faults"
COMMAND = ("train", "sinusoid", "--outer-steps", "60", "--meta-batch", "2", "--report-every", "4")
STEPS, EVERY = 80, 4
NEWEST = Path("checkpoints") / f"{STEPS}.npz"


def fit(folder: Path, resume: bool) -> None:
    """A short run of `mj.fit` with a checkpoint every few steps."""
    import jax
    import optax

    import metajax as mj

    learner = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), num_steps=1)
    mj.fit(
        learner,
        mj.query_loss(learner, mj.mse),
        optax.adam(1e-3),
        mj.tasks.sinusoid(),
        key=jax.random.key(3),
        outer_steps=STEPS,
        meta_batch=2,
        report_every=EVERY,
        run_dir=folder,
        resume=resume,
        show_progress=False,
    )


def command(folder: Path, resume: bool) -> None:
    """A run of the command line, which ends in a short test."""
    from metajax import recipes
    from metajax.cli.main import main

    build = recipes.build
    less: Any = {"test_tasks": 20, "baselines": None, "picture": None}
    recipes.build = lambda settings: dataclasses.replace(build(settings), **less)
    words = ("resume", str(folder)) if resume else (*COMMAND, "--run-dir", str(folder))
    with contextlib.suppress(SystemExit):
        main(words)


QUICK = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""Starts shall run, not compile."""
PATIENCE = 6
"""Kills of a run, after which it may end."""
STARTS = {"mj.fit": fit, "metajax train": command}


def child(work: Callable[[], Any]) -> int:
    """Starts a fresh process that works and leaves with 0, or with 1 after an error."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        if "--talk" not in sys.argv:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        work()
        code = 0
    finally:
        os._exit(code)


def ended(number: int) -> int:
    """Waits for a process; its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def facts(folder: Path) -> dict[str, Any]:
    """What a run left that must not depend on where it was killed."""
    from metajax.train.records import read_metrics

    last = max((folder / "checkpoints").glob("*.npz"), key=lambda path: int(path.stem))
    rows = read_metrics(folder)
    for row in rows:
        row.pop("training_seconds", None)
    evaluation = folder / "evaluation.json"
    content = hashlib.sha256(last.name.encode())
    with np.load(last, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            content.update(arrays[name].tobytes())
    return {
        "checkpoint": content.hexdigest(),
        "metrics": rows,
        "evaluation": evaluation.read_text() if evaluation.exists() else None,
    }


def is_writing(folder: Path) -> bool:
    return any(folder.glob(".*.part")) or any((folder / "checkpoints").glob(".*.part"))


def killed(start: Callable, folder: Path, resume: bool, chance: random.Random, longest: float):
    """Kills a start; whether it was alive, and whether it was writing a file."""
    number = child(lambda: start(folder, resume))
    moment = time.monotonic() + chance.random() * longest
    wait_for_file = chance.random() < 0.5
    while time.monotonic() < moment or (wait_for_file and time.monotonic() < moment + longest):
        if os.waitpid(number, os.WNOHANG)[0]:
            return False, False
        if wait_for_file and time.monotonic() > moment and is_writing(folder):
            break
        time.sleep(0.0005)
    writing = is_writing(folder)
    os.kill(number, signal.SIGKILL)
    ended(number)
    return True, writing


def kills(start: Callable, count: int, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kills starts of runs, each until it ends or PATIENCE is over; yields what was found so far."""
    chance = random.Random(f"{start.__name__} {found['runs']}")
    with tempfile.TemporaryDirectory() as above:
        whole = Path(above) / "whole"
        for name in ("compiles", "whole"):  # the second has its programs from the first
            begun = time.monotonic()
            if ended(child(lambda name=name: start(Path(above) / name, False))):
                raise SystemExit(f"faults: the undisturbed run of {start.__name__} failed")
            longest = time.monotonic() - begun
        expected = facts(whole)
        while found["kills"] < count:
            folder, writes = Path(above) / f"run{found['runs']}", 0
            alive, own = True, 0
            while alive and found["kills"] + own < count and own < PATIENCE:
                resume = (folder / "settings.json").exists()
                alive, writing = killed(start, folder, resume, chance, longest)
                own += alive
                writes += writing
            resume = (folder / "settings.json").exists()
            code = ended(child(lambda folder=folder, resume=resume: start(folder, resume)))
            if code or facts(folder) != expected:
                found["different"].append({"run": found["runs"], "exit": code})
            found["runs"] += 1
            found["kills"] += own
            found["in_writes"] += writes
            yield found


def whole_run(above: Path) -> dict[Path, bytes]:
    """The files of a run that nothing disturbed."""
    whole = above / "whole"
    if ended(child(lambda: fit(whole, False))):
        raise SystemExit("faults: the undisturbed run failed")
    return {
        path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()
    }


def damages(count: int) -> dict[str, int]:
    """Damages the newest checkpoint of a whole run, again and again.

    What the loop would go on from is read each time from the disk, with nothing kept from before, and
    compared bit by bit.
    """
    with tempfile.TemporaryDirectory() as above:
        contents, result = whole_run(Path(above)), Path(above) / "result.json"

        def read():
            found = _read_damaged(count, random.Random(0), Path(above), contents)
            result.write_text(json.dumps(found))

        if ended(child(read)):
            raise SystemExit("faults: reading failed")
        return json.loads(result.read_text())


def resumes(count: int, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Damages one file of a whole run, and resumes it in a fresh process; yields what was found so far."""
    with tempfile.TemporaryDirectory() as above:
        contents, folder = whole_run(Path(above)), Path(above) / "run"
        expected = facts(Path(above) / "whole")["checkpoint"]
        others = sorted(name for name, content in contents.items() if content and name != NEWEST)
        while found["runs"] < count:
            index = found["runs"]
            chance = random.Random(f"resume {index}")
            name = NEWEST if index % 2 else chance.choice(others)
            _written(folder, contents)
            _damage(folder / name, index // 2, chance)
            code = ended(child(lambda: fit(folder, True)))
            if code or facts(folder)["checkpoint"] != expected:
                found["different"].append({"run": index, "file": str(name), "exit": code})
            kind = "newest checkpoint" if name == NEWEST else name.parts[0]
            found["files"][kind] = found["files"].get(kind, 0) + 1
            found["runs"] += 1
            yield found


def _written(folder: Path, contents: dict[Path, bytes]) -> None:
    """Makes a folder hold these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _read_damaged(
    count: int, chance: random.Random, above: Path, contents: dict[Path, bytes]
) -> dict[str, int]:
    """How the loop reads damaged newest checkpoints."""
    from metajax.train import saved
    from metajax.train.run_dir import RunDir

    def bits(tree):
        import jax
        import numpy as np

        return [
            (np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)
        ]

    found = {"damaged": 0, "from_the_one_before": 0, "unchanged": 0, "silent": 0, "failed": 0}
    folder = above / "read"
    _written(folder, contents)
    trees = {
        step: saved.load(folder / "checkpoints" / f"{step}.npz") for step in (STEPS - EVERY, STEPS)
    }
    wholes = {step: bits(tree) for step, tree in trees.items()}
    for index in range(count):
        _written(folder, contents)
        _damage(folder / NEWEST, index, chance)
        try:
            restored, said = RunDir(folder).restore(None)
        except Exception:
            found["failed"] += 1
            continue
        assert restored is not None
        same = bits(restored.tree) == wholes[restored.step]
        named = any(NEWEST.name in sentence for sentence in said)
        found["damaged"] += 1
        if same and restored.step == STEPS:
            found["unchanged"] += 1
        else:
            found["from_the_one_before" if same and named else "silent"] += 1
    return found


def _damage(path: Path, index: int, chance: random.Random) -> None:
    """Cuts a file off, or flips one of its bits."""
    content = bytearray(path.read_bytes())
    if index % 3 == 0:
        del content[chance.randrange(len(content)) :]
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--damages", type=int, default=2000)
    parser.add_argument("--resumes", type=int, default=500)
    parser.add_argument("--only", choices=STARTS, help="kill the starts of this kind alone")
    parser.add_argument("--dry", action="store_true", help="print the result instead of writing it")
    parser.add_argument("--talk", action="store_true", help="show what the runs print")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        os.environ |= QUICK
        from jax._src import xla_bridge

        import metajax.cli.main  # noqa: F401 - imported once for all forks

        assert not xla_bridge.backends_are_initialized(), "JAX has begun, and cannot be forked"
        before = {} if arguments.dry else record.read(RESULT) or {}
        if arguments.damages:
            _keep({"damages": damages(arguments.damages)}, arguments.dry)
        begin = before.get("resumes") or {"runs": 0, "files": {}, "different": []}
        for found in resumes(arguments.resumes, begin) if arguments.resumes else ():
            _keep({"resumes": found}, arguments.dry)
        for name, start in STARTS.items():
            if not arguments.kills or arguments.only not in (None, name):
                continue
            old = before.get("kills", {}).get(name)
            begin = old or {"kills": 0, "in_writes": 0, "runs": 0, "different": []}
            for found in kills(start, arguments.kills // len(STARTS), begin):
                _keep({"kills": {name: found}}, arguments.dry)


def _keep(found: dict[str, Any], dry: bool) -> None:
    """Prints a part of the result, and puts it into the file of results."""
    print(json.dumps(found), flush=True)

    def write():
        before, (part,) = record.read(RESULT) or {}, found
        if part == "kills":
            found["kills"] = before.get("kills", {}) | found["kills"]
        commits = before.get("commits", {}) | {part: record.commit()}
        record.write(RESULT, {**before, **found, "commits": commits, **record.context()})

    if not dry:  # in a process of its own, because it asks JAX for the devices
        ended(child(write))


if __name__ == "__main__":
    main()
