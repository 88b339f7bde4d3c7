"""Hours of training in one process, and what its checkpoints cost.

python benchmarks/soak.py                          both; writes results/soak.json
python benchmarks/soak.py --only soak --minutes 5  a shorter soak
python benchmarks/soak.py --only cost              seconds of a checkpoint, and of training with and without

Memory, files and threads are those that Linux tells of the process. The soak writes a report, a validation and
a checkpoint about every two seconds, so that two hours hold as many of them as days of usual training.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record

RESULT = "soak"
MINUTES, SAMPLE_SECONDS = 120, 30
SAVES, TURNS = 9, 5


def soak(folder: Path) -> None:
    """Trains until it is told to end."""
    import jax
    import optax

    import metajax as mj

    learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)
    tasks = mj.tasks.sinusoid()

    def validate(meta_params):
        score = mj.evaluate(
            learner, meta_params, tasks, mj.mse, key=jax.random.key(1), num_tasks=100
        )
        return float(score.mean)

    mj.fit(
        learner,
        mj.query_loss(learner, mj.mse),
        optax.adam(1e-3),
        tasks,
        key=jax.random.key(0),
        outer_steps=10**9,
        meta_batch=4,
        report_every=2_000,
        checkpoint_every_seconds=1,
        validate=validate,
        run_dir=folder,
        show_progress=False,
    )


def sample_of(process: int, folder: Path) -> dict[str, int]:
    """Memory in kB, open files, threads, and the reports so far."""
    place = Path("/proc", str(process))
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    reports = folder / "metrics.jsonl"
    return {
        "resident_kb": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "files": sum(1 for _ in (place / "fd").iterdir()),
        "reports": reports.read_bytes().count(b"\n") if reports.exists() else 0,
        "step": max((int(path.stem) for path in folder.glob("checkpoints/[0-9]*.npz")), default=0),
    }


def soaked(minutes: float) -> dict[str, Any]:
    """Samples of a process that trains for some minutes, and how it ended."""
    from metajax.train import checkpoint

    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "run"
        command = [sys.executable, __file__, "--serve", str(folder)]
        samples, begun = [], time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while time.monotonic() - begun < 60 * minutes:
                time.sleep(SAMPLE_SECONDS)
                if process.poll() is not None:
                    raise SystemExit(f"The soak ended by itself with {process.returncode}.")
                elapsed = round(time.monotonic() - begun)
                samples.append({"seconds": elapsed} | sample_of(process.pid, folder))
                print(samples[-1], flush=True)
            process.send_signal(signal.SIGTERM)
            ended = time.monotonic()
            code, seconds = process.wait(), time.monotonic() - ended
        newest = checkpoint.newest(folder / "checkpoints")
        return {
            "minutes": minutes,
            "samples": samples,
            "ended": {"code": code, "seconds": seconds, "step": newest.step},
            "damaged": len(newest.damaged),
        }


def networks() -> dict[str, tuple[Any, Any]]:
    """Models by name, each with a task source."""
    import metajax as mj

    glyphs = mj.tasks.glyphs(way=5, shot=1, query_shot=3)
    return {
        "MLP on sine waves": (mj.mlp(), mj.tasks.sinusoid()),
        "conv4 of 64 channels": (mj.conv4(5, filters=64), glyphs),
        "ResNet-12": (mj.resnet12(5), glyphs),
    }


def saving() -> dict[str, Any]:
    """Parameters, size and seconds of a checkpoint, flushed to the disk."""
    import jax
    import optax

    import metajax as mj
    from metajax.train.run_dir import RunDir

    found = {}
    for name, (model, tasks) in networks().items():
        x = tasks(jax.random.key(1)).support.x
        params = jax.jit(model.init)(jax.random.key(0), x)
        state = mj.TrainState(jax.numpy.int32(0), params, optax.adam(1e-3).init(params))
        with tempfile.TemporaryDirectory() as folder:
            files, seconds = RunDir(Path(folder)), []
            for step in range(SAVES):
                begun = time.perf_counter()
                files.save(state._replace(step=jax.numpy.int32(step)), {})
                seconds.append(time.perf_counter() - begun)
            size = (files.checkpoints / f"{SAVES - 1}.npz").stat().st_size
        number = sum(leaf.size for leaf in jax.tree.leaves(params))
        found[name] = {"parameters": number, "megabytes": size / 1e6, "seconds": seconds}
        print(name, found[name], flush=True)
    return found


def training() -> dict[str, list[float]]:
    """Seconds of some outer steps without a folder and with one, in turns, compilation excluded."""
    import jax
    import optax

    import metajax as mj

    learner = mj.maml(mj.mlp(), mj.mse, optax.sgd(0.01), num_steps=1)

    def seconds(**options: Any) -> float:
        times: list[float] = []
        mj.fit(
            learner,
            mj.query_loss(learner, mj.mse),
            optax.adam(1e-3),
            mj.tasks.sinusoid(),
            key=jax.random.key(0),
            outer_steps=20_000,
            meta_batch=4,
            report_every=1_000,
            callbacks=[lambda row: times.append(time.perf_counter())],
            show_progress=False,
            **options,
        )
        return times[-1] - times[0]

    found: dict[str, list[float]] = {"without": [], "with": []}
    for turn in range(TURNS):
        kinds = list(found)
        for kind in kinds if turn % 2 else kinds[::-1]:
            with tempfile.TemporaryDirectory() as above:
                options = {"run_dir": Path(above) / "run"} if kind == "with" else {}
                found[kind].append(seconds(**options))
                print(kind, found[kind][-1], flush=True)
    ratios = [a / b for a, b in zip(found["with"], found["without"], strict=True)]
    return found | {"ratios": ratios, "median": [statistics.median(ratios)]}


def main() -> None:
    parts: dict[str, Callable[[], Any]] = {
        "cost": lambda: {"saving": saving(), "training": training()},
        "soak": lambda: soaked(arguments.minutes),
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of the soak")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        soak(arguments.serve)
        return
    for name in [arguments.only] if arguments.only else parts:
        found = parts[name]() | record.context()
        record.write(RESULT, {**(record.read(RESULT) or {}), name: found})
        print(json.dumps(name), "done", flush=True)


if __name__ == "__main__":
    main()
