"""Single operations that are replaced: convolutions, dense layers, pooling, maxima."""

import math
from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from metajax.ops import conv_general_dilated, dot_general, max_pool
from metajax.ops.greatest import maximum, reduce_max
from metajax.ops.pooling import sum_pool
from metajax.rewriting.program import Program, Step, Value, needed


def operations(program: Program) -> None:
    """Replaces every operation that `RULES` knows a faster or safer form of."""
    derived = {id(value) for value in program.inputs if _floats(value)}
    for step in needed(program):
        # What no derivative passes through, such as random numbers, is as fast as it is.
        if step.name == "stop_gradient" or not any(id(value) in derived for value in step.inputs):
            continue
        derived |= {id(value) for value in step.outputs if _floats(value)}
        if step.name in RULES:
            found = RULES[step.name](step)
            if found is not None:
                what, function = found
                program.replace(step.outputs[0], what, step.inputs, function)


def _floats(value: Value) -> bool:
    return value.dtype is not None and jnp.issubdtype(value.dtype, jnp.floating)


Found = tuple[str, Callable] | None


def _convolution(step: Step) -> Found:
    """With channels last, as `layouts` left them."""
    lhs, rhs = step.inputs
    params, spatial = step.params, len(lhs.shape) - 2
    groups = params["feature_group_count"]
    if params["batch_group_count"] != 1 or spatial not in (1, 2):
        return None
    if lhs.dtype != rhs.dtype or not jnp.issubdtype(lhs.dtype, jnp.floating):
        return None
    if params["preferred_element_type"] not in (None, lhs.dtype):
        return None

    def function(lhs, rhs):
        lhs = _dilated(lhs, (0, *params["lhs_dilation"], 0))
        rhs = _dilated(rhs, (*params["rhs_dilation"], 0, 0))
        strides, padding = params["window_strides"], params["padding"]
        if spatial == 1:
            lhs, rhs = lhs[:, None], rhs[None]
            strides, padding = (1, *strides), ((0, 0), *padding)
        result = _grouped(lhs, rhs, groups, strides, padding, params["precision"])
        return [result[:, 0] if spatial == 1 else result]

    return "convolution" if groups == 1 else "grouped convolution", function


def _grouped(lhs, rhs, groups: int, strides, padding, precision):
    """A convolution of images `(n, h, w, c)` by `(kh, kw, c / groups, features)`."""

    def convolve(lhs, rhs):
        layout = ("NHWC", "HWIO", "NHWC")
        return conv_general_dilated(
            lhs, rhs, strides, padding, dimension_numbers=layout, precision=precision
        )

    if groups == 1:
        return convolve(lhs, rhs)
    if rhs.shape[2] == 1:
        return _depthwise(lhs, rhs, strides, padding)
    lhs = lhs.reshape(*lhs.shape[:3], groups, -1)
    rhs = rhs.reshape(*rhs.shape[:3], groups, -1)
    result = jax.vmap(convolve, (3, 3), 3)(lhs, rhs)
    return result.reshape(*result.shape[:3], -1)


def _depthwise(lhs, rhs, strides, padding):
    """The same where each channel is a group: a sum over the kernel's places, without a product."""
    (kh, kw, _, features), channels = rhs.shape, lhs.shape[3]
    lhs = lax.pad(
        lhs, jnp.zeros((), lhs.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)]
    )
    oh, ow = ((n - k) // s + 1 for n, k, s in zip(lhs.shape[1:3], (kh, kw), strides, strict=True))
    (sh, sw), terms = strides, []
    for i in range(kh):
        for j in range(kw):
            seen = lhs[:, i : i + (oh - 1) * sh + 1 : sh, j : j + (ow - 1) * sw + 1 : sw]
            if features > channels:  # the features of a channel are neighbours
                seen = jnp.repeat(seen, features // channels, axis=3)
            terms.append(seen * rhs[i, j, 0][None, None, None])
    return reduce(jnp.add, terms)


def _dilated(x, dilation):
    """`x` with zeros between its entries."""
    if all(d <= 1 for d in dilation):
        return x
    holes = [(0, 0, max(0, d - 1)) for d in dilation]
    return lax.pad(x, jnp.zeros((), x.dtype), holes)


def _product(step: Step) -> Found:
    """A dense layer: inputs contracted over their last axis, with weights on either side."""
    lhs, rhs = step.inputs
    params = step.params
    (of_lhs, of_rhs), batch = params["dimension_numbers"]
    one_type = lhs.dtype == rhs.dtype and params["preferred_element_type"] in (None, lhs.dtype)
    if batch != ((), ()) or len(of_lhs) != 1 or params.get("out_sharding") is not None:
        return None
    if not one_type or not jnp.issubdtype(lhs.dtype, jnp.floating):
        return None

    def dense(x, weights, axis):
        numbers = (((x.ndim - 1,), (0,)), ((), ()))
        weights = weights if axis == 0 else weights.T
        return dot_general(x, weights, numbers, precision=params["precision"])

    if len(rhs.shape) == 2 and of_lhs[0] == len(lhs.shape) - 1:
        return "dense product", lambda lhs, rhs: [dense(lhs, rhs, of_rhs[0])]
    if len(lhs.shape) == 2 and of_rhs[0] == len(rhs.shape) - 1:
        return "dense product", lambda lhs, rhs: [jnp.moveaxis(dense(rhs, lhs, of_lhs[0]), -1, 0)]
    return None


def _pooling(pool: Callable, what: str):
    def rule(step: Step) -> Found:
        (x,), params = step.inputs, step.params
        size, strides = params["window_dimensions"], params["window_strides"]
        plain = size == strides and all(
            low == high == 0 and base == window == 1
            for (low, high), base, window in zip(
                params["padding"], params["base_dilation"], params["window_dilation"], strict=True
            )
        )
        pooled = [axis for axis, window in enumerate(size) if window > 1]
        if not plain or len(pooled) != 2 or math.prod(size) > 256:
            return None
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return None
        rest = [axis for axis in range(len(size)) if axis not in pooled]
        # The pooled axes before the last, where they mostly are.
        order = [*rest[:-1], *pooled, *rest[-1:]] if rest else None
        if order is None:
            return None
        back = [order.index(axis) for axis in range(len(order))]
        window = tuple(size[axis] for axis in pooled)

        def function(x):
            return [pool(x.transpose(order), window).transpose(back)]

        return what, function

    return rule


def _pool_greatest(x, window):
    return max_pool(x, window, window)


def _extreme(of_greatest: Callable, what: str, *, least: bool = False):
    """A rule for the greatest or, as the greatest of what has the other sign, the least of numbers."""

    def rule(step: Step) -> Found:
        if not jnp.issubdtype(step.inputs[0].dtype, jnp.floating):
            return None
        options = [tuple(step.params["axes"])] if "axes" in step.params else []

        def function(*arrays):
            if not least:
                return [of_greatest(*arrays, *options)]
            return [-of_greatest(*(-x for x in arrays), *options)]

        return what, function

    return rule


RULES: dict[str, Callable[[Step], Found]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "reduce_window_max": _pooling(_pool_greatest, "max pooling"),
    "reduce_window_sum": _pooling(sum_pool, "average pooling"),
    "max": _extreme(maximum, "maximum"),
    "min": _extreme(maximum, "minimum", least=True),
    "reduce_max": _extreme(reduce_max, "maximum"),
    "reduce_min": _extreme(reduce_max, "minimum", least=True),
}
"""A primitive's name, to what replaces a step of it, or to None where it stays."""
