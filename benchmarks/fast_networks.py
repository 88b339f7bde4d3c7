"""What `mj.fast` does to public networks: differences, what it replaces, and times before and after.

python benchmarks/fast_networks.py [NAME ...]    every network of networks/ that the result file lacks

The plain network and the fast one take turns in one process, for tracing, for compiling and for running.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record
from networks import NETWORKS, network
from rows.fast import EXAMPLES, META_BATCH

import metajax as mj

BUILDS, TURNS = 5, 15
SECONDS_PER_TURN = 0.5


def tasks_of(module: ModuleType, key: jax.Array) -> mj.Task:
    """A batch of tasks, each with as many examples to adapt on as to be judged on."""

    def sets(key):
        keys = jax.random.split(key, META_BATCH)
        return jax.vmap(lambda key: module.examples(key, EXAMPLES))(keys)

    return mj.Task(*map(sets, jax.random.split(key)))


def functions(module: ModuleType, model: mj.Model) -> dict[str, Callable]:
    """Values and gradients on the first support set, and the hypergradient, of `(params, tasks)`."""
    learner = mj.maml(model, module.LOSS, optax.sgd(0.01), num_steps=1)
    objective = mj.query_loss(learner, module.LOSS)

    def values(params, tasks):
        return model.apply(params, jax.tree.map(lambda leaf: leaf[0], tasks.support.x))

    def loss(params, tasks):
        y = jax.tree.map(lambda leaf: leaf[0], tasks.support.y)
        return jnp.mean(module.LOSS(values(params, tasks), y))

    def hypergradient(params, tasks):
        return jax.grad(objective)(params, tasks, jax.random.key(0))

    return {"values": values, "gradients": jax.grad(loss), "hypergradients": hypergradient}


def difference(found: Any, expected: Any) -> float:
    """The greatest difference of two entries, relative to the greatest entry.

    Example:
      >>> difference([jnp.array([1.0, 2.0])], [jnp.array([1.0, 4.0])])
      0.5
    """
    apart = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), found, expected)
    size = jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf)), expected)
    return float(np.max(jax.tree.leaves(apart)) / np.max(jax.tree.leaves(size)))


def turned(tasks: mj.Task) -> mj.Task:
    """The same tasks with their examples in reverse order, which changes a hypergradient by rounding."""
    return jax.tree.map(lambda leaf: leaf[:, ::-1], tasks)


def race(turns: int, runs: dict[str, Callable[[], dict[str, float]]]) -> dict[str, Any]:
    """What plain and fast runs say about their times, in turns of alternating order.

    Returns:
      For each kind of time both medians, and the quartiles of how many times as long as the fast run the
      plain one of the same turn took.
    """
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for turn in range(turns):
        for name in runs if turn % 2 else reversed(runs):
            seconds[name].append(runs[name]())
    found = {}
    for kind in seconds["plain"][0]:
        times = {name: [turn[kind] for turn in turns] for name, turns in seconds.items()}
        quotients = [a / b for a, b in zip(times["plain"], times["fast"], strict=True)]
        found[kind] = {
            "seconds": {name: statistics.median(turns) for name, turns in times.items()},
            "times_faster": statistics.quantiles(quotients, n=4),
        }
    return found


def times_of(functions: dict[str, Callable], params: Any, tasks: mj.Task) -> dict[str, Any]:
    """Tracing with lowering, compiling, and running, of a plain function and of a fast one."""
    compiled: dict[str, Any] = {}

    def build(name):
        jax.clear_caches()  # or parts of the program would be remembered from the turn before
        started = time.perf_counter()
        lowered = jax.jit(lambda *args: functions[name](*args)).lower(params, tasks)
        traced = time.perf_counter()
        compiled[name] = lowered.compile()
        return {"trace": traced - started, "compile": time.perf_counter() - traced}

    def run(name, calls):
        started = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(compiled[name](params, tasks))
        return {"run": (time.perf_counter() - started) / calls}

    built = race(BUILDS, {name: partial(build, name) for name in functions})
    runs = {}
    for name in functions:
        run(name, 1)  # the first warms up
        calls = max(1, round(SECONDS_PER_TURN / run(name, 1)["run"]))
        runs[name] = partial(run, name, calls)
    return built | race(TURNS, runs)


def measure(module: ModuleType) -> dict[str, Any]:
    """The row of a network."""
    key = jax.random.key(0)
    plain, tasks = module.model(), tasks_of(module, jax.random.key(1))
    x = jax.tree.map(lambda leaf: leaf[0], tasks.support.x)
    params = plain.init(key, x)
    both = {"plain": functions(module, plain), "fast": functions(module, mj.fast(plain))}
    differences, rounding = {}, 0.0
    for kind, function in both["plain"].items():
        compiled = jax.jit(function)
        expected = compiled(params, tasks)
        differences[kind] = difference(jax.jit(both["fast"][kind])(params, tasks), expected)
        if kind == "hypergradients":
            rounding = difference(compiled(params, turned(tasks)), expected)
    hypergradients = {name: found["hypergradients"] for name, found in both.items()}
    return {
        "title": (module.__doc__ or "").strip().splitlines()[0],
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "replaced": mj.replacements(plain, params, x),
        "differences": differences,
        "rounding": rounding,
        **times_of(hypergradients, params, tasks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="measure these, again if need be")
    names = parser.parse_args().names
    rows: dict = (record.read("fast_networks") or {}).get("rows", {})  # goes on where it stopped
    for name in names or [name for name in NETWORKS if name not in rows]:
        rows[name] = measure(network(name))
        print(name, rows[name], flush=True)
        jax.clear_caches()
        settings = {
            "meta_batch": META_BATCH,
            "examples": EXAMPLES,
            "builds": BUILDS,
            "turns": TURNS,
        }
        record.write("fast_networks", {"settings": settings, "rows": rows, **record.context()})


if __name__ == "__main__":
    main()
