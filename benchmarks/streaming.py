"""Tasks from disk beside tasks in memory: time of an outer step, and peak memory.

python benchmarks/streaming.py [--megabytes 2000] [--folder FOLDER]

The data are random pictures, ten times as large as the memory that streaming may take beside the process
itself. Each measurement is a process of its own; turns alternate.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import record

SIDE, PER_CLASS = 64, 200
STEPS, TURNS, META_BATCH = 60, 5, 8
KINDS = ("resident", "streamed", "streamed by 1 process", "empty")
"""What a process does; the empty one trains on a class or two, and shows what the process itself takes."""


def write(folder: Path, megabytes: int) -> int:
    """Random pictures in shards; the number of classes."""
    from metajax.data import shards

    rng = np.random.default_rng(0)
    classes = megabytes * 10**6 // (PER_CLASS * SIDE * SIDE)
    pictures = (rng.integers(0, 256, (PER_CLASS, SIDE, SIDE, 1), np.uint8) for _ in range(classes))
    shards.write(folder, ({"x": of_class} for of_class in pictures), rows_per_file=20 * PER_CLASS)
    return classes


def serve(kind: str, folder: Path, classes: int) -> None:
    """Trains, and prints the seconds of a step and the peak of memory."""
    import jax
    import jax.numpy as jnp
    import optax

    import metajax as mj
    from metajax.data import shards

    size: dict[str, Any] = {"way": 5, "shot": 1, "query_shot": 1}
    classes = 10 if kind == "empty" else classes
    column = shards.Shards(folder)["x"]
    numbers = jnp.arange(classes * PER_CLASS).reshape(classes, PER_CLASS)
    if kind in ("resident", "empty"):
        pictures = np.empty((classes, PER_CLASS, SIDE, SIDE, 1), np.uint8)
        for i in range(classes):
            pictures[i] = column[np.asarray(numbers[i])]
        source = mj.tasks.episodes(pictures, **size)
        del pictures
    else:
        workers = 1 if kind.endswith("process") else 0
        source = mj.tasks.streamed(mj.tasks.episodes(numbers, **size), column, workers=workers)
    flat = mj.mlp(features=(64,), outputs=5)

    def apply(params, x):
        return flat.apply(params, x.reshape(len(x), -1) / 255.0)

    model = mj.Model(lambda key, x: flat.init(key, x.reshape(len(x), -1) / 255.0), apply)
    learner = mj.maml(model, mj.cross_entropy, optax.sgd(0.01), num_steps=1)
    rows: list[dict] = []
    mj.fit(
        learner,
        mj.query_loss(learner, mj.cross_entropy),
        optax.adam(1e-3),
        source,
        key=jax.random.key(0),
        outer_steps=STEPS,
        meta_batch=META_BATCH,
        report_every=STEPS // 2,
        callbacks=[rows.append],
        show_progress=False,
    )
    seconds = (rows[1]["training_seconds"] - rows[0]["training_seconds"]) / (STEPS // 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "loss": rows[1]["loss"]}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=2_000, help="size of the data")
    parser.add_argument(
        "--folder", type=Path, help="where to write them; by default a temporary folder"
    )
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        kind, folder, classes = arguments.serve
        serve(kind, Path(folder), int(classes))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        classes = write(Path(place) / "set", arguments.megabytes)
        turns: dict[str, list[dict]] = {kind: [] for kind in KINDS}
        for turn in range(TURNS):
            for kind in KINDS if turn % 2 else KINDS[::-1]:
                command = [sys.executable, __file__, "--serve", kind, f"{place}/set", str(classes)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                turns[kind].append(json.loads(done.stdout.splitlines()[-1]))
                print(kind, turns[kind][-1], flush=True)
    losses = {turn["loss"] for kind in KINDS[:3] for turn in turns[kind]}
    assert max(losses) - min(losses) < 1e-4, losses  # all saw the same tasks
    found = {
        kind: {
            key: statistics.median(turn[key] for turn in of_kind) for key in ("seconds", "peak_mb")
        }
        | {"turns": of_kind}
        for kind, of_kind in turns.items()
    }
    settings = {"megabytes": arguments.megabytes, "steps": STEPS, "meta_batch": META_BATCH}
    record.write("streaming", {"kinds": found, "settings": settings, **record.context()})


if __name__ == "__main__":
    main()
