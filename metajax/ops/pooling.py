"""Pooling whose derivatives stay fast."""

import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import core
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def max_pool(
    inputs: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
) -> jax.Array:
    """`flax.linen.max_pool`, whose derivatives are fast where windows touch and do not overlap.

    Other windows, strides and paddings go to flax, and windows of more than 256 positions.

    Args:
      inputs: Images `(..., h, w, c)`.
      window_shape: Size along the two axes before the last.
      strides: By default 1 and 1, as in flax.
      padding: "VALID", or as in flax.
    """
    plain = inputs.ndim >= 3 and len(window_shape) == 2 and padding == "VALID"
    plain = plain and math.prod(window_shape) <= 256  # a place is a byte
    if not plain or strides is None or tuple(strides) != tuple(window_shape):
        return nn.max_pool(inputs, tuple(window_shape), strides, padding)
    kh, kw = window_shape
    return _greatest(_whole_windows(inputs, window_shape), (kh, kw))


def avg_pool(
    inputs: jax.Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
) -> jax.Array:
    """`flax.linen.avg_pool`, as a sum of slices where windows touch and do not overlap.

    Other windows, strides and paddings go to flax.

    Args:
      inputs: Images `(..., h, w, c)`.
      window_shape: Size along the two axes before the last.
      strides: By default 1 and 1, as in flax.
      padding: "VALID", or as in flax.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
      >>> mj.ops.avg_pool(x, (2, 2), (2, 2)).tolist()
      [[[[1.5]]]]
    """
    plain = inputs.ndim >= 3 and len(window_shape) == 2 and padding == "VALID"
    if not plain or strides is None or tuple(strides) != tuple(window_shape):
        return nn.avg_pool(inputs, tuple(window_shape), strides, padding)
    return sum_pool(inputs, window_shape) / math.prod(window_shape)


def sum_pool(inputs: jax.Array, window_shape: Sequence[int]) -> jax.Array:
    """The sum of each window of images `(..., h, w, c)`, where windows touch and do not overlap."""
    kh, kw = window_shape
    return reduce(jnp.add, _parts(_whole_windows(inputs, window_shape), (kh, kw)))


def _whole_windows(inputs: jax.Array, window_shape: Sequence[int]) -> jax.Array:
    (kh, kw), (h, w) = window_shape, inputs.shape[-3:-1]
    return inputs[..., : h // kh * kh, : w // kw * kw, :]


def _parts(x: jax.Array, window: tuple[int, int]) -> list[jax.Array]:
    """The first number of every window of images `(..., h, w, c)`, the second ones, and so on."""
    (kh, kw), (*batch, h, w, c) = window, x.shape
    windows = x.reshape(*batch, h // kh, kh, w // kw, kw, c)
    return [windows[..., i, :, j, :] for i in range(kh) for j in range(kw)]


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _greatest(x, window):
    return reduce(jnp.maximum, _parts(x, window))


@_greatest.defjvp
def _greatest_jvp(window, primals, tangents):
    """Keeps the position of the first maximum only, a byte each; ties go where flax sends them.

    The value is asked of `_greatest` again, so that this rule is its derivative in every order. JAX's
    derivative of `maximum` is right only while `x == maximum(x, y)` holds for one of the two, and a
    compiler that computes `x` twice, rounded in two ways, breaks that.
    """
    first, *others = _parts(primals[0], window)
    greatest, place = first, jnp.zeros(first.shape, jnp.uint8)
    for i, part in enumerate(others, start=1):
        place = jnp.where(part > greatest, jnp.uint8(i), place)
        greatest = jnp.maximum(greatest, part)
    return _greatest(primals[0], window), _pick_p.bind(place, tangents[0], window=window)


# Of each window, the number at a place, and back: linear, and transposes of each other. JAX's own
# transpose of the first is a sum of padded images, which XLA for CPUs computes number by number.


def _pick(place, x, *, window):
    picked = [jnp.where(place == i, part, 0) for i, part in enumerate(_parts(x, window))]
    return reduce(jnp.add, picked)


def _spread(place, x, *, window):
    (kh, kw), (*batch, h, w, c) = window, x.shape
    here = jnp.arange(kh * kw, dtype=jnp.uint8).reshape(*[1] * len(batch), 1, kh, 1, kw, 1)
    place, x = (v[..., :, None, :, None, :] for v in (place, x))
    return jnp.where(place == here, x, 0).reshape(*batch, h * kh, w * kw, c)


def _linear_in_second(name: str, function):
    primitive = Primitive(name)

    def jvp(primals, tangents, **options):
        place, x = primals
        return primitive.bind(place, x, **options), primitive.bind(place, tangents[1], **options)

    def batch(operands, axes, **options):
        size = next(x.shape[i] for x, i in zip(operands, axes, strict=True) if i is not None)
        moved = (
            jnp.broadcast_to(x, (size, *x.shape)) if i is None else jnp.moveaxis(x, i, 0)
            for x, i in zip(operands, axes, strict=True)
        )
        return primitive.bind(*moved, **options), 0

    def shape(place, x, **options):
        out = jax.eval_shape(partial(function, **options), place, x)
        return core.ShapedArray(out.shape, out.dtype)

    primitive.def_impl(jax.jit(primitive.bind, static_argnames="window"))
    primitive.def_abstract_eval(shape)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    return primitive


_pick_p, _spread_p = _linear_in_second("pick", _pick), _linear_in_second("spread", _spread)


def _transposed_by(primitive):
    def transpose(cotangent, place, x, **options):
        del x
        return None, primitive.bind(place, cotangent, **options)

    return transpose


ad.primitive_transposes[_pick_p] = _transposed_by(_spread_p)
ad.primitive_transposes[_spread_p] = _transposed_by(_pick_p)
