"""Inner steps a second of learned optimisers, beside those of learned_optimization and beside Adam.

pip install --no-deps learned_optimization==0.0.1 dm-haiku gin-config jmp tabulate
python benchmarks/speed/optimizer_speed.py    writes results/optimizer_speed_PLATFORM.json

All train the same perceptron on the same batch, a hundred steps in one compiled loop: as anyone would
use them (apply), and differentiated with respect to the optimiser's weights, as its own training does
(meta-gradient; every step is recomputed in the backward pass). Turns alternate in one process, which
shares what noise there is and has the allocator's settings of speed.py; compilation is apart. It is
measured on all cores, and on one, which is what a task has where `mj.sharded` spreads tasks over cores.
"""

import argparse
import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import metajax as mj
from metajax.types import LearnedOptimizer

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import record
from rows.optimizer_speed import SHAPES
from workloads import MALLOC

STEPS, TURNS = 100, 15
HIDDEN = 16
"""Units of the two hidden layers of every learned optimiser."""


def peers() -> dict[str, Any]:
    """Optimisers of learned_optimization 0.0.1, whose release is of 2022, made to run with this JAX.

    It asks for names that JAX has removed since, and imports TensorFlow for its data sets and summaries
    alone: the names are put back, and empty modules stand for the rest. Its arithmetic is untouched.
    """
    removed = {
        f"tree_{name}": name for name in ("map", "leaves", "flatten", "unflatten", "structure")
    }
    for name, now in (removed | {"tree_multimap": "map"}).items():
        setattr(jax, name, getattr(jax.tree, now))
    for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v2"):
        sys.modules[name] = types.ModuleType(name)
    tensorflow: Any = sys.modules["tensorflow.compat.v2"]
    sys.modules["tensorflow.compat"].__dict__["v2"] = tensorflow
    tensorflow.enable_v2_behavior = lambda: None
    tensorflow.__getattr__ = lambda name: types.SimpleNamespace()
    board: Any = types.ModuleType("flax.metrics.tensorboard")
    board.SummaryWriter = object
    import flax.metrics

    flax.metrics.__dict__["tensorboard"] = board
    sys.modules[board.__name__] = board
    folder = "learned_optimization.learned_optimizers"
    adafac = importlib.import_module(f"{folder}.adafac_mlp_lopt")
    plain = importlib.import_module(f"{folder}.mlp_lopt")

    return {
        "learned_optimization, AdafacMLPLOpt": adafac.AdafacMLPLOpt(hidden_size=HIDDEN),
        "learned_optimization, MLPLOpt": plain.MLPLOpt(hidden_size=HIDDEN),
    }


class Contestant(NamedTuple):
    """An optimiser with weights.

    start: weights and parameters to a state.
    step: weights, gradients and a state to the next state.
    params_of: a state to the parameters.
    """

    weights: Any
    start: Callable
    step: Callable
    params_of: Callable


def of_optax(optimizer: LearnedOptimizer) -> Contestant:
    def start(weights, params):
        return params, optimizer.build(weights).init(params)

    def step(weights, gradients, state):
        params, inner = state
        updates, inner = optimizer.build(weights).update(gradients, inner, params)
        return optax.apply_updates(params, updates), inner

    return Contestant(optimizer.init(jax.random.key(0)), start, step, lambda state: state[0])


def of_peer(optimizer: Any) -> Contestant:
    def start(weights, params):
        return optimizer.opt_fn(weights).init(params, num_steps=STEPS)

    def step(weights, gradients, state):
        return optimizer.opt_fn(weights).update(state, gradients, jnp.zeros(()))

    return Contestant(optimizer.init(jax.random.key(0)), start, step, lambda state: state.params)


def contestants() -> dict[str, Contestant]:
    adam = mj.optimizers.hyperparameters("adam", positive={"learning_rate": 0.001}, eps_root=1e-10)
    ours = {
        "metajax, mlp": of_optax(mj.optimizers.mlp(HIDDEN)),
        "metajax, Adam with a learned rate": of_optax(adam),
    }
    return ours | {name: of_peer(peer) for name, peer in peers().items()}


def programs(contestant: Contestant, widths: tuple[int, ...], batch: int) -> dict[str, Callable]:
    """The compiled loop of `STEPS` inner steps, and its derivative: each a function of nothing."""
    weights, start, step, params_of = contestant
    keys = jax.random.split(jax.random.key(1), len(widths) + 1)
    params = [
        {"kernel": jax.random.normal(k, (n, m)) / np.sqrt(n), "bias": jnp.zeros(m)}
        for k, n, m in zip(keys, widths, widths[1:], strict=False)
    ]
    x = jax.random.normal(keys[-2], (batch, widths[0]))
    y = jax.random.randint(keys[-1], (batch,), 0, widths[-1])

    def loss(params):
        h = x
        for i, layer in enumerate(params):
            h = h @ layer["kernel"] + layer["bias"]
            h = jax.nn.relu(h) if i + 1 < len(params) else h
        return optax.softmax_cross_entropy_with_integer_labels(h, y).mean()

    def train(weights):
        @jax.checkpoint
        def one(state, _):
            return step(weights, jax.grad(loss)(params_of(state)), state), None

        end, _ = jax.lax.scan(one, start(weights, params), length=STEPS)
        return loss(params_of(end))

    loops = {"apply": train, "meta-gradient": jax.grad(train)}
    compiled = {kind: jax.jit(loop).lower(weights).compile() for kind, loop in loops.items()}
    return {kind: functools.partial(loop, weights) for kind, loop in compiled.items()}


def measure() -> dict:
    found: dict[str, Any] = {}
    for shape, (widths, batch) in SHAPES.items():
        compiled, seconds = {}, {}
        for name, contestant in contestants().items():
            started = time.perf_counter()
            compiled[name] = programs(contestant, widths, batch)
            seconds[name] = time.perf_counter() - started
        for kind in ("apply", "meta-gradient"):
            times: dict[str, list[float]] = {name: [] for name in compiled}
            for turn in range(TURNS + 1):
                for name, run in compiled.items():
                    started = time.perf_counter()
                    jax.block_until_ready(run[kind]())
                    if turn:  # the first warms up
                        times[name].append((time.perf_counter() - started) / STEPS)
            first = times["metajax, mlp"]
            for name, own in times.items():
                ratios = [theirs / ours for theirs, ours in zip(own, first, strict=True)]
                found.setdefault(shape, {}).setdefault(name, {"compilation_s": seconds[name]})[
                    kind
                ] = {
                    "ms_a_step": [1e3 * q for q in statistics.quantiles(own, n=4)],
                    "times_ours": statistics.quantiles(ratios, n=4),
                }
    return found


def measure_on(cores: set[int]) -> dict:
    """What `measure` finds in a process that has these cores."""
    command = [sys.executable, __file__, "--cores", ",".join(map(str, cores))]
    environment = os.environ | {"GLIBC_TUNABLES": MALLOC}  # which is read when a process starts
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", help="print what is measured on these alone, such as 0,1")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, map(int, arguments.cores.split(",")))
        print(json.dumps(measure()))
        return
    all_cores = os.sched_getaffinity(0)
    core_sets = {"1": {min(all_cores)}, str(len(all_cores)): all_cores}
    found = {number: measure_on(cores) for number, cores in core_sets.items()}
    settings = {"steps": STEPS, "turns": TURNS, "hidden": HIDDEN, "allocator": MALLOC}
    context = record.context()
    name = f"optimizer_speed_{context['machine']['platform']}"
    record.write(name, {**settings, **context, "cores": found})


if __name__ == "__main__":
    main()
