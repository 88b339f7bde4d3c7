"""Sweeps against single runs: whole commands, their numbers, and which learners gain by one program.

python benchmarks/sweeps.py                 everything, about 5 minutes on two cores
python benchmarks/sweeps.py --only rule     steps a second of several learners, alone and as members
python benchmarks/sweeps.py --only command  `metajax train sinusoid` for some seeds, and once with --seeds 16

Parts that are measured are kept in results/sweeps.json as they come.
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
from typing import Any

import record

RESULT = "sweeps"
SEEDS, SINGLE, OUTER_STEPS = 16, 2, 500
PASSES = (1, 8)
_MAIN = "from metajax.cli.main import main; main()"


def command(*arguments: Any) -> tuple[float, float]:
    """Seconds of a command of metajax in a process of its own, and of the processors in it."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-c", _MAIN, *map(str, arguments)]
    environment = {**os.environ, "XDG_CACHE_HOME": os.environ["METAJAX_BENCHMARK_CACHE"]}
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, processors


def _scores(folder: Path) -> list[float]:
    return json.loads((folder / "evaluation.json").read_text())["metajax"]["mean"]


def _training_seconds(folder: Path) -> float:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["training_seconds"]


def commands() -> dict[str, Any]:
    """Times single commands and one sweep of 16 seeds, and compares what they end in."""
    flags = ("train", "sinusoid", "--outer-steps", OUTER_STEPS)
    with tempfile.TemporaryDirectory() as above, tempfile.TemporaryDirectory() as cache:
        os.environ["METAJAX_BENCHMARK_CACHE"] = cache
        folder = Path(above)
        alone = [folder / f"seed-{seed}" for seed in range(SINGLE)]
        # The first compiles, and the others read its programs.
        seconds = [
            command(*flags, "--seed", seed, "--run-dir", path) for seed, path in enumerate(alone)
        ]
        together = command(*flags, "--seeds", SEEDS, "--run-dir", folder / "one")
        command(*flags, "--seed", 1, "--seeds", 1, "--jobs", 1, "--run-dir", folder / "apart")
        members = [folder / "one" / path.name for path in alone]
        pairs = [
            (one, other)
            for path, member in zip(alone, members, strict=True)
            for one, other in zip(_scores(path), _scores(member), strict=True)
        ]
        bits = [
            (folder / "apart" / path.name / "evaluation.json").read_bytes()
            == (path / "evaluation.json").read_bytes()
            for path in alone[1:2]
        ]
        return {
            "outer_steps": OUTER_STEPS,
            "seeds": SEEDS,
            "single_seconds": [wall for wall, _ in seconds],
            "single_processor_seconds": [processors for _, processors in seconds],
            "together_seconds": together[0],
            "together_processor_seconds": together[1],
            "single_training_seconds": [_training_seconds(path) for path in alone],
            "together_training_seconds": _training_seconds(members[0]),
            "largest_relative_difference": max(abs(a - b) / abs(a) for a, b in pairs),
            "processes_equal_to_the_bit": bits,
        }


def settings() -> dict[str, Any]:
    from metajax.recipes.synthetic.icl import Icl
    from metajax.recipes.synthetic.sinusoid import Sinusoid

    return {
        "ridge regression in context": Icl(learner="ridge"),
        "MAML on sine waves, 1 step": Sinusoid(loss_steps=(1,)),
        "MAML on sine waves, 3 steps": Sinusoid(),
        "Transformer in context": Icl(),
    }


def rule(name: str, given: Any) -> dict[str, Any]:
    """Processor time of an outer step of one member, in ms: alone on all devices, and in one program."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from metajax import recipes
    from metajax.mesh import task_mesh
    from metajax.outer import outer_step
    from metajax.recipes import sweep, together
    from metajax.recipes.run import estimator_of
    from metajax.train import advance
    from metajax.train.feed import Drawn
    from metajax.train.loop import first_state

    e = recipes.build(given)
    meta_batch = given.meta_batch
    estimator = estimator_of(e, meta_batch, task_mesh(meta_batch))
    init, update = outer_step(e.objective, e.optimizer, estimator)
    init_key, step_key, check_key = jax.random.split(jax.random.key(0), 3)
    tasks = Drawn(e.train, meta_batch)
    state = first_state(e.learner, e.objective, init, tasks, init_key, check_key)
    carry = advance.begin(state, advance.Window())
    program = advance.compiled(update, tasks, step_key, carry)
    found: dict[str, Any] = {"numbers": sweep.size(e), "alone": _milliseconds(program, carry)}
    mesh, values = task_mesh(), {"seed": np.arange(SEEDS, dtype=np.int32)}
    for size in PASSES:
        parts = together.programs(given, mesh, size)
        step, first = jax.jit(parts.advance), jax.jit(parts.begin)(values)

        def run(carry, stop, step=step):
            return step(values, carry, jnp.int32(stop))

        found[f"{size} a pass"] = _milliseconds(run, first) / SEEDS
        jax.clear_caches()
    print(name, found, flush=True)
    return found


def _milliseconds(program: Any, carry: Any) -> float:
    """Processor time of an outer step, which other programs change little; the least of three calls."""
    import jax

    carry = jax.block_until_ready(program(carry, 1))
    done, least, calls = 1, float("inf"), 4
    for _ in range(4):  # the first finds out how many steps that is
        begun = time.process_time()
        carry = jax.block_until_ready(program(carry, done + calls))
        elapsed = (time.process_time() - begun) / calls
        done, calls, least = done + calls, max(1, round(0.33 / elapsed)), min(least, elapsed)
    return 1e3 * least


def keep(part: str, result: dict[str, Any]) -> None:
    """Writes what was measured so far, and with which commit each part was."""
    result.setdefault("commits", {})[part] = record.commit()
    record.write(RESULT, {**result, **record.context()})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("rule", "command"))
    arguments = parser.parse_args()
    result = record.read(RESULT) or {}
    if arguments.only != "command":
        from metajax.cpu import prepare_cpu

        before = dict(os.environ)
        prepare_cpu()
        for name, given in settings().items():
            result.setdefault("rule", {})[name] = rule(name, given)
            keep("rule", result)
        os.environ.clear()
        os.environ |= before  # commands ask for devices themselves
    if arguments.only != "rule":
        result["command"] = commands()
        print(result["command"], flush=True)
        keep("command", result)


if __name__ == "__main__":
    main()
