"""Sources made of sources: masks at random, and tasks of several sources."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.masks import exists


def wrong(value: Any) -> Any:
    return value


NUMBERS = np.arange(60).reshape(6, 10)
"""The class of a number is number // 10."""
WHOLE = mj.tasks.episodes(NUMBERS, way=4, shot=3, query_shot=2)


def test_varied_takes_every_way_and_shot_and_nothing_else(key):
    sample = mj.tasks.varied(WHOLE, way=(2, 4), shot=(1, 3))
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 200))
    seen = set()
    for i in range(200):
        support, query = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), tasks)
        existing = np.bincount(support.y[support.mask])
        assert len(set(existing.tolist())) == 1  # as many of each class
        assert np.bincount(query.y[query.mask]).tolist() == [2] * len(existing)
        seen.add((len(existing), int(existing[0])))
    assert seen == {(way, shot) for way in (2, 3, 4) for shot in (1, 2, 3)}


def test_varied_masks_and_changes_nothing_else(key):
    task = mj.tasks.varied(WHOLE, way=(2, 4), shot=(1, 3))(key)
    plain = WHOLE(jax.random.split(key, 3)[0])
    cleared = mj.Task(*(part._replace(mask=None) for part in task))
    chex.assert_trees_all_equal(cleared, plain)


def test_a_learner_sees_the_existing_examples_alone(key):
    points = np.random.default_rng(0).normal(size=(6, 10, 2)).astype(np.float32)
    sample = mj.tasks.varied(
        mj.tasks.episodes(points, way=4, shot=3, query_shot=2), way=(2, 4), shot=(1, 3)
    )
    learner = mj.maml(mj.linear(4), mj.cross_entropy, optax.sgd(0.5), num_steps=3)
    meta_params = learner.init(key, points[0])
    tasks = map(sample, jax.random.split(key, 20))
    task = next(
        task
        for task in tasks
        if 0 < exists(task.support).sum() < 6 and exists(task.query).sum() < 8
    )
    cut = mj.Task(*(mj.Examples(part.x[part.mask], part.y[part.mask]) for part in task))
    loss = mj.query_loss(learner, mj.cross_entropy)

    def value_and_grad(task):
        batch = jax.tree.map(lambda leaf: leaf[None], task)
        return jax.value_and_grad(loss)(meta_params, batch, key)

    chex.assert_trees_all_close(value_and_grad(task), value_and_grad(cut), rtol=1e-5, atol=1e-6)


def test_the_shot_of_regression_varies(key):
    sample = mj.tasks.varied(mj.tasks.sinusoid(shot=3, query_shot=2), way=(1, 1), shot=(1, 3))
    tasks = jax.vmap(sample)(jax.random.split(key, 60))
    assert np.all(tasks.query.mask)
    masks = np.asarray(tasks.support.mask)
    assert (masks == (np.arange(3) < masks.sum(axis=1, keepdims=True))).all()
    assert set(masks.sum(axis=1).tolist()) == {1, 2, 3}


def test_varied_twice_keeps_both_masks(key):
    inner = mj.tasks.varied(WHOLE, way=(2, 4), shot=(3, 3))
    outer = mj.tasks.varied(inner, way=(4, 4), shot=(1, 3))
    seen = set()
    for own in jax.random.split(key, 60):
        support, query = outer(own)
        by_class = np.bincount(support.y[support.mask]).tolist()
        assert by_class == [by_class[0]] * len(by_class)
        assert np.bincount(query.y[query.mask]).tolist() == [2] * len(by_class)
        seen.add((len(by_class), by_class[0]))
    assert seen >= {(2, 1), (4, 3)}


REFUSED_VARIED = {
    "support examples, but `sample` has 12. Give the source's own way and shot": (
        lambda: mj.tasks.varied(WHOLE, way=(2, 4), shot=(1, 2))
    ),
    r"way=\(3, 2\) must be \(fewest, most\)": lambda: mj.tasks.varied(
        WHOLE, way=(3, 2), shot=(1, 3)
    ),
    "shot=0 must be an integer of at least 1": lambda: mj.tasks.varied(
        WHOLE, way=(2, 4), shot=(0, 3)
    ),
    r"way=\(1, 2\) needs integer labels \(n,\)": lambda: mj.tasks.varied(
        mj.tasks.sinusoid(), way=(1, 2), shot=(1, 5)
    ),
    "varied: sample is a int": lambda: mj.tasks.varied(wrong(3), way=(1, 1), shot=(1, 1)),
}


@pytest.mark.parametrize("message", REFUSED_VARIED)
def test_what_cannot_be_varied_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED_VARIED[message]()


def constant(value):
    """A source whose inputs all have one value."""
    return mj.tasks.episodes(np.full((2, 4), value), way=2, shot=1, query_shot=1)


def test_weights_are_the_probabilities_of_sources(key):
    # 4000 draws of probabilities 1/8, 4/8, 3/8; at most 32 is one standard deviation.
    sources = [constant(0), mj.tasks.episodes([np.full(4, 1)] * 3, **TWO), constant(2)]
    sample = mj.tasks.mixture(sources, weights=[1, 4, 3])
    drawn = jax.jit(jax.vmap(sample))(jax.random.split(key, 4000)).support.x
    assert (drawn[:, 0] == drawn[:, 1]).all()
    counts = np.bincount(drawn[:, 0])
    assert (np.abs(counts - np.array([500, 2000, 1500])) < 5 * 32).all()
    even = jax.vmap(mj.tasks.mixture(sources))(jax.random.split(key, 3000)).support.x
    assert (np.abs(np.bincount(even[:, 0]) - 1000) < 5 * 26).all()


TWO: Any = {"way": 2, "shot": 1, "query_shot": 1}


def test_a_task_of_a_mixture_is_a_task_of_its_source(key):
    # With the key that the source receives, whichever program it is drawn by.
    sources = [
        mj.tasks.sinusoid(),
        mj.tasks.functions(mj.tasks.families.lines()),
        mj.tasks.sinusoid(amplitude=(7.0, 8.0)),
    ]
    sample = mj.tasks.mixture(sources)
    seen = set()
    for own in jax.random.split(key, 12):
        choice_key, task_key = jax.random.split(own)
        choice = int(jax.random.choice(choice_key, 3, p=jnp.full(3, 1 / 3)))
        chex.assert_trees_all_close(sample(own), sources[choice](task_key), rtol=1e-5)
        seen.add(choice)
    assert seen == {0, 1, 2}


def test_equal_settings_share_one_program(key):
    def primitives(sources):
        return str(jax.make_jaxpr(mj.tasks.mixture(sources))(key))

    assert "cond[" not in primitives([constant(0), constant(1), constant(2)])
    other = mj.tasks.episodes(np.zeros((3, 4), int), **TWO)
    assert primitives([constant(0), other, constant(2)]).count("cond[") == 1


REFUSED_MIXTURE = {
    r"support/x is float32 of shape \(5, 1\) in source 1, but float32 of shape \(10, 1\) in source 0": (
        lambda: mj.tasks.mixture([mj.tasks.sinusoid(), mj.tasks.sinusoid(5)])
    ),
    "support/mask is bool of shape .* in source 1, but missing in source 0": (
        lambda: mj.tasks.mixture([WHOLE, mj.tasks.varied(WHOLE, way=(2, 4), shot=(1, 3))])
    ),
    "support/x is uint8 of shape .* but int32": lambda: mj.tasks.mixture(
        [
            mj.tasks.episodes(NUMBERS, **TWO),
            mj.tasks.episodes(NUMBERS.astype(np.uint8), **TWO),
        ]
    ),
    "mixture: give a list of at least one source": lambda: mj.tasks.mixture([]),
    "mixture: give a list of at least one": lambda: mj.tasks.mixture(wrong(mj.tasks.sinusoid())),
    "there are 1 weights for 2 sources": lambda: mj.tasks.mixture([WHOLE, WHOLE], weights=[1]),
    "weights=0 must be a number above 0": lambda: mj.tasks.mixture([WHOLE, WHOLE], weights=[1, 0]),
    "weights=nan must be": lambda: mj.tasks.mixture([WHOLE, WHOLE], weights=[1, np.nan]),
    "must be finite": lambda: mj.tasks.mixture([WHOLE, WHOLE], weights=[1, np.inf]),
    "returns the same task for every key": lambda: mj.tasks.mixture(
        [lambda key: WHOLE(jax.random.key(0))]
    ),
}


@pytest.mark.parametrize("message", REFUSED_MIXTURE)
def test_what_cannot_be_mixed_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED_MIXTURE[message]()
