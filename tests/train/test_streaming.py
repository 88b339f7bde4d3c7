"""Streamed tasks are those of the resident source, also after a run was resumed."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.data import shards
from metajax.train import feed, stream
from metajax.train.hosts import Hosts

LEARNER = mj.maml(mj.mlp(features=(8,), outputs=3), mj.cross_entropy, optax.sgd(0.1), num_steps=1)
SIZE: dict[str, Any] = {"way": 3, "shot": 2, "query_shot": 1}


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).normal(size=(6, 10, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def column(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "set"
    shards.write(folder, [{"x": data.reshape(60, 4)}], rows_per_file=17)
    with shards.Shards(folder) as found:
        yield found["x"]


def numbers():
    return mj.tasks.episodes(jnp.arange(60).reshape(6, 10), **SIZE)


def fit(sample, outer_steps=8, **options):
    return mj.fit(
        LEARNER, mj.query_loss(LEARNER, mj.cross_entropy), optax.adam(1e-2), sample, key=jax.random.key(0),
        outer_steps=outer_steps, meta_batch=4, report_every=4, show_progress=False, **options,
    )  # fmt: skip


def equal(found, expected):
    same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), found, expected)
    return all(jax.tree.leaves(same))


def test_streamed_and_resident_runs_end_alike_and_a_resumed_one_in_the_same_bits(
    data, column, tmp_path
):
    resident = fit(mj.tasks.episodes(data, **SIZE))
    source = mj.tasks.streamed(numbers(), column, ahead=2)
    whole = fit(source)
    chex.assert_trees_all_close(whole, resident, rtol=1e-5, atol=1e-6)  # two programs round apart
    fit(source, 3, run_dir=tmp_path / "run")
    assert equal(fit(source, run_dir=tmp_path / "run", resume=True), whole)


class Strict:
    """Rows that are read by numbers `(k,)` alone."""

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, numbers):
        assert numbers.ndim == 1
        return self.rows[numbers]


def test_rows_are_asked_for_along_one_axis(column, key):
    strict = mj.tasks.streamed(numbers(), Strict(column), Strict(np.arange(60)))
    found: Any = feed.feed(strict, 4, 5)
    task = next(iter(found.batches(2, key)))
    assert np.array_equal(task.support.x, column[np.asarray(task.support.y)])


def test_processes_read_the_batches_of_threads_in_order(column, key):
    def batches(workers):
        tasks: Any = feed.feed(mj.tasks.streamed(numbers(), column, workers=workers), 4, 5)
        return list(tasks.batches(2, key))

    threads, processes = batches(0), batches(2)
    assert len(threads) == 3 and equal(processes, threads)
    expected: Any = jax.vmap(numbers())(jax.random.split(stream.step_keys(key, 2)[0], 4))
    assert np.array_equal(threads[0].support.x, column[np.asarray(expected.support.x)])


def test_targets_and_transforms_are_read_too(key):
    rows = mj.Examples(jnp.arange(12), jnp.arange(12))
    draw = mj.tasks.ragged(rows, [5, 7], support=(1, 3), query=2)
    source = mj.tasks.streamed(
        draw, np.arange(12.0), np.arange(12.0)[:, None] ** 2,
        transform=lambda task: jax.tree.map(lambda leaf: leaf, task)._replace(
            query=task.query._replace(x=task.query.x / 2)
        ),
    )  # fmt: skip
    task = source.read(draw(key))
    assert np.array_equal(task.support.y[:, 0], task.support.x**2)
    assert np.array_equal(task.query.y[:, 0], (2 * task.query.x) ** 2)
    mask: Any = draw(key).support.mask
    assert np.array_equal(task.support.mask, mask)


def test_the_key_of_a_task_draws_it_again(column, key):
    tasks: Any = feed.feed(mj.tasks.streamed(numbers(), column), 4, 3)
    (batch, *_) = tasks.batches(1, key)
    again = numbers()(tasks.task_key(key, 1, 2)).support.x
    assert np.array_equal(batch.support.x[2], column[np.asarray(again)])


def test_every_process_reads_its_part(column, key):
    second = Hosts()
    second.number, second.index = 2, 1
    source = mj.tasks.streamed(numbers(), column)
    whole, part = (feed.feed(source, 4, 3, among).first(key) for among in (Hosts(), second))
    assert equal(part, jax.tree.map(lambda leaf: leaf[2:], whole))
    with pytest.raises(ValueError, match="meta_batch=3 cannot be shared by 2 processes"):
        feed.feed(source, 3, 3, second)


def test_an_error_of_a_reader_ends_the_run_with_its_sentence(data):
    source = mj.tasks.streamed(numbers(), np.zeros((50, 4), np.float32))  # ten rows are missing
    with pytest.raises(IndexError, match="out of bounds"):
        fit(source, 50)


def test_what_cannot_be_streamed_is_refused(column):
    with pytest.raises(ValueError, match="one integer for each example"):
        mj.tasks.streamed(mj.tasks.sinusoid(), column)
    with pytest.raises(ValueError, match="x is a int; give rows"):
        mj.tasks.streamed(numbers(), 3)
    with pytest.raises(ValueError, match="meta_batch is missing"):
        feed.feed(mj.tasks.streamed(numbers(), column), None, 3)
