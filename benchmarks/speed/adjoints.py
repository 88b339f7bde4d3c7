"""Unrolled against mixed-mode differentiation, by network and number of inner steps.

python benchmarks/speed/adjoints.py      writes results/adjoints_cpu.json, or _gpu

One hypergradient of second-order MAML, one device a core. Both are compiled first and then take turns.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import jax
import jax.numpy as jnp
import optax
import record

import metajax as mj
from metajax.cpu import prepare_cpu

STEPS, TURNS, SECONDS_PER_TURN, META_BATCH = (1, 2, 5, 10), 9, 0.3, 8


def perceptron(width: int) -> tuple[mj.Model, Any, mj.Task]:
    """A network of two hidden layers on sine waves."""
    keys = jax.random.split(jax.random.key(0), META_BATCH)
    return mj.mlp((width, width)), mj.mse, jax.vmap(mj.tasks.sinusoid())(keys)


def convolutional(filters: int) -> tuple[mj.Model, Any, mj.Task]:
    """conv4 on 5-way 1-shot tasks of noise, 28 x 28."""
    x = jax.random.normal(jax.random.key(0), (META_BATCH, 5, 28, 28, 1))
    y = jnp.tile(jnp.arange(5), (META_BATCH, 1))
    tasks = mj.Task(mj.Examples(x, y), mj.Examples(x[..., ::-1, :], y))
    return mj.conv4(5, filters=filters), mj.cross_entropy, tasks


NETWORKS = {
    "perceptron, 2 x 40": lambda: perceptron(40),
    "perceptron, 2 x 256": lambda: perceptron(256),
    "conv4, 16 filters": lambda: convolutional(16),
}


def measured(build, num_steps: int) -> dict[str, Any]:
    """Seconds by adjoint in alternating turns, and MB of temporaries on a device."""
    model, loss, tasks = build()
    programs: dict[str, tuple[Any, Any, Any]] = {}
    turns: dict[str, list[float]] = {"unrolled": [], "mixed_mode": []}
    mesh = mj.task_mesh(META_BATCH)
    for name in turns:
        learner = mj.maml(model, loss, optax.sgd(0.01), num_steps, adjoint=getattr(mj, name))
        estimator = mj.parallel(META_BATCH, META_BATCH, mesh=mesh)
        init, update = mj.outer_step(mj.query_loss(learner, loss), optax.sgd(0.0), estimator)
        first = jax.tree.map(lambda leaf: leaf[0], tasks.support.x)
        state, key = init(learner.init(jax.random.key(0), first)), jax.random.key(0)

        @jax.jit
        def many(state, tasks, n, update=update, key=key):
            return jax.lax.fori_loop(0, n, lambda _, s: update(s, tasks, key)[0], state)

        compiled = many.lower(state, tasks, jnp.int32(1)).compile()
        programs[name] = compiled, state, tasks
    once = max(_seconds(programs[name], 3) for name in turns for _ in range(2))
    per_turn = max(1, round(SECONDS_PER_TURN / once))
    for _ in range(TURNS):
        for name, values in turns.items():
            values.append(_seconds(programs[name], per_turn))
    ratios = np.divide(turns["unrolled"], turns["mixed_mode"])
    temporaries = {
        name: compiled.memory_analysis().temp_size_in_bytes / 2**20
        for name, (compiled, *_) in programs.items()
    }
    return {
        "seconds": {name: float(np.median(values)) for name, values in turns.items()},
        "unrolled_over_mixed_mode": np.quantile(ratios, [0.25, 0.5, 0.75]).tolist(),
        "temporaries_mb": temporaries,
    }


def _seconds(program: tuple[Any, Any, Any], number: int) -> float:
    compiled, state, tasks = program
    started = time.perf_counter()
    jax.block_until_ready(compiled(state, tasks, jnp.int32(number)))
    return (time.perf_counter() - started) / number


def main() -> None:
    prepare_cpu()
    context = record.context()
    found: dict[str, Any] = {}
    for network, build in NETWORKS.items():
        for num_steps in STEPS:
            found[f"{network}; {num_steps}"] = measured(build, num_steps)
            print(network, num_steps, found[f"{network}; {num_steps}"], flush=True)
            name = f"adjoints_{context['machine']['platform']}"
            record.write(name, {**context, "networks": found})


if __name__ == "__main__":
    main()
