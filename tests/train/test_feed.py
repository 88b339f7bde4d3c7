"""Where batches come from: sources, lists, generators; and a whole run under `vmap`."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import feed, guard
from metajax.train.records import read_metrics

LEARNER = mj.maml(mj.mlp((2,)), mj.mse, optax.sgd(0.01), num_steps=1)
OBJECTIVE = mj.query_loss(LEARNER, mj.mse)
SAMPLE = mj.tasks.sinusoid(shot=3)
KEY = jax.random.key(3)


def fit(sample, optimizer=None, **changes):
    options = {"key": KEY, "outer_steps": 12, "report_every": 5, "show_progress": False}
    return mj.fit(LEARNER, OBJECTIVE, optimizer or optax.adam(1e-2), sample, **(options | changes))


def batches(number):
    """What a run of `KEY` would draw, on the host."""
    _, step_key, _ = jax.random.split(KEY, 3)
    draw = jax.jit(jax.vmap(SAMPLE))
    for step in range(number):
        task_key, _ = jax.random.split(jax.random.fold_in(step_key, step))
        yield jax.tree.map(np.asarray, draw(jax.random.split(task_key, 4)))


def test_a_list_of_what_a_source_would_draw_trains_the_same():
    given = fit(list(batches(12)))
    drawn = fit(SAMPLE, meta_batch=4)
    chex.assert_trees_all_close(given.meta_params, drawn.meta_params, atol=1e-6)
    assert int(given.step) == 12


def test_an_iterable_resumed_skips_what_it_has_trained_on(tmp_path):
    whole = fit(batches(12), run_dir=tmp_path / "whole")
    fit(batches(7), outer_steps=7, run_dir=tmp_path / "parts")
    parts = fit(batches(12), run_dir=tmp_path / "parts", resume=True)
    chex.assert_trees_all_equal(parts, whole)
    rows = [
        [(row["step"], row["loss"]) for row in read_metrics(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert [row for row in rows[1] if row[0] != 7] == rows[0]


def test_an_iterable_that_ends_early_keeps_its_state(tmp_path):
    with pytest.raises(
        ValueError, match=r"sample ended after 7 batches, before outer_steps.*kept in .*7\.npz"
    ) as caught:
        fit(batches(7), run_dir=tmp_path / "run")
    assert isinstance(caught.value, guard.TasksEndedError)
    assert int(caught.value.state.step) == 7
    resumed = fit(batches(12), run_dir=tmp_path / "run", resume=True)
    chex.assert_trees_all_equal(resumed, fit(batches(12)))


def test_batches_may_differ_in_shape():
    # Two steps of sgd(1/2) on half of (w - y)^2 go to the mean of the targets of each batch.
    line = mj.Model(lambda key, x: jnp.zeros(()), lambda w, x: w * x)
    learner = mj.maml(line, mj.mse, optax.sgd(0.1), num_steps=0)
    ones = [np.ones((size, 1), np.float32) for size in (2, 3)]
    given = [mj.Task(mj.Examples(x, x), mj.Examples(x, x * (i + 1))) for i, x in enumerate(ones)]
    state = mj.fit(learner, mj.query_loss(learner, mj.mse), optax.sgd(0.5), given, key=KEY,
                   outer_steps=2, show_progress=False)  # fmt: skip
    assert float(state.meta_params) == 2.0


def test_an_estimator_that_splits_tasks_takes_an_iterable():
    found = fit(batches(12), estimator=mj.chunked(2))
    chex.assert_trees_all_close(found.meta_params, fit(batches(12)).meta_params, atol=1e-6)


TASKS = next(batches(1))
ONE = mj.Task(*(mj.Examples(np.ones((n, 1)), np.ones((n, 1))) for n in (3, 5)))


@pytest.mark.parametrize(
    "sample, options, message",
    [
        (TASKS, {}, r"sample is one batch of tasks; give an iterable of batches, .* itertools\.repeat"),
        ([], {}, "sample holds 0 batches, but outer_steps=12"),
        ([TASKS] * 3, {}, r"sample holds 3 batches, but outer_steps=12 need one each\. Take outer_steps=3"),
        (iter([]), {}, "an iterable without any batch of tasks"),
        (iter([{"x": 1}]), {}, "an iterable that holds a dict; it must hold batches of tasks"),
        (iter([ONE]), {}, "the arrays of a batch share their first axis, meta_batch, but their shapes are"),
        (itertools.repeat(TASKS), {"meta_batch": 8}, "meta_batch=8, but the first batch of sample hol"),
        (SAMPLE, {}, "meta_batch is missing; a source needs the number of tasks"),
        (lambda key: next(iter([SAMPLE(jax.random.key(0))])), {"meta_batch": 4}, "the same task for every"),
        (3, {}, "sample is a int; give a function"),
        (SAMPLE, {"meta_batch": 2.5}, "meta_batch=2.5 must be an integer of at least 1"),
    ],
)  # fmt: skip
def test_what_is_no_feed_is_refused(sample, options, message):
    with pytest.raises(ValueError, match=message):
        fit(sample, **options)


def test_numbers_of_tasks_may_be_numpys(tmp_path):
    state = fit(SAMPLE, meta_batch=np.int64(4), outer_steps=np.int64(2), report_every=np.int32(1),
                run_dir=tmp_path / "run")  # fmt: skip
    assert int(state.step) == 2


def test_a_whole_run_is_mapped_over_keys():
    keys = jax.random.split(KEY, 2)
    runs = jax.jit(jax.vmap(lambda key: fit(SAMPLE, key=key, meta_batch=4)))(keys)
    assert runs.step.tolist() == [12, 12]
    for i in range(2):
        alone = fit(SAMPLE, key=keys[i], meta_batch=4)
        own = jax.tree.map(lambda leaf, i=i: leaf[i], runs)
        chex.assert_trees_all_close(own, alone, atol=1e-5)
    with pytest.raises(
        ValueError, match="key is traced, as under vmap or jit, where nothing can be wr"
    ):
        jax.vmap(lambda key: fit(SAMPLE, key=key, meta_batch=4, validate=lambda w: 0.0))(keys)
    with pytest.raises(
        ValueError, match="key is traced, as under vmap or jit; give sample a source"
    ):
        jax.vmap(lambda key: fit([TASKS] * 12, key=key))(keys)


def test_a_mapped_run_that_is_not_finite_stays_at_its_step():
    def objective(meta_params, tasks, key):
        bad = jnp.any(tasks.query.x > 4.5)  # of one run sooner than of the other
        return OBJECTIVE(meta_params, tasks, key) * jnp.where(bad, jnp.nan, 1.0)

    keys = jax.random.split(KEY, 2)
    run = jax.vmap(
        lambda key: mj.fit(LEARNER, objective, optax.sgd(0.1), SAMPLE, key=key, outer_steps=50,
                           meta_batch=1)
    )  # fmt: skip
    runs = run(keys)
    assert all(step < 50 for step in runs.step.tolist())
    chex.assert_tree_all_finite(runs.meta_params)
    with pytest.raises(mj.NonFiniteError, match=f"outer step {int(runs.step[0])}:"):
        mj.fit(LEARNER, objective, optax.sgd(0.1), SAMPLE, key=keys[0], outer_steps=50, meta_batch=1,
               show_progress=False)  # fmt: skip


def test_the_arrays_of_a_source_are_no_constants_of_the_program():
    source = mj.tasks.episodes(np.zeros((4, 3, 2), np.float32), way=2, shot=1, query_shot=1)
    assert isinstance(feed.feed(source, 2, 1), feed.Drawn)
