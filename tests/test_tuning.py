"""`tune` refuses what cannot be tried, and returns what it measured."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax import tuning

MEAN = mj.TaskMean(lambda w, task, key: jnp.sum((w - task) ** 2))
TASKS: Any = jnp.arange(6.0)[:, None]


def tune(objective: Any = MEAN, tasks=TASKS, **options):
    return mj.tune(objective, jnp.zeros(1), tasks, jax.random.key(0), **options)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"objective": {}}, r"tune: objective=\{\} must be a function of \(meta_params, tasks, key\)"),
        ({"objective": {"a": 3}}, "or a dict of them by name"),
        ({"seconds": 0}, "seconds=0 must be a number above 0"),
        ({"memory_mb": -1.0}, "memory_mb=-1.0 must be a number above 0"),
        ({"tasks": TASKS[:0]}, "meta_batch=0 must be an integer of at least 1"),
        ({"memory_mb": 1e-9}, "memory_mb=1e-09 must be at least .* the smallest of the candidates"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tune(**changes)


def test_the_estimator_is_the_fastest_candidates_and_is_right(key):
    found = tune(seconds=0.2)
    best, *others = found.candidates
    assert found.objective is MEAN and found.name == best.name == ""
    measured = [other.milliseconds for other in others if not np.isnan(other.milliseconds)]
    assert best.milliseconds <= min(measured, default=np.inf)
    value, gradient, _ = jax.jit(found.estimator(MEAN).estimate)(jnp.zeros(1), (), TASKS, key)
    assert (float(value), float(gradient[0])) == pytest.approx((55 / 6, -5.0))
    assert str(found).splitlines()[0].split() == [
        *("devices", "tasks", "a", "pass", "ms", "MB", "s", "to", "compile")
    ]
    assert len(str(found).splitlines()) == 1 + len(found.candidates)


def test_a_slow_objective_loses_to_a_fast_one():
    def slow(w, task, key):
        return jnp.sum(jax.lax.scan(lambda x, _: (jnp.sin(x) + w, None), w, None, 100_000)[0])

    found = tune({"slow": mj.TaskMean(slow), "fast": MEAN}, TASKS[:1], seconds=0.1)
    assert (found.name, found.objective) == ("fast", MEAN)
    assert [candidate.name for candidate in found.candidates] == ["fast", "slow"]
    assert "slow" in str(found)


def test_candidates_are_all_ways_to_share_tasks_out():
    # Six tasks on three of four devices leave two each, and on one device 1, 2, 3 or 6 at once.
    ways = [candidate[1:3] for candidate in tuning.candidates_of([""], 6, 4)]
    assert ways == [(3, 1), (3, 2), (1, 1), (1, 6), (1, 2), (1, 3)]


def test_those_who_fall_behind_have_no_further_turn():
    def costs(rounds):
        def run(n):
            calls.append(rounds)
            return sum(range(rounds * n))

        return run

    calls = []
    times = tuning._take_turns([costs(10), costs(3_000_000)], 0.0)
    assert [len(turns) for turns in times] == [1, 1]
