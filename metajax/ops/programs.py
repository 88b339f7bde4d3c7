"""What a jaxpr holds: slow convolutions, and how much arithmetic."""

import math

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from metajax.ops import convolution, product


def grouped_convolutions(program: ClosedJaxpr | Jaxpr) -> int:
    """How many of JAX's own convolutions in a jaxpr have groups, at any depth."""
    found = 0
    for equation in program.eqns:
        groups = ("feature_group_count", "batch_group_count")
        found += any(equation.params.get(name, 1) > 1 for name in groups)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            found += grouped_convolutions(inner) if _is_jaxpr(inner) else 0
    return found


def _shapes(variables) -> list[tuple[int, ...]]:
    return [getattr(v.aval, "shape", ()) for v in variables]


def _is_jaxpr(value) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _roles(roles, equation, shapes, outs):
    want = equation.params["want"]
    return {want: outs[0], **dict(zip(roles[want], shapes, strict=True))}


def flops(program: ClosedJaxpr | Jaxpr) -> int:
    """Multiplications and additions in the products and convolutions of a jaxpr.

    A scan counts as often as it runs, a while loop once, a branch as the greatest of its branches.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> flops(jax.make_jaxpr(jnp.matmul)(jnp.ones((2, 3)), jnp.ones((3, 5))))
      60
    """
    total = 0
    for equation in program.eqns:
        outs, shapes = _shapes(equation.outvars), _shapes(equation.invars)
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        counts = [flops(value) for value in inner if _is_jaxpr(value)]
        match equation.primitive.name:
            case "dot_general":
                ((contracted, _), _) = equation.params["dimension_numbers"]
                total += 2 * math.prod(outs[0]) * math.prod(shapes[0][axis] for axis in contracted)
            case "conv_general_dilated":
                features = shapes[1][equation.params["dimension_numbers"].rhs_spec[0]]
                total += 2 * math.prod(outs[0]) * math.prod(shapes[1]) // features
            case "bilinear_conv":
                roles = _roles(convolution.ROLES, equation, shapes, outs)
                taps_and_channels = math.prod(roles["kernel"][1:4])
                total += 2 * math.prod(roles["out"]) * taps_and_channels
            case "bilinear_product":
                roles = _roles(product.ROLES, equation, shapes, outs)
                total += 2 * math.prod(roles["out"]) * roles["kernel"][1]
            case "scan":
                total += equation.params["length"] * sum(counts)
            case "cond":
                total += max(counts)
            case _:
                total += sum(counts)
    return total


def numbers(program: ClosedJaxpr | Jaxpr) -> tuple[int, int]:
    """How many numbers the equations of a jaxpr compute in all, and the greatest array among them.

    Loops and branches count as in `flops`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> numbers(jax.make_jaxpr(lambda x: jnp.sum(2 * x))(jnp.ones(5)))
      (6, 5)
    """
    total, greatest = 0, 0
    for equation in program.eqns:
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        counts = [numbers(value) for value in inner if _is_jaxpr(value)]
        own = [math.prod(shape) for shape in _shapes(equation.outvars)]
        if not counts:
            total, greatest = total + sum(own), max(greatest, *own, 0)
            continue
        sums, largest = zip(*counts, strict=True)
        name = equation.primitive.name
        times = equation.params["length"] if name == "scan" else 1
        total += max(sums) if name == "cond" else times * sum(sums)
        greatest = max(greatest, *largest)
    return total, greatest
