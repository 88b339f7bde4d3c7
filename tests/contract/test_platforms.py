"""Outer steps lowered for platforms that are not here: a CPU's special forms stay on CPUs.

Nothing is compiled: `jax.export` writes the program for a platform without its hardware.
"""

import re
from collections import Counter
from typing import Any

import jax
import optax
import pytest
from contract.tables import LEARNERS, REGRESSION, SGD, Row, tasks_of
from contract.tables import _images as images

import metajax as mj

ELSEWHERE = ("cuda", "rocm", "tpu")
ROWS = {
    **LEARNERS,
    "maml, conv4": images(mj.maml(mj.conv4(3), mj.cross_entropy, SGD, 1)),
    "linear_gaussian_optimum": Row(mj.linear_gaussian_optimum(), mj.mse, REGRESSION, None, False),
    "gaussian_process_optimum": Row(
        mj.gaussian_process_optimum(), mj.gaussian_nll, REGRESSION, None, False
    ),
}
SUMMED = {"anil", "boil", "alfa", "linear_probe", "finetune", "maml, conv4"}
"""Learners whose program on a CPU sums outer products of a few examples, behind a barrier."""
CONVOLVING = {
    *("maml, batch statistics", "maml, support statistics", "maml, TaskNorm", "maml, conv4"),
}
"""Learners that convolve by kernels that all tasks share; a CPU multiplies patches of images this small.

Where every task has its own kernel, as in the loop of MAML++, patches are multiplied on all platforms.
"""
LOOPING = {
    "maml, conv4": "the covariance of patches, in loops over images",
    **dict.fromkeys(
        ("from_scratch", "learned, from scratch", "knn", "decision_tree"),
        "random numbers, whose rounds JAX writes as a loop on CPUs alone",
    ),
}
"""Learners whose program has more loops on a CPU than elsewhere, and what they are of."""
_CHOLESKY = {"cuda": {"cusolver_potrf_ffi"}, "rocm": {"hipsolver_potrf_ffi"}, "tpu": set()}
_SOLVE = {"cpu": {"lapack_spotrf_ffi", "lapack_strsm_ffi"}, **_CHOLESKY}
CALLS = {
    "r2d2": _SOLVE,
    "ridge": _SOLVE,
    "linear_gaussian_optimum": _SOLVE,
    "gaussian_process_optimum": {"cpu": {"lapack_strsm_ffi"}},
}
"""Calls into libraries, by learner and platform. A TPU has operations of its own for these."""
ON_HOST = {"black_box": "host_callbacks|backend cpu is different from the lowering platform"}
"""Learners that call Python, which `jax.export` refuses on every platform, and the words it has for it."""


def programs(row: Row, key: jax.Array, *platforms: str) -> dict[str, str]:
    """The text of an outer step on each platform."""
    objective = mj.query_loss(row.learner, row.loss)
    init, update = mj.outer_step(objective, optax.adam(1e-2), row.estimator)

    def arguments():
        meta_params = row.learner.init(key, row.sample(key).support.x)
        return init(meta_params), tasks_of(row, key, 2), key

    shapes, step = jax.eval_shape(arguments), jax.jit(update)
    return {
        platform: str(jax.export.export(step, platforms=(platform,))(*shapes).mlir_module())
        for platform in platforms
    }


def operations(program: str) -> Counter[str]:
    return Counter(re.findall(r"stablehlo\.(\w+)", program))


def calls(program: str) -> set[str]:
    return set(re.findall(r"stablehlo\.custom_call @(\w+)", program))


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ON_HOST])
def test_special_forms_of_a_cpu_stay_there(name, key):
    texts = programs(ROWS[name], key, "cpu", *ELSEWHERE)
    found = {platform: operations(text) for platform, text in texts.items()}
    cpu = found["cpu"]
    assert (cpu["optimization_barrier"] > 0) == (name in SUMMED)
    for platform in ELSEWHERE:
        there = found[platform]
        assert there["optimization_barrier"] == 0
        # On a CPU the gradients of kernels and images are products.
        assert (there["convolution"] > cpu["convolution"]) == (name in CONVOLVING)
        assert (there["while"] < cpu["while"]) == (name in LOOPING)
        if name not in CONVOLVING:  # a sum of outer products is one product elsewhere
            assert there["dot_general"] == cpu["dot_general"] + cpu["optimization_barrier"]
    expected: Any = CALLS.get(name, {})
    assert {platform: calls(text) for platform, text in texts.items()} == {
        platform: expected.get(platform, set()) for platform in texts
    }


@pytest.mark.parametrize("platform", ["cpu", *ELSEWHERE])
@pytest.mark.parametrize("name", ON_HOST)
def test_what_calls_python_is_refused(name, platform, key):
    with pytest.raises((NotImplementedError, ValueError), match=ON_HOST[name]):
        programs(ROWS[name], key, platform)
