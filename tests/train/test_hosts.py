"""Several processes that train one run end with the numbers of one, and lose nothing when one is lost."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from train.together import wide_model

import metajax as mj
from metajax.train import checkpoint
from metajax.train.hosts import ALONE, of

SCRIPT = Path(__file__).parent / "together.py"
LEARNER = mj.maml(mj.mlp(features=(8,)), mj.mse, optax.sgd(0.01), num_steps=1)


@contextlib.contextmanager
def processes(number, place, mode):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, str(SCRIPT), address, str(number)]
    started = []
    for own in range(number):
        with (place / f"{own}.log").open("w") as log:
            words = [*command, str(own), str(place), mode]
            started.append(subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT))
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def log_of(place, own):
    """What a process printed; skips where the machine does not let its processes meet."""
    text = (place / f"{own}.log").read_text()
    if "Gloo context initialization failed" in text:
        pytest.skip("processes of this machine cannot reach each other over its network")
    return text


def alone(sample, **options):
    """The same run in this process."""
    return mj.fit(
        LEARNER, mj.query_loss(LEARNER, mj.mse), optax.adam(1e-2), sample, key=jax.random.key(0),
        mesh=mj.task_mesh(4, jax.devices()[:1]), show_progress=False, **options,
    )  # fmt: skip


def batches():
    return [mj.tasks.batch(mj.tasks.sinusoid(), jax.random.key(step), 4) for step in range(6)]


def close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-5, atol=2e-6)


def test_two_processes_end_with_the_numbers_of_one(tmp_path):
    with processes(2, tmp_path, "compare") as started:
        for own, process in enumerate(started):
            assert process.wait(200) == 0, log_of(tmp_path, own)
    source = mj.tasks.sinusoid()
    expected = {
        "drawn": alone(source, outer_steps=6, meta_batch=4),
        "given": alone(batches(), outer_steps=6),
    }
    found = [mj.load(tmp_path / f"{own}.npz", expected) for own in range(2)]
    close(found[0], expected)
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        assert np.array_equal(a, b)  # all processes hold the same bits
    rows = [json.loads(row) for row in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6]  # one of them wrote
    scores = mj.evaluate(
        LEARNER, expected["drawn"].meta_params, source, mj.mse, key=jax.random.key(0), num_tasks=5
    )
    assert rows[-1]["validation"] == pytest.approx(float(scores.mean), rel=1e-4)
    expected_wide = trained(False, None, 4).meta_params
    close(mj.restore(tmp_path / "wide").meta_params, expected_wide)
    resumed = alone(source, outer_steps=8, meta_batch=4, run_dir=tmp_path / "run", resume=True)
    close(resumed, alone(source, outer_steps=8, meta_batch=4))


def test_a_lost_process_ends_the_others_with_a_sentence_and_loses_nothing(tmp_path):
    with processes(2, tmp_path, "endless") as (first, second):
        deadline = time.monotonic() + 120
        while not checkpoint.steps(tmp_path / "run/checkpoints"):
            assert time.monotonic() < deadline and first.poll() is None, log_of(tmp_path, 0)
            time.sleep(0.05)
        second.kill()
        assert first.wait(60) == 2
    assert "another one has ended" in json.loads((tmp_path / "0.json").read_text())
    reached = checkpoint.newest(tmp_path / "run/checkpoints").step + 10
    options = {"outer_steps": reached, "meta_batch": 4}
    resumed = alone(mj.tasks.sinusoid(), run_dir=tmp_path / "run", resume=True, **options)
    close(resumed, alone(mj.tasks.sinusoid(), **options))


def test_without_other_processes_nothing_is_sent():
    tree = {"w": jnp.ones(2)}
    assert of(mj.task_mesh()) is of(None) is ALONE
    assert ALONE.shared(tree) is ALONE.everywhere(tree) is ALONE.here(tree) is tree
    assert ALONE.agree((3, 0, 1)) == (3, 0, 1) and ALONE.first(lambda: 5) == 5


def trained(spread, mesh, outer_steps, **options):
    learner = mj.maml(wide_model(spread), mj.mse, optax.sgd(0.01), num_steps=1)
    return mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-2), mj.tasks.sinusoid(),
        key=jax.random.key(0), outer_steps=outer_steps, meta_batch=4, mesh=mesh, show_progress=False, **options,
    )  # fmt: skip


def test_what_a_model_spreads_over_devices_stays_spread_and_has_the_same_numbers(tmp_path):
    mesh = Mesh(np.array(jax.devices()[:2]).reshape(1, 2), ("tasks", "model"))
    trained(True, mesh, 4, run_dir=tmp_path / "run")
    found = trained(True, mesh, 6, run_dir=tmp_path / "run", resume=True)
    close(found, trained(False, None, 6))
    opt_state: Any = found.opt_state
    for tree in (found.meta_params, opt_state[0].mu):
        assert tree["in"].sharding.spec == P(None, "model")
        assert {shard.data.shape for shard in tree["in"].addressable_shards} == {(1, 4)}
    moved = trained(False, mj.task_mesh(4), 8, run_dir=tmp_path / "run", resume=True)
    close(moved, trained(False, None, 8))


def test_a_mesh_without_an_axis_of_tasks_is_refused():
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    with pytest.raises(ValueError, match="an axis 'tasks'"):
        mj.sharded(mesh)


def test_a_meta_batch_that_processes_cannot_share_is_refused():
    class Device:
        def __init__(self, process_index):
            self.process_index = process_index

    devices = [Device(process) for process in (0, 0, 1, 1)]
    assert mj.task_mesh(6, devices).size == 2  # one of each: four do not divide six
    assert mj.task_mesh(8, devices).size == 4
    with pytest.raises(ValueError, match="meta_batch=3 cannot be shared by 2 processes"):
        mj.task_mesh(3, devices)
