"""No derivative depends on whether two computed numbers are equal.

JAX derives `maximum(x, y)` by asking which of the two equals the result. A compiler may compute `x`
twice, once for the result and once for the question, and round it in two ways: then neither does, and
the derivative is 0. That happened to a ResNet-12 with max pooling, compiled, in second derivatives alone.
"""

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract.tables import LEARNERS, Row, tasks_of
from jax.interpreters import partial_eval

import metajax as mj

IMAGES = np.random.default_rng(1).uniform(size=(3, 4, 16, 16, 1)).astype(np.float32)


def _pooled(net) -> Row:
    learner = mj.maml(net, mj.cross_entropy, optax.sgd(0.1), 1)
    return Row(
        learner, mj.cross_entropy, mj.tasks.episodes(IMAGES, way=2, shot=1, query_shot=1), None
    )


ROWS = {name: row for name, row in LEARNERS.items() if row.estimator is jax.value_and_grad} | {
    f"maml, max pooling, {name}": _pooled(
        mj.conv4(2, filters=2, downsample="pool", normalisation=name)
    )
    for name in ("batch", "layer", "instance")
}
ROWS["maml, resnet12"] = _pooled(mj.resnet12(2, widths=(2, 2, 2, 2)))


def compared(function, *arguments) -> list[jex.JaxprEqn]:
    """The equations that ask whether two computed floating numbers are equal, where anything needs them."""
    program = jax.make_jaxpr(function)(*arguments).jaxpr
    program, _ = partial_eval.dce_jaxpr(program, [True] * len(program.outvars))

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            yield equation
            for inner in jex.jaxprs_in_params(equation.params):
                yield from equations(inner)

    return [
        equation
        for equation in equations(program)
        if equation.primitive.name == "eq"
        and jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)
        and not any(isinstance(v, jex.Literal) for v in equation.invars)
    ]


@pytest.mark.parametrize("name", ROWS)
def test_a_hypergradient_compares_no_two_computed_numbers(name, key):
    row: Row = ROWS[name]
    tasks = tasks_of(row, key, 2)
    first = jax.tree.map(lambda leaf: leaf[0], tasks.support.x)
    meta_params = jax.eval_shape(row.learner.init, key, first)
    objective = mj.query_loss(row.learner, row.loss)
    assert not compared(jax.grad(objective), meta_params, tasks, key)


def test_nor_does_a_second_derivative_of_max_pooling(key):
    x = jax.random.normal(key, (2, 4, 4, 3))

    def second(pool):
        loss = jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))
        return lambda x: jax.jvp(loss, (x,), (x,))

    assert not compared(second(lambda x: mj.ops.max_pool(x, (2, 2), (2, 2))), x)
    # The check sees the fault where it is: a maximum of slices, as JAX derives it.
    assert compared(second(lambda x: jnp.maximum(x[:, ::2], x[:, 1::2])), x)
