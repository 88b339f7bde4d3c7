"""What ends a run early: numbers that are not finite, with their reason, and signals."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import checkpoint, guard
from metajax.train.records import read_metrics

LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
LEARNER = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=0)
PLAIN = mj.query_loss(LEARNER, mj.mse)
SGD = optax.sgd(0.125)


def sample(key):
    """Tasks of one example, y = 1 at x = 1; half of the squared distance of w to 1 is the loss."""
    x = jnp.ones(1) + 0 * jax.random.normal(key, (1,))
    return mj.Task(mj.Examples(x, x), mj.Examples(x, x))


def fit(objective: Any = PLAIN, optimizer: Any = SGD, run_dir=None, tasks=sample, **changes) -> Any:
    options = {
        "key": jax.random.key(0), "outer_steps": 40, "meta_batch": 2, "show_progress": False,
        "report_every": 40, "run_dir": run_dir,
    }  # fmt: skip
    return mj.fit(LEARNER, objective, optimizer, tasks, **(options | changes))


def state_of(folder, step, optimizer):
    like = mj.outer_step(PLAIN, optimizer)[0](jnp.zeros(()))
    return checkpoint.restore(folder / "checkpoints", like, step)


def test_a_loss_of_nan_stops_and_keeps_the_last_good_state(tmp_path):
    # Each step of sgd(1/8) takes w a quarter of the way to 1: after t steps w = 1 - (3/4)^t, which
    # passes 0.8 with t = 6.
    def objective(w, tasks, key):
        return jnp.where(w > 0.8, jnp.nan, PLAIN(w, tasks, key))

    with pytest.raises(mj.NonFiniteError, match=r"outer step 6: the loss is nan") as caught:
        fit(objective, run_dir=tmp_path / "run")
    assert int(caught.value.state.step) == 6
    assert float(caught.value.state.meta_params) == pytest.approx(1 - 0.75**6)
    kept = state_of(tmp_path / "run", 6, optax.sgd(0.125))
    chex.assert_trees_all_equal(kept, caught.value.state)


def test_a_nan_rate_stops_at_its_own_step_with_the_state_before_it(tmp_path):
    optimizer = optax.sgd(lambda count: jnp.where(count == 7, jnp.nan, 0.125))
    with pytest.raises(mj.NonFiniteError, match=r"outer step 7: .*update is not: look at its") as c:
        fit(optimizer=optimizer, run_dir=tmp_path / "run")
    assert int(c.value.state.step) == 7
    assert float(c.value.state.meta_params) == pytest.approx(1 - 0.75**7)
    chex.assert_trees_all_equal(state_of(tmp_path / "run", 7, optimizer), c.value.state)


def test_an_infinity_in_the_optimiser_alone_stops_too():
    def update(updates, state, params=None):
        return updates, jnp.where(state == 3, jnp.inf, state + 1)

    optimizer = optax.GradientTransformation(lambda params: jnp.zeros(()), update)
    with pytest.raises(mj.NonFiniteError, match="outer step 3"):
        fit(optimizer=optimizer)


def rarely_nan(w, tasks, key):
    # With this key, some of the 40 steps draw a number below 0.1.
    return PLAIN(w, tasks, key) * jnp.where(jax.random.uniform(key) < 0.1, jnp.nan, 1.0)


def test_apply_if_finite_goes_on_past_a_rare_nan(tmp_path):
    optimizer = optax.apply_if_finite(optax.sgd(0.125), 5)
    state = fit(rarely_nan, optimizer, tmp_path / "run")
    rejected = int(state.opt_state.total_notfinite)
    assert int(state.step) == 40
    assert 0 < rejected < 20
    assert float(state.meta_params) == pytest.approx(1 - 0.75 ** (40 - rejected))
    (row,) = read_metrics(tmp_path / "run")
    # The mean of (3/4)^(2t) over the steps that were taken: a geometric series.
    taken = 40 - rejected
    assert row["loss"] == pytest.approx((1 - 0.5625**taken) / (1 - 0.5625) / taken, rel=1e-5)
    with pytest.raises(mj.NonFiniteError, match="outer step"):
        fit(rarely_nan)


def test_apply_if_finite_that_gives_up_stops_the_run():
    def objective(w, tasks, key):
        return PLAIN(w, tasks, key) * jnp.where(w > 0.5, jnp.nan, 1.0)

    with pytest.raises(mj.NonFiniteError, match="outer step 6") as caught:  # w passes 0.5 in step 3
        fit(objective, optax.apply_if_finite(optax.sgd(0.125), 3))
    opt_state: Any = caught.value.state.opt_state
    assert int(opt_state.notfinite_count) == 3


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(),
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(accumulation_size=9)),
    ],
    ids=["lbfgs", "reduce_on_plateau"],
)
def test_optimisers_that_begin_with_infinities_train(optimizer):
    assert float(fit(optimizer=optimizer, outer_steps=10).meta_params) > 0.8


def test_the_error_is_pickled_with_its_state():
    state = mj.TrainState(
        jnp.int32(3), {"w": jnp.ones(2)}, optax.adam(1.0).init({"w": jnp.ones(2)})
    )
    for kind in (mj.NonFiniteError, guard.TasksEndedError):
        again = pickle.loads(pickle.dumps(kind("outer step 3: ...", state)))
        assert type(again) is kind
        assert str(again) == "outer step 3: ..."
        chex.assert_trees_all_equal(again.state, state)


def batches(change):
    """Batches of two tasks; the fourth one is changed."""
    x = np.ones((2, 2), np.float32)
    for step in range(40):
        batch = mj.Task(mj.Examples(x, x), mj.Examples(x, x))
        yield change(batch) if step == 3 else batch


def test_nan_in_the_data_is_named_with_its_task():
    def change(batch):
        bad = np.array([[1, 1], [1, np.nan]], np.float32)
        return batch._replace(query=batch.query._replace(y=bad))

    with pytest.raises(
        mj.NonFiniteError,
        match=r"step 3: .* Task 1 of the batch holds nan in query\.y: mend the data",
    ):
        fit(tasks=batches(change), meta_batch=None)


def test_divergence_is_answered_with_the_rates():
    def change(batch):
        large = np.array([[1, 1], [1e30, 1]], np.float32)
        return batch._replace(query=batch.query._replace(y=large))

    with pytest.raises(
        mj.NonFiniteError,
        match=r"Task 1 of the batch has loss inf, although its data are finite\. Lower the inner or",
    ):
        fit(tasks=batches(change), meta_batch=None)


def test_a_class_without_support_is_named():
    way = mj.protonet(mj.Model(lambda key, x: jnp.ones(()), lambda w, x: w * x))

    def source(key):
        x = jax.random.normal(key, (4, 2))
        support = mj.Examples(x, jnp.array([0, 1, 1, 0]), jnp.array([True, False, False, True]))
        return mj.Task(support, mj.Examples(x, jnp.array([0, 1, 1, 0])))

    def objective(w, tasks, key):
        return mj.query_loss(way, mj.cross_entropy)(w, tasks, key) / 0.0  # whatever it is

    with pytest.raises(
        mj.NonFiniteError, match="Task 0 of the batch holds queries of class 1 and no support exam"
    ):
        mj.fit(way, objective, optax.sgd(0.1), source, key=jax.random.key(0), outer_steps=2,
               meta_batch=2, show_progress=False)  # fmt: skip


def test_before_any_step_the_rates_of_training_are_not_blamed():
    with pytest.raises(mj.NonFiniteError, match="No outer step was taken before"):
        fit(lambda w, tasks, key: PLAIN(w, tasks, key) + jnp.nan)


SLOW = """
import os, signal, sys, time, jax, jax.numpy as jnp, optax, metajax as mj
line = mj.Model(lambda key, x: jnp.zeros(()), lambda w, x: w * x)
learner = mj.maml(line, mj.mse, optax.sgd(0.25), num_steps=0)
plain = mj.query_loss(learner, mj.mse)
pressed = [int(name) for name in sys.argv[2:]]
def objective(w, tasks, key):
    if pressed:  # while it is traced
        os.kill(os.getpid(), pressed.pop())
    return plain(w, tasks, key)
state = mj.fit(learner, objective, optax.adam(1e-3), mj.tasks.sinusoid(), key=jax.random.key(3),
               outer_steps=10**8, meta_batch=2, report_every=10**7, run_dir=sys.argv[1],
               checkpoint_every_seconds=0.0, show_progress=True)
print("ended at", int(state.step))
"""


def start(folder, *signals):
    arguments = [sys.executable, "-c", SLOW, str(folder), *map(str, signals)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_sigterm_saves_and_stops_and_checkpoints_come_by_time(tmp_path):
    process = start(tmp_path / "run")
    while process.poll() is None and checkpoint.latest(tmp_path / "run" / "checkpoints") is None:
        time.sleep(0.05)  # no report is due: it is written because its time has come
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    step = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert f"Stopped at step {step} and is saved" in said
    assert f"ended at {step}" in said
    assert read_metrics(tmp_path / "run") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_compiling_ends_cleanly(number, tmp_path):
    process = start(tmp_path / "run", int(number))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "ended at 0" in said
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["fit"]["meta_batch"] == 2
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") is None


def test_a_second_signal_acts_as_usual():
    with guard.interruptible() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_in_another_thread_signals_are_left_alone():
    found = []

    def run():
        with guard.interruptible() as interrupted:
            found.append((interrupted.is_set(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(False, signal.SIG_DFL)]
