"""Episodes: what is drawn, from which forms of data, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metajax as mj
from metajax.tasks.episodes import draw

RAGGED = [np.arange(100 * c, 100 * c + 3 + c) for c in range(6)]
"""The class of a value is value // 100."""


def wrong(value: Any) -> Any:
    return value


def test_queries_can_be_labelled_by_their_class_among_all(key):
    sample = mj.tasks.episodes(RAGGED, way=4, shot=1, query_shot=2, query_labels="class")
    task = sample(key)  # the class of a value is value // 100
    assert task.query.y.tolist() == (task.query.x // 100).tolist()
    assert task.support.y.tolist() == [0, 1, 2, 3]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    way=st.integers(1, 8),
    shot=st.integers(1, 5),
    query_shot=st.integers(1, 5),
)
def test_episodes_are_balanced_and_labelled_by_class(seed, way, shot, query_shot):
    values = np.arange(80).reshape(8, 10)  # the class of a value is value // 10
    sample = mj.tasks.episodes(values, way=way, shot=shot, query_shot=query_shot)
    support, query = sample(jax.random.key(seed))
    assert np.bincount(support.y, minlength=way).tolist() == [shot] * way
    assert np.bincount(query.y, minlength=way).tolist() == [query_shot] * way
    of_label = dict(
        zip(np.asarray(support.y).tolist(), (np.asarray(support.x) // 10).tolist(), strict=True)
    )
    assert len(set(of_label.values())) == way
    assert all(
        of_label[y] == x // 10 for x, y in zip(query.x.tolist(), query.y.tolist(), strict=True)
    )


def test_episodes_reach_every_example_of_classes_of_different_sizes(key):
    sample = mj.tasks.episodes(RAGGED, way=4, shot=2, query_shot=1)
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 500))
    assert set(np.ravel(tasks.support.x).tolist()) == set(np.concatenate(RAGGED).tolist())


def test_drawing_without_replacement_is_uniform(key):
    # Each ordered pair of five has probability 1/20; 20,000 draws put 1,000 in each, +- 31 (1 sd).
    pairs = np.asarray(jax.vmap(lambda k: draw(k, 5, 2))(jax.random.split(key, 20_000)))
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25).reshape(5, 5)
    assert np.all(np.diag(counts) == 0)
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert np.all(np.abs(off_diagonal - 1000) < 5 * 31)


def test_inputs_may_be_a_tree_of_arrays(key):
    # Row i of every array belongs to example i: its number, and the same number twice.
    number = np.arange(40).reshape(8, 5)
    inputs = {"number": number, "pair": (np.stack([number, number], axis=-1).astype(np.uint8),)}
    settings: Any = {"way": 3, "shot": 2, "query_shot": 1}
    task = jax.jit(mj.tasks.episodes(inputs, **settings))(key)
    plain = mj.tasks.episodes(number, **settings)(key)
    for part, same in zip(task, plain, strict=True):
        assert part.x["number"].tolist() == same.x.tolist()
        (pair,) = part.x["pair"]
        assert pair.dtype == jnp.uint8
        assert pair.tolist() == [[n, n] for n in same.x.tolist()]
        assert part.y.tolist() == same.y.tolist()
    listed = [jax.tree.map(lambda leaf, c=c: leaf[c], inputs) for c in range(8)]
    again = mj.tasks.episodes(listed, **settings)(key)
    jax.tree.map(np.testing.assert_array_equal, task, again)


@pytest.mark.parametrize(
    "labels",
    [[3, 1, 2] * 4, np.array([3, 1, 2] * 4), list("cab" * 4), np.array(list("cab" * 4))],
    ids=["integers", "array", "strings", "array of strings"],
)
def test_examples_in_any_order_are_grouped_by_their_labels(labels, key):
    # Sorted, the labels of 0, 1, 2, 0, ... are classes 2, 0, 1, 2, ...
    values = {"value": np.arange(12)}
    sample = mj.tasks.episodes(
        values, labels=labels, way=3, shot=1, query_shot=2, query_labels="class"
    )
    tasks = jax.vmap(sample)(jax.random.split(key, 50))
    found = np.ravel(tasks.query.x["value"])
    assert set(found.tolist()) == set(range(12))
    assert np.ravel(tasks.query.y).tolist() == ((found + 2) % 3).tolist()


def test_labels_may_be_any_hashables(key):
    labels = [("a", 1), None] * 3
    sample = mj.tasks.episodes(np.arange(6), labels=labels, way=2, shot=1, query_shot=1)
    task = sample(key)
    assert (task.support.x % 2).tolist() == (task.query.x % 2).tolist()


def test_every_task_stays_inside_one_group_and_groups_are_equally_likely(key):
    # Groups of 2, 3 and 5 classes in mixed order; the class of a value is value // 10.
    groups = ["b", "a", "c", "b", "c", "a", "c", "c", "a", "c"]
    values = np.arange(100).reshape(10, 10)
    sample = mj.tasks.episodes(values, way=2, shot=1, query_shot=1, groups=groups)
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 3000))
    classes = np.asarray(tasks.support.x) // 10
    assert (classes[:, 0] != classes[:, 1]).all()
    drawn = np.array(groups)[classes]
    assert (drawn[:, 0] == drawn[:, 1]).all()
    for group in "abc":  # 3000 draws of probability 1/3: 1000 +- 26 (1 sd)
        assert abs(np.sum(drawn[:, 0] == group) - 1000) < 5 * 26
    # Inside "b" both orders of classes 0 and 3 are equally likely: 500 +- 21.
    assert abs(np.sum(classes[drawn[:, 0] == "b"][:, 0] == 0) - 500) < 5 * 21


def test_a_transform_sees_the_inputs_of_one_class_and_may_hold_arrays(key):
    shift = jax.tree_util.Partial(lambda shift, key, x: {"v": x["v"] + shift}, jnp.array(1000))
    values = {"v": np.arange(12).reshape(4, 3)}
    settings: Any = {"way": 2, "shot": 1, "query_shot": 2}
    plain = mj.tasks.episodes(values, **settings)(key)
    moved = mj.tasks.episodes(values, transform=shift, **settings)
    assert (moved(key).query.x["v"] - plain.query.x["v"]).tolist() == [1000] * 4
    assert 1000 in [int(leaf) for leaf in jax.tree.leaves(moved) if leaf.ndim == 0]


ONE: Any = {"way": 2, "shot": 1, "query_shot": 1}
REFUSED = {
    "way=9 needs 9 classes, but there are 8. Use way=8 or less": lambda: mj.tasks.episodes(
        np.zeros((8, 10)), way=9, shot=1, query_shot=1
    ),
    "shot=5 and query_shot=6 need 11 examples per class, but there are 10. Use query_shot=5 or less": (
        lambda: mj.tasks.episodes(np.zeros((8, 10)), way=2, shot=5, query_shot=6)
    ),
    "there are 2. Use query_shot=1 or less, or give labels= if the first axis counts examples": (
        lambda: mj.tasks.episodes(np.zeros((60, 2)), way=5, shot=1, query_shot=15)
    ),
    "episodes: way=0 must be an integer of at least 1": lambda: mj.tasks.episodes(
        np.zeros((8, 10)), way=0, shot=1, query_shot=1
    ),
    r"episodes: the array has shape \(60,\), but \(classes, per_class, ...\) is needed. For "
    "examples in any order give labels=": lambda: mj.tasks.episodes(np.zeros(60), **ONE),
    r"episodes: the array has shape \(600, 28, 28, 1\), which looks like images that are not "
    "grouped by class. .* give labels=, one label per example. .* pass list": (
        lambda: mj.tasks.episodes(np.zeros((600, 28, 28, 1), np.uint8), **ONE)
    ),
    r"images: the array has shape \(600, 28, 28\), which looks like images": (
        lambda: mj.tasks.episodes(np.zeros((600, 28, 28), np.uint8), name="images", **ONE)
    ),
    r"there are 5 labels, but x has shape \(6, 2\)": lambda: mj.tasks.episodes(
        {"x": np.zeros((6, 2))}, labels=[0, 1, 0, 1, 0], **ONE
    ),
    r"labels has shape \(4,\) and dtype float64": lambda: mj.tasks.episodes(
        np.zeros(4), labels=np.zeros(4), **ONE
    ),
    r"labels has shape \(2, 2\)": lambda: mj.tasks.episodes(
        np.zeros(4), labels=np.zeros((2, 2), int), **ONE
    ),
    r"the arrays must share their first two axes, .* a \(4, 3\), b \(4, 2\)": (
        lambda: mj.tasks.episodes({"a": np.zeros((4, 3)), "b": np.zeros((4, 2))}, **ONE)
    ),
    r"class 1 is float64 of shape \(3, 3\), but class 0 has float64 of shape \(3, 2\)": (
        lambda: mj.tasks.episodes([np.zeros((3, 2)), np.zeros((3, 3))], **ONE)
    ),
    "class 1 is int64 of shape": lambda: mj.tasks.episodes([np.zeros(3), np.zeros(3, int)], **ONE),
    "class 1 has another structure of arrays than class 0": lambda: mj.tasks.episodes(
        [np.zeros(3), {"x": np.zeros(3)}], **ONE
    ),
    r"the arrays of class 0 have \[3, 4\] examples": lambda: mj.tasks.episodes(
        [(np.zeros(3), np.zeros(4))] * 2, **ONE
    ),
    "the list of classes is empty": lambda: mj.tasks.episodes([], **ONE),
    "there is no array": lambda: mj.tasks.episodes({}, **ONE),
    "text has dtype <U1; inputs must be numbers, such as token ids": lambda: mj.tasks.episodes(
        {"text": np.array([["a", "b"]] * 3)}, **ONE
    ),
    "way=2 needs 2 classes per group, but group 'b' has 1": lambda: mj.tasks.episodes(
        np.zeros((3, 4)), groups=["a", "a", "b"], **ONE
    ),
    "there are 2 groups for 3 classes": lambda: mj.tasks.episodes(
        np.zeros((3, 4)), groups=["a", "a"], **ONE
    ),
    "query_labels='classes' is unknown; did you mean 'class'": lambda: mj.tasks.episodes(
        np.zeros((3, 4)), query_labels=wrong("classes"), **ONE
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_square_inputs_that_are_grouped_pass_as_a_list(key):
    grouped = np.zeros((3, 8, 8), np.uint8)  # 3 classes of 8 examples of 8 numbers
    task = mj.tasks.episodes(list(grouped), way=3, shot=1, query_shot=1)(key)
    assert task.support.x.shape == (3, 8)
