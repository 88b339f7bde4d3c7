"""A process of several that train one run; `test_hosts.py` starts it with a port, a number and a place."""

import itertools
import json
import os
import sys
from pathlib import Path

import jax

address, number, own, place, mode = (
    sys.argv[1],
    *map(int, sys.argv[2:4]),
    Path(sys.argv[4]),
    sys.argv[5],
)
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(address, number, own, heartbeat_timeout_seconds=20)

import numpy as np  # noqa: E402 - JAX meets the other processes before anything computes
import optax  # noqa: E402
from jax.sharding import Mesh  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

import metajax as mj  # noqa: E402
from metajax.train.guard import LostProcessError  # noqa: E402

MESH = mj.task_mesh(4, jax.devices())
AXES = Mesh(np.array(jax.devices()).reshape(-1, 2), ("tasks", "model"))
LEARNER = mj.maml(mj.mlp(features=(8,)), mj.mse, optax.sgd(0.01), num_steps=1)
SOURCE, KEY = mj.tasks.sinusoid(), jax.random.key(0)


def validate(meta_params):
    scores = mj.evaluate(LEARNER, meta_params, SOURCE, mj.mse, key=KEY, num_tasks=5, mesh=MESH)
    return scores.mean


def fit(sample, **options):
    return mj.fit(
        LEARNER, mj.query_loss(LEARNER, mj.mse), optax.adam(1e-2), sample, key=KEY, mesh=MESH,
        validate=validate, show_progress=False, **options,
    )  # fmt: skip


def parts():
    """Batches of four tasks, of which every process hands over its own part."""
    share = 4 // number
    for step in itertools.count():
        batch = mj.tasks.batch(SOURCE, jax.random.key(step), 4)
        yield jax.tree.map(lambda leaf: leaf[own * share : (own + 1) * share], batch)


def wide():
    """A perceptron whose hidden layer is spread over the devices of a process."""
    of_axis = jax.lax.with_sharding_constraint

    def init(key, x):
        weights = jax.random.normal(key, (x.shape[-1], 8))
        return {
            "in": of_axis(weights, P(None, "model")),
            "out": of_axis(weights.T, P("model", None)),
        }

    def apply(params, x):
        return of_axis(jax.numpy.tanh(x @ params["in"]), P(None, "model")) @ params["out"]

    learner = mj.maml(mj.Model(init, apply), mj.mse, optax.sgd(0.01), num_steps=1)
    return mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-2), SOURCE, key=KEY, mesh=AXES,
        outer_steps=4, meta_batch=4, run_dir=place / "wide", show_progress=False,
    )  # fmt: skip


def compare():
    """Both ways to hand tasks over; the results of every process are for the test to compare."""
    assert {shard.data.shape for shard in wide().meta_params["in"].addressable_shards} == {(1, 4)}
    drawn = fit(SOURCE, outer_steps=6, meta_batch=4, report_every=3, run_dir=place / "run")
    given = fit(parts(), outer_steps=6)
    mj.save(place / f"{own}.npz", {"drawn": drawn, "given": given})


def endless():
    """Trains until a process is lost, and then keeps the sentence."""
    try:
        fit(SOURCE, outer_steps=10**6, meta_batch=4, report_every=50, run_dir=place / "run")
    except LostProcessError as error:
        (place / f"{own}.json").write_text(json.dumps(str(error)))
        os._exit(2)  # or JAX would wait for the lost process


{"compare": compare, "endless": endless}[mode]()
