"""One run on several devices and processes: equal numbers, throughput, lost processes, and communication.

python benchmarks/processes.py                   every part; writes results/processes.json
python benchmarks/processes.py --part numbers    one part: numbers, lost, or communication

All processes are on this machine and talk over its loopback. A device has one core, which it shares with others
where there are more devices than cores.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import record

LAYOUTS = ((1, 1), (1, 2), (1, 8), (2, 1), (4, 1))
"""Processes, and devices of each."""
MAIN = "from metajax.cli.main import main; main()"
RUNS = Path("runs/processes")
"""Where each measurement is kept, so that a stopped script goes on."""
META_BATCH, STEPS, TURNS, DEATHS = 8, 40, 3, 5
SIZES = (1, 1_000, 10_000, 100_000, 1_000_000, 4_000_000)
"""Numbers in an array that is summed over processes."""


def learner():
    """The network of the runs, and its loss."""
    import optax

    import metajax as mj

    body = mj.conv4(5, filters=32)
    return mj.maml(body, mj.cross_entropy, optax.sgd(0.4), num_steps=1), mj.cross_entropy


def fitted(
    devices: Any, optimizer: Any, steps: int, objective: Any = None, meta_batch: int = META_BATCH
):
    """The state after some outer steps, and the seconds of a step."""
    import jax

    import metajax as mj

    model, loss = learner()
    rows: list[dict] = []
    state = mj.fit(
        model,
        objective or mj.query_loss(model, loss),
        optimizer,
        mj.tasks.glyphs(way=5, shot=1, query_shot=3),
        key=jax.random.key(0),
        outer_steps=steps,
        meta_batch=meta_batch,
        mesh=mj.task_mesh(meta_batch, devices),
        callbacks=[rows.append],
        report_every=max(1, steps // 2),
        show_progress=False,
    )
    if len(rows) < 2:
        return state, None
    first, last = rows[0], rows[-1]  # the first half warms up
    seconds = last["training_seconds"] - first["training_seconds"]
    return state, seconds / (last["step"] - first["step"])


def numbers() -> dict[str, Any]:
    """What a process finds: a hypergradient, a sum over the tasks that were drawn, and throughput."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import metajax as mj

    def drawn(meta_params, task, key):
        # Whole numbers that float32 adds without rounding, so that equal sums mean equal tasks.
        places = 1 + jnp.arange(task.query.y.size)
        total = jnp.sum(task.query.y * places) + jnp.sum(task.support.x > 0.5)
        return total * jax.tree.leaves(meta_params)[0].ravel()[0]

    devices = jax.devices()
    before = learner()[0].init
    x = mj.tasks.glyphs(way=5, shot=1, query_shot=3)(jax.random.key(1)).support.x
    init_key = jax.random.split(jax.random.key(0), 3)[0]
    started = jax.jit(before)(init_key, x)
    state, _ = fitted(devices, optax.sgd(1.0), 1)
    hypergradient = jax.tree.map(
        lambda a, b: np.asarray(a - b, np.float64), started, state.meta_params
    )
    tasks, _ = fitted(devices, optax.sgd(2.0**-20), 5, mj.TaskMean(drawn))
    moved = np.ravel(
        np.asarray(jax.tree.leaves(started)[0] - jax.tree.leaves(tasks.meta_params)[0])
    )[0]
    seconds = [fitted(devices, optax.adam(1e-3), STEPS)[1] for _ in range(TURNS)]
    flat = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(hypergradient)])
    return {
        "hypergradient": flat.tolist(),
        "tasks": float(moved),
        "seconds": seconds,
        "parameters": flat.size,
        "exchanges": exchanges(started, x),
    }


def exchanges(meta_params: Any, x: Any) -> int:
    """The sums over devices in an outer step."""
    import jax

    import metajax as mj

    tasks = mj.tasks.batch(
        mj.tasks.glyphs(way=5, shot=1, query_shot=3), jax.random.key(0), META_BATCH
    )
    estimator = mj.parallel(META_BATCH, mesh=mj.task_mesh(META_BATCH, jax.devices()))
    estimate = estimator(mj.query_loss(*learner())).estimate
    program = jax.make_jaxpr(estimate)(meta_params, (), tasks, jax.random.key(0))
    return str(program).count("psum[")


def communication() -> dict[str, Any]:
    """Seconds that a sum over the processes takes, by the numbers summed."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import PartitionSpec as P

    import metajax as mj

    mesh = mj.task_mesh(None, jax.devices())
    found = {}
    for size in SIZES:
        total = jax.jit(
            jax.shard_map(
                lambda x: jax.lax.psum(x, "tasks"),
                mesh=mesh,
                in_specs=P(),
                out_specs=P(),
                check_vma=False,
            )
        )
        array = jnp.ones(size)
        jax.block_until_ready(total(array))
        times = []
        for _ in range(30):
            begun = time.perf_counter()
            jax.block_until_ready(total(array))
            times.append(time.perf_counter() - begun)
        found[str(size)] = statistics.median(times)
    return found


def serve(part: str, place: Path, address: str, processes: int, own: int, devices: int) -> None:
    """The work of one process."""
    cores = sorted(os.sched_getaffinity(0))
    own_cores = {cores[(own * devices + i) % len(cores)] for i in range(devices)}
    os.sched_setaffinity(0, own_cores)  # else one device computes with the threads of all cores
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    # Turns are trained anew, and need not be compiled anew.
    jax.config.update("jax_compilation_cache_dir", str(place / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if processes > 1:
        jax.distributed.initialize(address, processes, own)
    found = {"numbers": numbers, "communication": communication}[part]()
    (place / f"{own}.json").write_text(json.dumps(found))


@contextlib.contextmanager
def started(commands: list[list[str]]) -> Iterator[list[subprocess.Popen]]:
    """Processes that end with the context."""
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        for command in commands
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def free_address() -> str:
    """An address that nobody uses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def kept(name: str, measure: Callable[[], Any]) -> Any:
    """What was measured under a name with this commit before, or is now."""
    path = RUNS / f"{name}-{record.commit()}.json"
    if not path.exists():
        found = measure()
        RUNS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(name, "done", flush=True)
    return json.loads(path.read_text())


def together(part: str, processes: int, devices: int) -> dict[str, Any]:
    """What the first of several processes found."""
    return kept(f"{part}-{processes}x{devices}", lambda: _together(part, processes, devices))


def _together(part: str, processes: int, devices: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        shared = [sys.executable, __file__, "--serve", part, place, free_address(), str(processes)]
        with started([[*shared, str(own), str(devices)] for own in range(processes)]) as running:
            if any(process.wait() for process in running):
                raise SystemExit(f"{part}: a process of {processes} failed.")
        return json.loads((Path(place) / "0.json").read_text())


def compared() -> dict[str, Any]:
    """Rows by layout: the largest difference of the hypergradient, whether tasks are equal, and times."""
    import numpy as np

    found = {layout: together("numbers", *layout) for layout in LAYOUTS}
    one = found[1, 1]
    expected = np.array(one["hypergradient"])
    rows = {}
    for (processes, devices), row in found.items():
        apart = np.abs(np.array(row["hypergradient"]) - expected).max() / np.abs(expected).max()
        rows[f"{processes} x {devices}"] = {
            "difference": float(apart),
            "equal_tasks": row["tasks"] == one["tasks"],
            "seconds": row["seconds"],
        }
    return {"rows": rows, "parameters": one["parameters"], "exchanges": found[2, 1]["exchanges"]}


def lost() -> dict[str, Any]:
    """Seconds from the end of a process to that of the last other one."""
    found: dict[str, Any] = {}
    for processes, how in ((2, signal.SIGKILL), (4, signal.SIGKILL), (2, signal.SIGSTOP)):
        turns = range(DEATHS if how == signal.SIGKILL else 1)
        name = f"{processes} {how.name}"
        found[name] = [
            kept(f"{name}-{turn}", partial(_end_of_others, processes, how, turn)) for turn in turns
        ]
    return found


def _end_of_others(processes: int, how: signal.Signals, turn: int) -> float:
    """Seconds from a signal to one of the processes of a run to the end of the last other one."""
    flags = [
        "--outer-steps",
        "1000000",
        "--meta-batch",
        "4",
        "--devices",
        "1",
        "--report-every",
        "50",
    ]
    with tempfile.TemporaryDirectory() as place:
        of_all = ["--coordinator", free_address(), "--processes", str(processes)]
        shared = [
            sys.executable,
            "-c",
            MAIN,
            "train",
            "sinusoid",
            *flags,
            "--run-dir",
            f"{place}/run",
            *of_all,
        ]
        with started([[*shared, "--process", str(own)] for own in range(processes)]) as running:
            while not list(Path(place).glob("run/checkpoints/*.npz")):
                time.sleep(0.1)
            time.sleep(0.37 * turn)  # at another moment of a step each time
            begun = time.perf_counter()
            running[-1].send_signal(how)
            for process in running[:-1]:
                process.wait()
            return time.perf_counter() - begun


def main() -> None:
    parts = {
        "numbers": compared,
        "lost": lost,
        "communication": lambda: {str(n): together("communication", n, 1) for n in (2, 4)},
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="*", choices=parts, default=list(parts))
    parser.add_argument("--serve", nargs=6, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        part, place, address, *numbers = arguments.serve
        serve(part, Path(place), address, *map(int, numbers))
        return
    for name in arguments.part:
        before = record.read("processes") or {}
        settings = {"meta_batch": META_BATCH, "steps": STEPS, "turns": TURNS}
        found, commits = parts[name](), {**before.get("commits", {}), name: record.commit()}
        given = {"settings": settings, "commits": commits, **record.context()}
        record.write("processes", {**before, name: found, **given})
        print(name, "done", flush=True)


if __name__ == "__main__":
    main()
