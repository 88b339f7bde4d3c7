"""What stops a run is named, kept, and taken again."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.cli.main import main
from metajax.train.fault import first_not_finite
from metajax.train.replay import inner_loop, replay

LINE = mj.Model(
    init=lambda key, x: {"head": {"kernel": jnp.zeros(())}},
    apply=lambda w, x: w["head"]["kernel"] * x,
)


def source(bad):
    """Tasks y = x at one x; `bad` changes the queries of those drawn from keys whose data are even."""

    def sample(key):
        x = 1 + jax.random.uniform(key, (2,))
        chosen = jax.random.key_data(key)[1] % 8 == 0
        return mj.Task(mj.Examples(x, x), bad(chosen, mj.Examples(x, x)))

    return sample


def is_chosen(task_key):
    return task_key[1] % 8 == 0


def nan_targets(chosen, query):
    return query._replace(y=jnp.where(chosen, jnp.nan, query.y))


def fit(sample, folder, inner=0.1, num_steps=1):
    learner = mj.maml(LINE, mj.mse, optax.sgd(inner), num_steps=num_steps)
    objective = mj.query_loss(learner, mj.mse)
    # The check before training draws other tasks, of which none is bad with this key.
    return learner, lambda: mj.fit(
        learner, objective, optax.adam(1e-3), sample, key=jax.random.key(2), outer_steps=40,
        meta_batch=2, report_every=40, run_dir=folder, show_progress=False,
    )  # fmt: skip


def test_a_task_of_bad_data_is_named_by_index_and_key_and_kept(tmp_path):
    sample = source(nan_targets)
    _, run = fit(sample, tmp_path / "run")
    with pytest.raises(mj.NonFiniteError, match=r"holds nan in query\.y: mend the data") as error:
        run()
    kept = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert is_chosen(kept["task_key"])
    assert f"The source drew the task from the key of data {kept['task_key']}" in str(error.value)
    assert kept["step"] == int(error.value.state.step)
    assert first_not_finite(error.value.state) is None
    again = sample(jax.random.wrap_key_data(jnp.array(kept["task_key"], jnp.uint32)))
    task = mj.load(tmp_path / "run" / "failure.npz", like=again)
    np.testing.assert_allclose(task.support.x, again.support.x, rtol=1e-6)
    assert np.isnan(task.query.y).all()


def test_an_inner_loop_that_diverges_gets_other_advice_and_its_array(tmp_path):
    # Each inner step multiplies the distance of w to 1 by 1 - 2 * 1e30 * mean(x^2).
    _, run = fit(source(lambda chosen, query: query), tmp_path / "run", inner=1e30, num_steps=3)
    with pytest.raises(
        mj.NonFiniteError,
        match=r"its inner loop diverged, and head/kernel of what it adapts is not finite\. Lower the in",
    ):
        run()
    kept = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert (kept["step"], kept["task"], kept["array"]) == (0, 0, "head/kernel")


def test_a_derivative_that_is_not_finite_names_its_array():
    model = mj.Model(
        init=lambda key, x: {"good": jnp.ones(()), "root": jnp.zeros(())},
        apply=lambda w, x: x * w["good"] + jnp.sqrt(w["root"]),
    )
    learner = mj.maml(model, mj.mse, optax.sgd(0.1), num_steps=0)
    with pytest.raises(
        mj.NonFiniteError, match=r"its derivative by root in task 0 of the batch is not"
    ):
        mj.fit(learner, mj.query_loss(learner, mj.mse), optax.sgd(0.1), mj.tasks.sinusoid(shot=2),
               key=jax.random.key(0), outer_steps=2, meta_batch=2, show_progress=False)  # fmt: skip


def test_a_state_of_the_estimator_that_is_not_finite_is_not_kept():
    from metajax.train import guard
    from metajax.types import Metrics

    def state(value):
        return mj.TrainState(jnp.int32(0), jnp.ones(2), (), {"particles": jnp.array([1.0, value])})

    metrics = Metrics(jnp.ones(()), jnp.ones(()))
    assert bool(guard.is_good(state(1.0), state(2.0), metrics))
    assert not bool(guard.is_good(state(1.0), state(math.nan), metrics))
    assert bool(guard.is_good(state(math.inf), state(math.inf), metrics))  # it began so


def test_a_step_is_taken_again_with_its_tasks_and_numbers(tmp_path):
    sample = source(nan_targets)
    learner, run = fit(sample, tmp_path / "run")
    with pytest.raises(mj.NonFiniteError) as error:
        run()
    kept = json.loads((tmp_path / "run" / "failure.json").read_text())
    found = replay(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3), sample, key=jax.random.key(2),
        meta_batch=2, estimator=jax.value_and_grad, run_dir=tmp_path / "run", step=10_000,
    )  # fmt: skip
    assert found.step == kept["step"]
    assert not found.good
    assert math.isnan(found.loss)
    assert found.array == "head/kernel"
    np.testing.assert_array_equal(
        found.state.meta_params["head"]["kernel"], error.value.state.meta_params["head"]["kernel"]
    )
    assert np.isnan(found.tasks.query.y[kept["task"]]).all()


def test_the_norms_of_an_inner_loop_by_hand():
    # sgd(1/4) on the squared error of y = wx at x = 1 halves the distance of w = 1 to the target 9.
    learner = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=3)
    one = jnp.ones((1, 1))
    tasks = mj.Task(mj.Examples(one, 9 * one), mj.Examples(one, one))
    start = {"head": {"kernel": jnp.ones(())}}
    found = inner_loop(learner, mj.mse, start, tasks, jax.random.split(jax.random.key(0), 1))
    assert found.norm.ravel().tolist() == [1, 5, 7, 8]
    assert found.change.ravel().tolist() == [0, 4, 2, 1]
    assert found.support_loss.ravel().tolist() == [64, 16, 4, 1]
    assert found.query_loss.ravel().tolist() == [0, 16, 36, 49]


def test_the_command_line_replays_the_step_that_stopped_a_run(tmp_path, capsys):
    folder = str(tmp_path / "run")
    with pytest.raises(SystemExit) as stopped:
        main(["train", "sinusoid", "--outer-steps", "3", "--meta-batch", "2", "--inner-rate", "1e30",
              "--run-dir", folder])  # fmt: skip
    assert stopped.value.code == 2
    assert "its inner loop diverged, and params/Dense_" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as stopped:
        main(["replay", folder])
    assert stopped.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "outer step 0: loss nan" in said or "outer step 0: loss inf" in said
    assert "Task 0 of 2" in said
    assert "norm of the adapted" in said
    with pytest.raises(SystemExit):
        main(["replay", folder, "--step", "-1"])
    assert "replay: step=-1 must be an integer of at least 0" in capsys.readouterr().out
