"""Time and memory of an outer step, beside what one would pick instead.

python benchmarks/speed/speed.py                 run all workloads against all contestants installed
python benchmarks/speed/speed.py --workload B "D, equinox" --contestant metajax
python benchmarks/speed/speed.py --check --small compare hypergradients alone, on reduced workloads
python benchmarks/speed/speed.py --scaling       curves over meta-batch, inner steps, way and width
python benchmarks/tables.py                      write the tables

Every contestant is a process of its own. All get the same weights and tasks and must agree on the
hypergradient to 1e-4, computed in float64, before any is timed in float32; then they take turns, and
their medians and quartiles are compared. Compilation is the first step of a first process and is
reported apart. JAX and torch.compile keep what they compiled, as `metajax train` does; the process that
is timed reads it back, and its first step is reported too. `pip install '.[bench]'` has the peers.
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
from contestants import contestant, learner_and_loss
from rows.speed import CONTESTANTS as ENTERED
from rows.speed import TUNED, WORKLOADS, UserWorkload, Workload
from workloads import MALLOC, arrays

TOLERANCE = 1e-4
ROUNDS = 5
SECONDS_PER_TURN = 2.5
TOO_SLOW = 6.0
"""Seconds of a step after which a contestant gets one turn alone."""


def sized(workload: str, small: bool) -> Workload | UserWorkload:
    """A workload, or the reduced one."""
    return WORKLOADS[workload].reduced() if small else WORKLOADS[workload]


def serve(name: str, workload: str, small: bool) -> None:
    """Answers one JSON line for each line it reads, in the process of a contestant."""
    w = sized(workload, small)
    commands, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    racer = contestant(w, name)(w, arrays(w))
    for line in commands:
        command, argument = line.split(maxsplit=1)
        started = time.perf_counter()
        if command == "hypergradient":
            np.savez(argument.strip(), **racer.hypergradient())
        else:
            racer.steps(int(argument))
        seconds = time.perf_counter() - started
        answer = {"seconds": seconds, "peak_mb": racer.device_mb() or _peak_mb()}
        print(json.dumps(answer), file=answers, flush=True)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Racer:
    """A contestant's process, seen from here."""

    def __init__(
        self,
        contestant: str,
        workload: str,
        cache: str,
        small: bool = False,
        malloc: str | None = MALLOC,
    ):
        command = [sys.executable, __file__, "--serve", contestant, "--workload", workload]
        own = {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "TORCHINDUCTOR_CACHE_DIR": str(Path(cache) / "inductor"),
        }
        free = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        if malloc is not None:
            own["GLIBC_TUNABLES"] = malloc
        self.name = contestant
        self.process = subprocess.Popen(
            command + ["--small"] * small,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=free | own,
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


def agreed(workload: str, names: list[str], cache: str, small: bool = False) -> dict:
    """Rows of the contestants that run, after comparing their hypergradients.

    Raises:
      SystemExit: If two of them disagree, or the first fails, which the others are compared with.
    """
    rows, expected = {}, None
    for name in names:
        path = Path(cache) / "hypergradient.npz"
        checked = Racer(name, workload, cache, small)
        try:
            checked.ask("hypergradient", path)
        except RuntimeError as error:
            if name == names[0]:
                raise SystemExit(f"{workload}: {error}; nothing is timed.") from None
            rows[name] = {"error": str(error)}
            print(f"{workload} {name}: failed", flush=True)
            continue
        finally:
            checked.end()
        with np.load(path) as loaded:
            found = {key: loaded[key] for key in loaded.files}
        expected = expected or found
        difference = _relative(found, expected)
        print(f"{workload} {name}: hypergradient differs by {difference:.1e}", flush=True)
        if not difference <= TOLERANCE:
            raise SystemExit(
                f"{name} disagrees with {names[0]} on the hypergradient of {workload}: "
                f"{difference:.1e}, more than {TOLERANCE}; nothing is timed."
            )
        rows[name] = {"difference": difference}
    return rows


def entered(workload: str, names: list[str]) -> list[str]:
    """Those contestants that have a row on a workload."""
    return [name for name in names if workload in ENTERED[name]]


def prepared(name: str, workload: str, cache: str, row: dict) -> Racer:
    """A process that has compiled; the first step of one before it, and its own, go into the row."""
    compiling = Racer(name, workload, cache)
    row["first_step_s"] = compiling.ask("steps", 1)["seconds"]
    compiling.end()
    racer = Racer(name, workload, cache)
    row["cached_first_step_s"] = racer.ask("steps", 1)["seconds"]
    once = min(racer.ask("steps", 1)["seconds"] for _ in range(3))
    racer.per_turn = max(1, round(SECONDS_PER_TURN / once))
    if once > TOO_SLOW:
        racer.rounds = 1
    return racer


def race(workload: str, names: list[str]) -> dict:
    """Equality of hypergradients, then turns; the result of one workload."""
    with tempfile.TemporaryDirectory() as cache:
        rows = agreed(workload, entered(workload, names), cache)
        racers = [
            prepared(name, workload, cache, row) for name, row in rows.items() if "error" not in row
        ]
        for turn in range(ROUNDS):
            for racer in racers:
                if turn < racer.rounds:
                    racer.ask("steps", 1)  # brings back what the system took in others' turns
                    answer = racer.ask("steps", racer.per_turn)
                    racer.turns.append(answer["seconds"] / racer.per_turn)
                    rows[racer.name]["peak_mb"] = answer["peak_mb"]
    ours = np.array(racers[0].turns)
    for racer in racers:
        racer.end()
        turns, row = np.array(racer.turns), rows[racer.name]
        ratios = turns / ours[: len(turns)]
        low, middle, high = np.quantile(turns, [0.25, 0.5, 0.75]).tolist()
        row |= {
            "step_s": {"median": middle, "quartiles": [low, high], "turns": turns.tolist()},
            "steps_per_turn": racer.per_turn,
            "times_ours": np.quantile(ratios, [0.25, 0.5, 0.75]).tolist(),
            "compile_s": row.pop("first_step_s") - middle,
            "cached_compile_s": row.pop("cached_first_step_s") - middle,
        }
        print(f"{workload} {racer.name}: {middle * 1e3:.2f} ms", flush=True)
    return {"title": WORKLOADS[workload].title, "rows": rows}


def _relative(a, b) -> float:
    square = sum(float(np.sum((a[k].astype(np.float64) - b[k]) ** 2)) for k in b)
    return (square / sum(float(np.sum(b[k].astype(np.float64) ** 2)) for k in b)) ** 0.5


def gigaflop(workload: str) -> float | None:
    """Multiplications and additions in the products of one hypergradient, reverse over reverse.

    None where a loop ends when it has converged, as conjugate gradients do.
    """
    import jax

    import metajax as mj

    w = WORKLOADS[workload]
    sx, sy, qx, qy = arrays(w).tasks
    learner, loss = learner_and_loss(w)
    tasks = mj.Task(mj.Examples(sx, sy), mj.Examples(qx, qy))
    meta_params = jax.eval_shape(learner.init, jax.random.key(0), sx[0])
    program = jax.make_jaxpr(jax.grad(mj.query_loss(learner, loss)))(
        meta_params, tasks, jax.random.key(0)
    )
    return None if " while[" in str(program) else mj.ops.flops(program) / 1e9


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


def _kept(name: str, context: dict) -> dict:
    """The workloads in a file of results, if they were measured on this machine with these packages."""
    result = record.read(name)
    if result is None:
        return {}
    same = all(result[part] == context[part] for part in ("machine", "versions"))
    if not same:
        print(f"{name} is of another machine or other packages and is begun anew")
    return result["workloads"] if same else {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--contestant", nargs="*", choices=ENTERED, default=list(ENTERED))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="compare hypergradients alone")
    parser.add_argument("--small", action="store_true", help="reduce the workloads of --check")
    parser.add_argument("--scaling", action="store_true")
    arguments = parser.parse_args()
    if arguments.small and not (arguments.check or arguments.serve):
        parser.error("--small is for --check; reduced workloads are not timed.")
    if arguments.serve:
        serve(arguments.serve, arguments.workload[0], arguments.small)
        return
    if arguments.check:
        for workload in arguments.workload:
            with tempfile.TemporaryDirectory() as cache:
                names = entered(workload, arguments.contestant)
                agreed(workload, names, cache, arguments.small)
    elif arguments.scaling:
        import scaling

        scaling.run()
    else:
        context = record.context()
        for workload in arguments.workload:
            group = "tuned" if workload in TUNED else "networks"
            name = f"speed_{group}_{context['machine']['platform']}"
            kept = _kept(name, context)
            kept[workload] = race(workload, arguments.contestant)
            kept[workload] |= {
                "gigaflop": gigaflop(workload),
                "matmul_peak_gflops": matmul_peak(),
                "date": context["date"],
                "commit": context["commit"],
            }
            record.write(name, {**context, "workloads": kept})


if __name__ == "__main__":
    main()
