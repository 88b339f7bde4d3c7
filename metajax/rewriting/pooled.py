"""Batch normalisation whose result is pooled: maxima are taken first, so that fewer numbers are normalised.

Normalisation by channel, a scale, a shift and ReLU keep the order of numbers, or turn it around where the
scale is negative. So the greatest of what they make is what they make of the greatest, or of the least.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import ops
from metajax.ops.greatest import maximum
from metajax.rewriting.operations import RULES
from metajax.rewriting.program import Program, Step, Value, needed
from metajax.rewriting.relu import RELU

BY_CHANNEL = "by_channel"
"""The parameter of a step that normalises each channel, the last axis, over all other axes."""


class ByChannel(NamedTuple):
    """`factor * (x - mean) / sqrt(variance + epsilon)`, times the scales that the step reads beside x."""

    epsilon: float
    factor: float


class _Link(NamedTuple):
    """A step that keeps the order of numbers in a window.

    before: What it reads.
    beside: The other value that it reads, if there is one.
    function: Of numbers, and of the other value, at any number of positions.
    """

    before: Value
    beside: list[Value]
    function: Callable[..., jax.Array]


def pooled(program: Program) -> None:
    """Moves max pooling before the normalisation by channel that it follows."""
    readers = Counter(id(value) for step in needed(program) for value in step.inputs)
    readers.update(id(value) for value in program.outputs)
    for step in program.steps:
        found = RULES["reduce_window_max"](step) if step.name == "reduce_window_max" else None
        if found is None or not _in_images(step):
            continue
        chain, value = [], step.inputs[0]
        while readers[id(value)] == 1 and (link := _link(value.by, step)) is not None:
            chain.insert(0, link)
            value = link.before
        normal = value.by
        if readers[id(value)] != 1 or normal is None or BY_CHANNEL not in normal.params:
            continue
        x, *scales = normal.inputs
        layer = _layer(x.by) if readers[id(x)] == 1 else None
        inputs = [x] if layer is None or x.by is None else x.by.inputs
        beside = [other for link in chain for other in link.beside]
        functions = [link.function for link in chain], [len(link.beside) for link in chain]
        kind = normal.params[BY_CHANNEL]
        function = partial(_pooled_first, kind, layer, found[1], len(scales), *functions)
        program.replace(
            step.outputs[0], "pooled normalisation", [*inputs, *scales, *beside], function
        )


def _in_images(pooling: Step) -> bool:
    """Whether windows reach over neither images nor channels, the first and the last axis."""
    window = pooling.params["window_dimensions"]
    return window[0] == window[-1] == 1


def _layer(step: Step | None) -> Callable[[jax.Array], ops.Convolution] | None:
    """What makes a layer of the kernel of a convolution, if it is one of images `(n, h, w, c)`."""
    if step is None or step.name != "conv_general_dilated":
        return None
    params = step.params
    plain = params["dimension_numbers"] == _PLAIN and params["precision"] is None
    plain &= params["feature_group_count"] == params["batch_group_count"] == 1
    plain &= {*params["lhs_dilation"], *params["rhs_dilation"]} == {1}
    plain &= len({value.dtype for value in (*step.inputs, *step.outputs)}) == 1
    if not plain:
        return None
    return lambda kernel: ops.Convolution(kernel, params["window_strides"], params["padding"])


_PLAIN = jax.lax.conv_dimension_numbers((1,) * 4, (1,) * 4, ("NHWC", "HWIO", "NHWC"))


def _link(step: Step | None, pooling: Step) -> _Link | None:
    """A step as one that keeps the order in each window of a pooling, if it is that."""
    if step is None or len(step.outputs) != 1:
        return None
    if step.name == RELU:
        return _Link(step.inputs[0], [], jax.nn.relu)
    if step.name not in _KEEPS:
        return None
    function = _KEEPS[step.name]
    for x, other in (step.inputs, step.inputs[::-1]):
        if x.shape != step.outputs[0].shape or (step.name == "sub" and x is not step.inputs[0]):
            continue
        number = other.number
        if number is not None and (step.name != "mul" or number > 0):
            return _Link(x, [], partial(_with_number, function, number))
        if step.name in ("add", "sub") and _repeats(other, pooling):
            return _Link(x, [_narrow(other)], function)
    return None


_KEEPS: dict[str, Callable] = {
    "add": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "max": maximum,
}
"""What keeps the order of one of two arrays, if the other is alike in a window and, in `mul`, positive."""


def _with_number(function: Callable, number: float, x: jax.Array) -> jax.Array:
    return function(x, jnp.full(x.shape, number, x.dtype))


def _narrow(value: Value) -> Value:
    """What a value repeats along axes that it has already."""
    by = value.by
    if by is not None and by.name == "broadcast_in_dim":
        inner, axes = by.inputs[0], by.params["broadcast_dimensions"]
        if tuple(axes) == tuple(range(len(value.shape))):
            return inner
    return value


def _repeats(value: Value, pooling: Step) -> bool:
    """Whether a value is the same at all positions of a window."""
    narrow, window = _narrow(value), pooling.params["window_dimensions"]
    return len(narrow.shape) == len(window) and all(
        size == 1 for size, along in zip(narrow.shape, window, strict=True) if along > 1
    )


def _pooled_first(
    kind: ByChannel,
    layer: Callable[[jax.Array], ops.Convolution] | None,
    pool: Callable[[jax.Array], list[jax.Array]],
    num_scales: int,
    chain: list[Callable[..., jax.Array]],
    reads: list[int],
    x: jax.Array,
    *arrays: jax.Array,
) -> list[jax.Array]:
    """What a chain makes of normalised maxima: of x, or of what a layer makes of x and the next array.

    Channels whose scale is negative are pooled with the other sign.
    """
    kernel, arrays = (None, arrays) if layer is None else (arrays[0], arrays[1:])
    scale = jnp.full((1,) * x.ndim, kind.factor, x.dtype)
    for array in arrays[:num_scales]:
        scale = scale * array.reshape((1,) * (x.ndim - 1) + (-1,))
    sign = jnp.where(scale < 0, -1, 1).astype(x.dtype)
    if layer is None or kernel is None:
        signed = x if num_scales == 0 and kind.factor > 0 else sign * x
        (greatest,), moments = pool(signed), ops.moments(signed)
    else:
        greatest, moments = ops.pool_and_moments(x, layer(kernel * sign), lambda y: pool(y)[0])
    y = scale * sign * ops.normalise(greatest, kind.epsilon, by=moments)
    others = iter(arrays[num_scales:])
    for function, number in zip(chain, reads, strict=True):
        y = function(y, *(next(others) for _ in range(number)))
    return [y]
