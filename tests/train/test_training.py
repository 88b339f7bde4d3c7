"""The loop: a run is a function of its key, is resumed to the bit, and loses nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import checkpoint
from metajax.train.records import read_metrics

pytestmark = pytest.mark.usefixtures("optimised")

LEARNER = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), num_steps=1)
SAMPLE = mj.tasks.sinusoid()


def fit(run_dir=None, *, outer_steps=40, **changes):
    arguments = {
        "key": jax.random.key(3),
        "meta_batch": 4,
        "report_every": 10,
        "show_progress": False,
        "run_dir": run_dir,
        "outer_steps": outer_steps,
    }
    objective = changes.pop("objective", mj.query_loss(LEARNER, mj.mse))
    return mj.fit(LEARNER, objective, optax.adam(1e-3), SAMPLE, **(arguments | changes))


def losses(folder):
    rows = read_metrics(folder)
    return [(row["step"], row["loss"], row["gradient_norm"], row.get("validation")) for row in rows]


def test_a_loop_of_updates_by_hand_gives_the_same(key):
    init, update = mj.outer_step(mj.query_loss(LEARNER, mj.mse), optax.adam(1e-3))
    init_key, step_key, _ = jax.random.split(jax.random.key(3), 3)
    state = init(LEARNER.init(init_key, jnp.ones((10, 1))))
    for t in range(15):
        task_key, update_key = jax.random.split(jax.random.fold_in(step_key, t))
        tasks = jax.jit(jax.vmap(SAMPLE))(jax.random.split(task_key, 4))
        state, _ = update(state, tasks, update_key)
    chex.assert_trees_all_close(state.meta_params, fit(outer_steps=15).meta_params, atol=1e-6)


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    def validate(meta_params):
        return mj.evaluate(
            LEARNER, meta_params, SAMPLE, mj.mse, key=jax.random.key(9), num_tasks=5
        ).mean

    whole = fit(tmp_path / "whole", validate=validate)
    fit(tmp_path / "parts", outer_steps=27, validate=validate)
    rows = tmp_path / "parts" / "metrics.jsonl"
    # As a kill would leave it: a report without its checkpoint, and a line cut off.
    rows.write_text(rows.read_text() + json.dumps({"step": 30, "loss": 0.0}) + '\n{"step": 4')
    parts = fit(tmp_path / "parts", validate=validate, resume=True)
    chex.assert_trees_all_equal(whole, parts)
    assert [row for row in losses(tmp_path / "parts") if row[0] != 27] == losses(tmp_path / "whole")


def test_ctrl_c_saves_and_resuming_ends_in_the_same_bits(tmp_path, capsys):
    def press():
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    steps = 300_000  # far more than can be done before the key is pressed
    presser = threading.Thread(target=press)
    presser.start()
    stopped = fit(tmp_path / "run", outer_steps=steps, report_every=500, show_progress=True)
    presser.join()
    done = int(stopped.step)
    assert 0 < done < steps
    said = capsys.readouterr().out
    assert f"Stopped at step {done} and is saved; go on with: metajax resume" in said
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") == done
    goal = done + 700
    resumed = fit(tmp_path / "run", outer_steps=goal, report_every=500, resume=True)
    whole = fit(outer_steps=goal, report_every=500)
    chex.assert_trees_all_equal(resumed.meta_params, whole.meta_params)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


KILLED = """
import sys, jax, optax, metajax as mj
learner = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), num_steps=1)
mj.fit(learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3), mj.tasks.sinusoid(),
       key=jax.random.key(3), outer_steps=10_000_000, meta_batch=4, report_every=500,
       run_dir=sys.argv[1])
"""


def test_a_killed_run_is_resumed_to_the_same_bits(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and (checkpoint.latest(folder / "checkpoints") or 0) < 1000:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    goal = (checkpoint.latest(folder / "checkpoints") or 0) + 700
    assert checkpoint.latest(folder / "checkpoints") is not None
    # It reports as often as the run did.
    resumed = fit(folder, outer_steps=goal, report_every=None, resume=True)
    whole = fit(tmp_path / "whole", outer_steps=goal, report_every=500)
    chex.assert_trees_all_equal(resumed, whole)
    assert losses(folder) == losses(tmp_path / "whole")


def test_a_run_is_not_read_with_another_model(tmp_path):
    fit(tmp_path / "run", outer_steps=10)
    wider = mj.maml(mj.mlp((16,)), mj.mse, optax.sgd(0.01), num_steps=1)
    like = jax.eval_shape(wider.init, jax.random.key(0), jnp.ones((10, 1)))
    with pytest.raises(
        ValueError,
        match=r"meta_params/params/Dense_0/bias is \(8,\) float32 on disk but \(16,\) float32 here",
    ):
        checkpoint.restore(tmp_path / "run" / "checkpoints", like, part="meta_params")


def test_a_run_directory_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match="is not empty; resume the run in it, or name another"
    ):
        fit(tmp_path)
    with pytest.raises(FileNotFoundError, match="so no run was started here"):
        fit(tmp_path, resume=True)


def test_a_run_is_not_resumed_with_another_key_or_batch(tmp_path):
    fit(tmp_path / "run", outer_steps=10)
    with pytest.raises(
        ValueError, match="was started with meta_batch=4 and would go on with meta_batch=8"
    ):
        fit(tmp_path / "run", resume=True, meta_batch=8)
    with pytest.raises(ValueError, match="was started with key="):
        fit(tmp_path / "run", resume=True, key=jax.random.key(4))


def test_one_folder_is_trained_in_by_one_at_a_time(tmp_path):
    def another_starts(meta_params):
        del meta_params
        with pytest.raises(
            BlockingIOError, match="run: another process is training in this folder"
        ):
            fit(tmp_path / "run", resume=True)
        return 0.0

    def fails(meta_params):
        raise KeyError("of the user's own")

    fit(tmp_path / "run", outer_steps=20, validate=another_starts)
    with pytest.raises(KeyError):
        fit(tmp_path / "run", outer_steps=30, validate=fails, resume=True)
    chex.assert_trees_all_equal(fit(tmp_path / "run", resume=True), fit())


def test_a_head_of_all_classes_may_start_at_zeros():
    classes = np.arange(80.0, dtype=np.float32).reshape(20, 4, 1)
    body, head = mj.mlp((8,), 8, start="lecun"), mj.linear(20)
    probe = mj.linear_probe(body, mj.cross_entropy, optax.sgd(0.1), 1, columns=2)
    learner = mj.pretrained(probe, body, head)
    source = mj.tasks.episodes(classes, way=2, shot=1, query_shot=3, query_labels="class")
    state = mj.fit(
        learner,
        mj.pretraining(body, head, mj.cross_entropy),
        optax.adam(1e-3),
        source,
        key=jax.random.key(0),
        outer_steps=1,
        meta_batch=8,
        show_progress=False,
    )
    assert int(state.step) == 1


def test_a_model_of_another_way_is_refused_before_training():
    learner = mj.maml(mj.conv4(5, filters=2), mj.cross_entropy, optax.sgd(0.1), 1)
    images = np.zeros((20, 2, 16, 16, 1), np.float32)
    with pytest.raises(ValueError, match="5 outputs for a query and the source draws 20-way tasks"):
        mj.fit(
            learner,
            mj.query_loss(learner, mj.cross_entropy),
            optax.adam(1e-3),
            mj.tasks.episodes(images, way=20, shot=1, query_shot=1),
            key=jax.random.key(0),
            outer_steps=1,
            meta_batch=1,
            show_progress=False,
        )


class Convolutional(nn.Module):
    convolution: Callable = jax.lax.conv_general_dilated

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2, (3, 3), strides=(2, 2), conv_general_dilated=self.convolution)(x)
        return nn.Dense(3)(nn.relu(x).reshape(len(x), -1))


def fit_images(net, optimizer):
    learner = mj.maml(mj.Model(net.init, net.apply), mj.cross_entropy, optax.sgd(0.1), 1)
    sample = mj.tasks.episodes(np.ones((4, 2, 8, 8, 1), np.float32), way=3, shot=1, query_shot=1)
    objective = mj.query_loss(learner, mj.cross_entropy)
    options = {"outer_steps": 2, "meta_batch": 2, "show_progress": False}
    return mj.fit(learner, objective, optimizer, sample, key=jax.random.key(0), **options)


def test_convolutions_that_vmap_makes_slow_are_named_with_the_remedy():
    with pytest.warns(UserWarning, match=r"Rewrite the model with mj\.fast\(model\)") as caught:
        fit_images(Convolutional(), optax.adam(1e-3))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    fit_images(Convolutional(mj.conv_general_dilated), optax.adam(1e-3))  # a warning would fail


def test_an_optimiser_that_holds_the_weights_twice_can_give_its_buffers_away():
    optimizer = optax.chain(optax.sgd(0.1), optax.ema(0.9, debias=False))
    state = fit_images(Convolutional(mj.conv_general_dilated), optimizer)
    chex.assert_tree_all_finite(state.meta_params)
    twice = optax.GradientTransformation(
        lambda params: (params, params), lambda updates, state, params=None: (updates, state)
    )
    chex.assert_tree_all_finite(fit_images(Convolutional(mj.conv_general_dilated), twice).opt_state)


def test_tensorboard_events_are_written_when_asked_for(tmp_path):
    fit(tmp_path / "run", outer_steps=10, tensorboard=True)
    events = list((tmp_path / "run" / "events").iterdir())
    assert len(events) == 1
    assert b"gradient_norm" in events[0].read_bytes()
    with pytest.raises(ValueError, match="needs a run_dir to write events into"):
        fit(tensorboard=True)


def test_a_run_that_spreads_over_devices_is_resumed_to_the_same_bits(tmp_path, key):
    learner = mj.maml(mj.mlp((4,)), mj.mse, optax.sgd(0.01), num_steps=1)

    def fit(outer_steps, **options):
        return mj.fit(
            learner, mj.query_loss(learner, mj.mse), optax.adam(1e-2), mj.tasks.sinusoid(shot=2),
            key=key, outer_steps=outer_steps, meta_batch=4, report_every=3, show_progress=False,
            estimator=mj.parallel(4, mesh=mj.task_mesh(4)), **options,
        )  # fmt: skip

    fit(3, run_dir=tmp_path / "run")
    resumed = fit(6, run_dir=tmp_path / "run", resume=True)
    chex.assert_trees_all_equal(resumed, fit(6))
