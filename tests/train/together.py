"""One of several processes that train a run; `test_hosts.py` starts each with an address and its number."""

import itertools
import json
import os
import sys
from pathlib import Path

import jax


def main(address: str, number: str, own: str, place: str, mode: str) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(address, int(number), int(own), heartbeat_timeout_seconds=20)
    {"compare": compare, "endless": endless}[mode](int(number), int(own), Path(place))


def fit(sample, **options):
    import optax

    import metajax as mj

    learner = mj.maml(mj.mlp(features=(8,)), mj.mse, optax.sgd(0.01), num_steps=1)
    mesh, key = mj.task_mesh(4, jax.devices()), jax.random.key(0)

    def validate(meta_params):
        source = mj.tasks.sinusoid()
        return mj.evaluate(
            learner, meta_params, source, mj.mse, key=key, num_tasks=5, mesh=mesh
        ).mean

    return mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-2), sample, key=key, mesh=mesh,
        validate=validate, show_progress=False, **options,
    )  # fmt: skip


def wide_model(spread):
    """A perceptron whose hidden layer is spread over an axis "model", or the same without a word of devices."""
    from jax.sharding import PartitionSpec as P

    import metajax as mj

    of_axis = jax.lax.with_sharding_constraint if spread else lambda leaf, axes: leaf

    def init(key, x):
        weights = jax.random.normal(key, (x.shape[-1], 8))
        return {
            "in": of_axis(weights, P(None, "model")),
            "out": of_axis(weights.T, P("model", None)),
        }

    def apply(params, x):
        return of_axis(jax.numpy.tanh(x @ params["in"]), P(None, "model")) @ params["out"]

    return mj.Model(init, apply)


def wide(place):
    """Trains `wide_model` on tasks spread over processes, and the model over the devices of each."""
    import numpy as np
    import optax
    from jax.sharding import Mesh

    import metajax as mj

    mesh = Mesh(np.array(jax.devices()).reshape(-1, 2), ("tasks", "model"))
    learner = mj.maml(wide_model(True), mj.mse, optax.sgd(0.01), num_steps=1)
    return mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-2), mj.tasks.sinusoid(), key=jax.random.key(0),
        mesh=mesh, outer_steps=4, meta_batch=4, run_dir=place, show_progress=False,
    )  # fmt: skip


def parts(number, own):
    """Batches of four tasks, of which every process hands over its own part."""
    import metajax as mj

    share = 4 // number
    for step in itertools.count():
        batch = mj.tasks.batch(mj.tasks.sinusoid(), jax.random.key(step), 4)
        yield jax.tree.map(lambda leaf: leaf[own * share : (own + 1) * share], batch)


def compare(number, own, place):
    """Trains in every way; the results of each process are for the test to compare."""
    import metajax as mj

    spread = wide(place / "wide").meta_params["in"].addressable_shards
    assert {shard.data.shape for shard in spread} == {(1, 4)}
    options = {"outer_steps": 6, "meta_batch": 4}
    drawn = fit(mj.tasks.sinusoid(), report_every=3, run_dir=place / "run", **options)
    given = fit(parts(number, own), **options)
    mj.save(place / f"{own}.npz", {"drawn": drawn, "given": given})


def endless(number, own, place):
    """Trains until a process is lost, and then keeps the sentence."""
    import metajax as mj
    from metajax.train.guard import LostProcessError

    options = {"outer_steps": 10**6, "meta_batch": 4, "report_every": 50}
    try:
        fit(mj.tasks.sinusoid(), run_dir=place / "run", **options)
    except LostProcessError as error:
        (place / f"{own}.json").write_text(json.dumps(str(error)))
        os._exit(2)  # or JAX would wait for the lost process


if __name__ == "__main__":
    main(*sys.argv[1:])
