"""Time and memory of an outer step of second-order MAML, beside what one would pick instead.

python benchmarks/speed/speed.py                 run A, B and C against all contestants installed
python benchmarks/speed/speed.py --workload B --contestant metajax
python benchmarks/speed/speed.py --scaling       curves over meta-batch, inner steps, way and width
python benchmarks/tables.py                      write the tables

Every contestant is a process of its own. All get the same weights and tasks and must agree on the
hypergradient to 1e-4, computed in float64, before any is timed in float32; then they take turns, and
their medians and quartiles are compared. Compilation is the first step of a first process and is
reported apart; JAX keeps what it compiled, as `metajax train` does, and the process that is timed
reads it back. `pip install '.[bench]'` has the peers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import record
from contestants import CONTESTANTS
from rows.speed import CONTESTANTS as ENTERED
from rows.speed import WORKLOADS
from workloads import MALLOC, arrays, jax_apply

TOLERANCE = 1e-4
ROUNDS = 7
SECONDS_PER_TURN = 5.0
TOO_SLOW = 60.0
"""Seconds of a step after which a contestant gets one turn alone."""


def serve(contestant: str, workload: str) -> None:
    """Answers one JSON line for each line it reads, in the process of a contestant."""
    w = WORKLOADS[workload]
    commands, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    racer = CONTESTANTS[contestant](w, arrays(w))
    for line in commands:
        command, argument = line.split(maxsplit=1)
        started = time.perf_counter()
        if command == "hypergradient":
            np.savez(argument.strip(), **racer.hypergradient())
        else:
            racer.steps(int(argument))
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "peak_mb": _peak_mb()}
        print(json.dumps(answer), file=answers, flush=True)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Racer:
    """A contestant's process, seen from here."""

    def __init__(self, contestant: str, workload: str, cache: str):
        command = [sys.executable, __file__, "--serve", contestant, "--workload", workload]
        self.name = contestant
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "GLIBC_TUNABLES": MALLOC},
        )
        self.turns: list[float] = []
        self.per_turn = 1
        self.rounds = ROUNDS

    def ask(self, command: str, argument) -> dict:
        assert self.process.stdin and self.process.stdout
        print(command, argument, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped with status {self.process.wait()}")
        return json.loads(line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def race(workload: str, names: list[str]) -> dict:
    """Equality of hypergradients, then turns; the result of one workload."""
    racers, rows, expected = [], {}, None
    names = [name for name in names if workload in ENTERED[name]]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / "hypergradient.npz"
            checked = Racer(name, workload, folder)
            try:
                checked.ask("hypergradient", path)
            except RuntimeError as error:
                rows[name] = {"error": str(error)}
                continue
            finally:
                checked.end()
            with np.load(path) as loaded:
                found = {key: loaded[key] for key in loaded.files}
            expected = expected or found
            difference = _relative(found, expected)
            print(f"{workload} {name}: hypergradient differs by {difference:.1e}", flush=True)
            if difference > TOLERANCE:
                raise SystemExit(
                    f"{name} disagrees with {names[0]} on the hypergradient of {workload}: "
                    f"{difference:.1e}, more than {TOLERANCE}; nothing is timed."
                )
            compiling = Racer(name, workload, folder)
            first = compiling.ask("steps", 1)["seconds"]
            compiling.end()
            racer = Racer(name, workload, folder)
            racer.ask("steps", 1)
            once = min(racer.ask("steps", 1)["seconds"] for _ in range(3))
            rows[name] = {"difference": difference, "first_step_s": first}
            racer.per_turn = max(1, round(SECONDS_PER_TURN / once))
            if once > TOO_SLOW:
                racer.rounds = 1
            racers.append(racer)
    for turn in range(ROUNDS):
        for racer in racers:
            if turn < racer.rounds:
                racer.ask(
                    "steps", 1
                )  # brings back what the system took while others had their turn
                answer = racer.ask("steps", racer.per_turn)
                racer.turns.append(answer["seconds"] / racer.per_turn)
                rows[racer.name]["peak_mb"] = answer["peak_mb"]
    ours = np.array(racers[0].turns)
    for racer in racers:
        racer.end()
        turns = np.array(racer.turns)
        ratios = turns / ours[: len(turns)]
        low, middle, high = np.quantile(turns, [0.25, 0.5, 0.75]).tolist()
        rows[racer.name] |= {
            "step_s": {"median": middle, "quartiles": [low, high], "turns": turns.tolist()},
            "steps_per_turn": racer.per_turn,
            "times_ours": np.quantile(ratios, [0.25, 0.5, 0.75]).tolist(),
        }
        rows[racer.name]["compile_s"] = rows[racer.name].pop("first_step_s") - middle
        print(f"{workload} {racer.name}: {middle * 1e3:.2f} ms", flush=True)
    return {"title": WORKLOADS[workload].title, "rows": rows}


def _relative(a, b) -> float:
    square = sum(float(np.sum((a[k].astype(np.float64) - b[k]) ** 2)) for k in b)
    return (square / sum(float(np.sum(b[k].astype(np.float64) ** 2)) for k in b)) ** 0.5


def gigaflop(workload: str) -> float:
    """Multiplications and additions in the products of one hypergradient, reverse over reverse."""
    import jax
    import optax

    import metajax as mj

    w = WORKLOADS[workload]
    weights, (sx, sy, qx, qy) = arrays(w)
    model = mj.Model(lambda key, x: weights, jax_apply(w))
    loss = mj.cross_entropy if w.is_conv else mj.mse
    learner = mj.maml(model, loss, optax.sgd(w.rate), w.num_steps)
    tasks = mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))
    program = jax.make_jaxpr(jax.grad(mj.query_loss(learner, loss)))(
        weights, tasks, jax.random.key(0)
    )
    return mj.ops.flops(program) / 1e9


def matmul_peak() -> float:
    """GFLOP/s of the best of several 4096-square float32 products, JAX with all cores."""
    code = """
import time, jax, jax.numpy as jnp
a = jax.random.normal(jax.random.key(0), (4096, 4096))
product = jax.jit(jnp.matmul)
product(a, a).block_until_ready()
best = min(_ for _ in [(lambda s: (product(a, a).block_until_ready(), time.perf_counter() - s)[1])
           (time.perf_counter()) for _ in range(8)])
print(2 * 4096**3 / best / 1e9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--contestant", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--scaling", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.workload[0])
        return
    if arguments.scaling:
        import scaling

        scaling.run()
    else:
        context = record.context()
        name = f"speed_{context['machine']['platform']}"
        path = record.RESULTS / f"{name}.json"
        kept = json.loads(path.read_text())["workloads"] if path.exists() else {}
        for workload in arguments.workload:
            kept[workload] = race(workload, arguments.contestant)
            kept[workload] |= {
                "gigaflop": gigaflop(workload),
                "matmul_peak_gflops": matmul_peak(),
                "date": context["date"],
            }
            record.write(name, {**context, "workloads": kept})


if __name__ == "__main__":
    main()
