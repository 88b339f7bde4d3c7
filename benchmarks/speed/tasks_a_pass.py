"""How many tasks a pass are the fastest on a core, by network, and how many `mj.fit` chooses.

python benchmarks/speed/tasks_a_pass.py      writes results/tasks_a_pass_cpu.json

One hypergradient of second-order MAML on eight tasks, on one device of one thread. Processor time is
measured, because it does not see what else the machine does.
"""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import jax
import jax.numpy as jnp
import numpy as np
import optax
import record
from nets.tokens import Transformer

import metajax as mj
from metajax.cpu import prepare_cpu
from metajax.estimators.automatic import spread

META_BATCH, TURNS, SECONDS_PER_TURN, WAY = 8, 7, 0.15, 5


def waves(width: int, num_steps: int) -> tuple[Any, ...]:
    """A perceptron of two hidden layers on sine waves."""
    return mj.mlp((width, width)), mj.mse, mj.tasks.sinusoid(shot=10), num_steps


def images(filters: int, num_steps: int) -> tuple[Any, ...]:
    """conv4 on 5-way 1-shot tasks of noise, 28 x 28."""
    return mj.conv4(WAY, filters=filters), mj.cross_entropy, _noise(5, (28, 28, 1)), num_steps


def tokens(width: int, num_steps: int) -> tuple[Any, ...]:
    """A Transformer of two layers on 5-way 1-shot tasks of 16 tokens."""
    net = mj.linen_model(Transformer(64, width, heads=4, layers=2, way=WAY))
    return net, mj.cross_entropy, _noise(5, (16,), integers=True), num_steps


def _noise(number: int, shape: tuple[int, ...], integers: bool = False) -> Any:
    def sample(key):
        size = (2 * number, *shape)
        x = jax.random.randint(key, size, 0, 64) if integers else jax.random.normal(key, size)
        y = jnp.arange(number) % WAY
        return mj.Task(mj.Examples(x[:number], y), mj.Examples(x[number:], y))

    return sample


NETWORKS = {
    "perceptron, 2 x 40, 1 step": lambda: waves(40, 1),
    "perceptron, 2 x 40, 5 steps": lambda: waves(40, 5),
    "conv4, 8 filters, 1 step": lambda: images(8, 1),
    "conv4, 32 filters, 1 step": lambda: images(32, 1),
    "perceptron, 2 x 256, 5 steps": lambda: waves(256, 5),
    "conv4, 64 filters, 1 step": lambda: images(64, 1),
    "Transformer, width 16, 1 step": lambda: tokens(16, 1),
    "Transformer, width 64, 1 step": lambda: tokens(64, 1),
}


def measured(build) -> dict[str, Any]:
    """Processor time of a hypergradient by tasks a pass, in turns, and what `fit` chooses."""
    model, loss, sample, num_steps = build()
    learner = mj.maml(model, loss, optax.sgd(0.01), num_steps)
    objective, key = mj.query_loss(learner, loss), jax.random.key(0)
    tasks = mj.tasks.batch(sample, key, META_BATCH)
    meta_params = learner.init(key, jax.tree.map(lambda leaf: leaf[0], tasks.support.x))
    runs, turns = {}, {n: [] for n in (1, 2, 4, 8)}
    for tasks_per_pass in turns:
        estimator = mj.parallel(META_BATCH, tasks_per_pass)
        init, update = mj.outer_step(objective, optax.sgd(0.0), estimator)
        state = init(meta_params)

        @jax.jit
        def many(state, n, update=update):
            return jax.lax.fori_loop(0, n, lambda _, state: update(state, tasks, key)[0], state)

        runs[tasks_per_pass] = many.lower(state, jnp.int32(1)).compile(), state
    once = {n: min(_seconds(run, 1), _seconds(run, 2)) for n, run in runs.items()}
    for _ in range(TURNS):
        for n, run in runs.items():
            turns[n].append(_seconds(run, max(1, round(SECONDS_PER_TURN / once[n]))))
    medians = {n: float(np.median(values)) for n, values in turns.items()}
    chosen = spread(objective, meta_params, tasks, key, mj.task_mesh(devices=jax.devices()[:1]))
    return {"seconds": medians, "chosen": chosen.tasks_per_pass}


def _seconds(run: tuple[Any, Any], number: int) -> float:
    compiled, state = run
    started = time.process_time()
    jax.block_until_ready(compiled(state, jnp.int32(number)))
    return (time.process_time() - started) / number


def main() -> None:
    prepare_cpu()
    context = record.context()
    found: dict[str, Any] = {}
    for network, build in NETWORKS.items():
        found[network] = measured(build)
        print(network, found[network], flush=True)
        name = f"tasks_a_pass_{context['machine']['platform']}"
        record.write(name, {**context, "networks": found})


if __name__ == "__main__":
    main()
