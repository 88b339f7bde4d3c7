"""How many devices, and tasks a pass on each, are the fastest, by network and meta-batch.

python benchmarks/speed/tasks_a_pass.py      writes results/tasks_a_pass_cpu.json, or _gpu

`mj.tune` measures one hypergradient of second-order MAML for every candidate; `mj.spread` is the rule that
`mj.fit` follows.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # record and rows are beside this folder

import jax
import jax.numpy as jnp
import optax
import record
from nets.tokens import Transformer

import metajax as mj
from metajax.cli.machine import one_device_per_core

SECONDS, META_BATCHES, WAY = 60.0, (4, 8, 25), 5


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
    "perceptron, 2 x 256, 5 steps": lambda: waves(256, 5),
    "conv4, 8 filters, 1 step": lambda: images(8, 1),
    "conv4, 32 filters, 1 step": lambda: images(32, 1),
    "Transformer, width 16, 3 steps": lambda: tokens(16, 3),
    "Transformer, width 64, 3 steps": lambda: tokens(64, 3),
}


def measured(build, meta_batch: int) -> dict[str, Any]:
    """The candidates of a network, and what the rule chooses."""
    model, loss, sample, num_steps = build()
    learner = mj.maml(model, loss, optax.sgd(0.01), num_steps)
    key = jax.random.key(0)
    tasks = mj.tasks.batch(sample, key, meta_batch)
    meta_params = learner.init(key, jax.tree.map(lambda leaf: leaf[0], tasks.support.x))
    objective = mj.query_loss(learner, loss)
    found = mj.tune(objective, meta_params, tasks, key, seconds=SECONDS)
    print(found, flush=True)
    return {"candidates": [row._asdict() for row in found.candidates]}


def main() -> None:
    one_device_per_core()
    context = record.context()
    found: dict[str, Any] = {}
    for meta_batch in META_BATCHES:
        for network, build in NETWORKS.items():
            print(network, meta_batch, flush=True)
            found[f"{network}; {meta_batch}"] = measured(build, meta_batch)
            name = f"tasks_a_pass_{context['machine']['platform']}"
            record.write(name, {**context, "networks": found})


if __name__ == "__main__":
    main()
