"""ReLU: the one function with a derivative rule of its own that patterns know, by what is traced of it."""

import jax
from jax.extend import core as jex

from metajax.rewriting.program import Program, Step, flattened

RELU = "relu"
"""The name of a step that is `jax.nn.relu`, of arrays of any shape."""


def relus(program: Program) -> None:
    """Names the steps that are ReLU."""
    for step in program.steps:
        if step.name == "custom_jvp_call" and _is_relu(step):
            step.name, step.function = RELU, lambda x: [jax.nn.relu(x)]


def _is_relu(step: Step) -> bool:
    """Whether a step is `max(x, 0)`, and its derivative along v is v where x is greater than 0."""
    (x, *rest), (out, *others), function = step.inputs, step.outputs, step.function
    computed = step.params.get("call_jaxpr")
    if rest or others or x.shape != out.shape or not isinstance(computed, jex.ClosedJaxpr):
        return False
    if function is None or not _is_greatest(flattened(computed)):
        return False
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)

    def derivative(x, v):
        return jax.jvp(lambda x: function(x)[0], (x,), (v,))[1]

    return _is_step(flattened(jax.make_jaxpr(derivative)(like, like)))


def _is_greatest(program: Program) -> bool:
    (x,), (out,) = program.inputs, program.outputs
    by = out.by
    return by is not None and by.name == "max" and by.inputs[0] is x and by.inputs[1].number == 0


def _is_step(program: Program) -> bool:
    (x, v), (out,) = program.inputs, program.outputs
    if out.by is None or out.by.name != "select_n":
        return False
    above, otherwise, along = out.by.inputs
    if above.by is None or above.by.name != "gt" or otherwise.number != 0 or along is not v:
        return False
    return above.by.inputs[0] is x and above.by.inputs[1].number == 0
