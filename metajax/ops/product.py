"""A matrix product that stays fast under `vmap` over tasks of a few examples, and in every derivative."""

import math
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from metajax.ops.bilinear import bilinear, roles_of

FEW = 16
"""Examples up to which, on a CPU, a sum of outer products beats XLA's product over the first axis."""


def dot_general(
    lhs: jax.Array,
    rhs: jax.Array,
    dimension_numbers,
    precision=None,
    preferred_element_type=None,
    *,
    out_sharding=None,
) -> jax.Array:
    """`jax.lax.dot_general` for dense layers, fast where each task has its own weights.

    The gradient of a layer's weights is a product over the examples. A task has only a few, and on a
    CPU XLA's product of many such tasks takes three times as long as the written-out sum. Inputs
    `(..., d)` and weights `(d, f)` of one floating type are handled here, all else by `lax.dot_general`.

    Args:
      lhs: Inputs `(..., d)`.
      rhs: Weights `(d, f)`.
      dimension_numbers: `(((lhs.ndim - 1,), (0,)), ((), ()))` here; others go to `lax`.
      precision: Precision of the product.
      preferred_element_type: As in `lax`, which handles any type but that of the inputs.
      out_sharding: As in `lax`, which handles it.

    Returns:
      Outputs `(..., f)`.

    Example:
      >>> import flax.linen as nn, metajax as mj
      >>> layer = nn.Dense(8, dot_general=mj.dot_general)
    """
    (contracted, batched) = dimension_numbers
    of_layer = (
        rhs.ndim == 2
        and tuple(map(tuple, contracted)) == ((lhs.ndim - 1,), (0,))
        and tuple(map(tuple, batched)) == ((), ())
    )
    one_type = lhs.dtype == rhs.dtype and preferred_element_type in (None, lhs.dtype)
    floating = jnp.issubdtype(lhs.dtype, jnp.floating)
    if not (of_layer and one_type and floating and out_sharding is None):
        return lax.dot_general(
            lhs,
            rhs,
            dimension_numbers,
            precision,
            preferred_element_type,
            out_sharding=out_sharding,
        )
    rows = math.prod(lhs.shape[:-1])
    out = _product_p.bind(
        lhs.reshape(1, rows, lhs.shape[-1]), rhs[None], want="out", precision=precision
    )
    return out.reshape(*lhs.shape[:-1], rhs.shape[1])


# inputs (tasks, n, d), kernel (tasks, d, f), out (tasks, n, f).
ROLES = roles_of("inputs", "kernel", "out")


def _shape(a, b, *, want: str, precision) -> tuple[int, ...]:
    del precision
    if want == "out":
        return (*a.shape[:2], b.shape[2])
    if want == "inputs":
        return (*b.shape[:2], a.shape[1])
    return (a.shape[0], a.shape[2], b.shape[2])


def _product(a, b, *, want: str, precision):
    if want == "out":
        return jnp.matmul(a, b, precision=precision)
    if want == "inputs":
        return jnp.matmul(b, a.mT, precision=precision)
    return jnp.matmul(a.mT, b, precision=precision)


def _is_few(n: Any) -> bool:
    return not is_symbolic_dim(n) and 0 < n <= FEW


def _on_cpu(a, b, *, want: str, precision):
    n = a.shape[1]
    full_width = jnp.finfo(a.dtype).bits >= 32  # XLA adds others up in float32
    if want == "kernel" and _is_few(n) and full_width and min(a.shape[2], b.shape[2]) > 1:
        a = lax.optimization_barrier(a)  # or each entry is computed anew wherever it is read
        return reduce(jnp.add, (a[:, i, :, None] * b[:, i, None, :] for i in range(n)))
    if want == "kernel" and a.shape[0] == 1:
        # Of two matrices XLA reads the first as it lies; of a batch of one it would write it transposed.
        return lax.dot_general(a[0], b[0], (((0,), (0,)), ((), ())), precision=precision)[None]
    return _product(a, b, want=want, precision=precision)


_product_p = bilinear(
    "bilinear_product",
    ROLES,
    {("inputs", "out"): (1, 1), ("inputs", "kernel"): (2, 1), ("kernel", "out"): (2, 2)},
    _shape,
    _product,
    _on_cpu,
    ("precision",),
)
