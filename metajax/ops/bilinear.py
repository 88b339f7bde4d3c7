"""Operations between three arrays, of which each is a bilinear function of the other two.

A matrix product and a convolution are such: of inputs, kernel and output, the derivative of one by another
is the third operation. As a primitive with three forms they stay what they are under any number of
derivatives, forward or reverse, and each form is lowered to what is fastest there. `custom_vjp` has no
forward derivatives, and what a `custom_jvp` computes is transposed as XLA's operations, not as these; so
they need the rules of `jax.interpreters`.

Every array has a first axis for tasks, which `vmap` grows.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import core
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Form = Callable[..., jax.Array]
"""`(a, b, *, want, **options) -> array`: the wanted one of three, of the other two in their order."""


Roles = Mapping[str, tuple[str, str]]
"""What is wanted, to the two that it is made of."""


def roles_of(a: str, b: str, c: str) -> Roles:
    """The roles of three arrays by their names, in this order.

    Example:
      >>> roles_of("inputs", "kernel", "out")["kernel"]
      ('inputs', 'out')
    """
    return {a: (b, c), b: (a, c), c: (a, b)}


def bilinear(
    name: str,
    roles: Roles,
    shared: Mapping[tuple[str, str], tuple[int, int]],
    shape: Callable[..., tuple[int, ...]],
    form: Form,
    on_cpu: Form,
    options: tuple[str, ...],
) -> Primitive:
    """The primitive `bind(a, b, want=role, **options)`.

    Args:
      name: in a printed program.
      roles: of the three arrays.
      shared: of two roles, the axis that they share besides that of the tasks, counted in each, where a
        batch of these two alone can go.
      shape: of the result, for the arguments of a form.
      form: on any platform.
      on_cpu: on a CPU.
      options: the names of those that forms have besides `want`; their values are hashable.
    """
    primitive = Primitive(name)
    shared = {**shared, **{(b, a): (of_b, of_a) for (a, b), (of_a, of_b) in shared.items()}}

    def abstract(a, b, **options):
        return core.ShapedArray(shape(a, b, **options), a.dtype)

    def transpose(wrt: int, cotangent, a, b, *, want: str, **options):
        """The cotangent of operand `wrt`: from that of the result, and the other operand."""
        known = {want: cotangent, roles[want][1 - wrt]: (a, b)[1 - wrt]}
        wanted = roles[want][wrt]
        return primitive.bind(*(known[role] for role in roles[wanted]), want=wanted, **options)

    def batch(operands, axes, *, want: str, **options):
        """A batch of both operands is more tasks; of one alone, more of what it shares with the result."""
        moved = [_first(x, axis) for x, axis in zip(operands, axes, strict=True)]
        bind = partial(primitive.bind, want=want, **options)
        if None not in axes:
            size, tasks = moved[0].shape[:2]
            out = bind(*(_merge(x, 0) for x in moved))
            return out.reshape(size, tasks, *out.shape[1:]), 0
        mapped = 0 if axes[1] is None else 1
        into, of_result = shared[roles[want][mapped], want]
        x = moved[mapped]
        size, rest = x.shape[0], x.shape[into + 1]
        moved[mapped] = _merge(jnp.moveaxis(x, 0, into), into)
        out = bind(*moved)
        split = (*out.shape[:of_result], size, rest, *out.shape[of_result + 1 :])
        return out.reshape(split), of_result

    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("want", *options)))
    primitive.def_abstract_eval(abstract)
    ad.defbilinear(primitive, partial(transpose, 0), partial(transpose, 1))
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(form, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(on_cpu, multiple_results=False), "cpu")
    return primitive


def _merge(x: jax.Array, axis: int) -> jax.Array:
    """This axis and the next as one."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def _first(x: Any, axis: int | None):
    return x if axis is None else jnp.moveaxis(x, axis, 0)
