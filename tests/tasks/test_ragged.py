"""Groups of unequal size as tasks with masks."""

from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.masks import exists

COUNTS = [2, 3, 7]
EXAMPLES = mj.Examples(np.arange(12), 10.0 * np.arange(12)[:, None])
GROUP = np.repeat(np.arange(3), COUNTS)


def drawn(sample, key, number=300):
    """Tasks as pairs of lists, the inputs of support and queries that exist."""
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, number))
    support, query = jax.tree.map(np.asarray, tuple(tasks))
    for part in (support, query):
        # Examples that exist come first, and each has its own target.
        assert (np.diff(part.mask.astype(int), axis=1) <= 0).all()
        np.testing.assert_array_equal(part.y[..., 0], 10 * part.x)
    return [
        tuple(part.x[i][part.mask[i]].tolist() for part in (support, query)) for i in range(number)
    ]


def test_sizes_follow_the_group(key):
    # Supports of 1 to 4 and 3 queries: of 2 examples 1 + 1, of 3 (1 + 2, 2 + 1), of 7 any support, and
    # the queries that are left, 3 at most.
    sample = mj.tasks.ragged(EXAMPLES, COUNTS, support=(1, 4), query=3)
    sizes = {0: set(), 1: set(), 2: set()}
    for support, query in drawn(sample, key):
        (group,) = {int(GROUP[x]) for x in support + query}
        assert len({*support, *query}) == len(support) + len(query)
        sizes[group].add((len(support), len(query)))
    assert sizes == {0: {(1, 1)}, 1: {(1, 2), (2, 1)}, 2: {(1, 3), (2, 3), (3, 3), (4, 3)}}


def test_every_group_and_order_is_as_likely(key):
    # 12,000 draws of one of two groups, in one of 6 orders of three: 1,000 each, deviation 30.
    examples = mj.Examples(np.arange(6), np.zeros((6, 1)))
    sample = mj.tasks.ragged(examples, [3, 3], support=(2, 2), query=1)
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 12_000))
    orders = np.concatenate([tasks.support.x, tasks.query.x], axis=1)
    expected = [
        [3 * group + i for i in order] for group in (0, 1) for order in permutations(range(3))
    ]
    counts = [int((orders == np.array(order)).all(axis=1).sum()) for order in expected]
    assert sum(counts) == 12_000
    assert np.abs(np.array(counts) - 1_000).max() < 5 * 30


def test_a_group_larger_than_the_task_gives_a_part_of_it(key):
    examples = mj.Examples(np.arange(50), np.zeros((50, 1)))
    sample = mj.tasks.ragged(examples, [50], support=(2, 2), query=3)
    tasks = jax.vmap(sample)(jax.random.split(key, 400))
    found = np.concatenate([tasks.support.x, tasks.query.x], axis=1)
    assert all(len(set(row)) == 5 for row in found.tolist())
    # Each is in a task with probability 5 / 50: 40 of 400, deviation 6.
    assert np.abs(np.bincount(found.ravel(), minlength=50) - 40).max() < 5 * 6


def centred(key, support, query):
    """The mean of all other targets of the task as the input, or nothing for one in two supports."""
    total, number = (
        sum(jnp.sum(jnp.where(part.mask[:, None], value(part), 0)) for part in (support, query))
        for value in (lambda part: part.y, lambda part: jnp.ones_like(part.y))
    )
    drop = jax.random.bernoulli(key)

    def of(part):
        return part._replace(x=(total - part.y) / (number - 1))

    return of(support)._replace(x=jnp.where(drop, 0.0, of(support).x)), of(query)


def test_a_transform_sees_the_whole_task(key):
    sample = mj.tasks.ragged(EXAMPLES, COUNTS, support=(1, 4), query=6, transform=centred)
    dropped = 0
    for own in jax.random.split(key, 40):
        support, query = sample(own)
        y = np.concatenate([part.y[part.mask] for part in (support, query)])
        x = np.concatenate([part.x[part.mask] for part in (support, query)])
        number = int(exists(support).sum())
        np.testing.assert_allclose(x[number:], ((y.sum() - y) / (len(y) - 1))[number:], rtol=1e-5)
        dropped += bool((x[:number] == 0).all())
    assert 8 < dropped < 32


def wrong(value: Any) -> Any:
    return value


REFUSED = {
    r"support=\(3, 2\) must be \(fewest, most\)": {"support": (3, 2)},
    "support=0 must be an integer of at least 1": {"support": (0, 2)},
    "query=0 must be an integer of at least 1": {"query": 0},
    r"counts add up to 9, but the arrays have \[12\] examples": {"counts": [2, 7]},
    "group 0 has 2 examples, but a support set of 2 and one query need 3": {"support": (2, 4)},
    r"counts has shape \(2, 1\)": {"counts": [[6], [6]]},
    "dtype float64": {"counts": [6.0, 6.0]},
    r"must be mj.Examples\(x, y\) without a mask": {
        "examples": EXAMPLES._replace(mask=np.ones(12, bool))
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_group_is_refused(message):
    given = {"examples": EXAMPLES, "counts": COUNTS, **REFUSED[message]}
    with pytest.raises(ValueError, match=f"ragged: .*{message}"):
        mj.tasks.ragged(given.pop("examples"), given.pop("counts"), **wrong(given))
