"""Smooth activations whose first, second and third derivatives are closed forms of the input alone.

So whatever is differentiated, and however often up to there, only the input is kept.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Function = Callable[[jax.Array], jax.Array]


def _with_derivative(function: Function, derivative: Function) -> Function:
    closed = jax.custom_jvp(function)
    closed.defjvp(lambda primals, tangents: (closed(*primals), derivative(*primals) * tangents[0]))
    return closed


_SLOPE, _CUBE = math.sqrt(2 / math.pi), 0.044715


def _tanh_parts(x):
    """Of `tanh(u)`: itself, its derivative by `u`, and the first two of `u` by `x`."""
    t = jnp.tanh(_SLOPE * (x + _CUBE * (x * x * x)))
    return t, 1 - t * t, _SLOPE * (1 + 3 * _CUBE * (x * x)), 6 * _SLOPE * _CUBE * x


def _gelu_tanh(x):
    return 0.5 * x * (1 + jnp.tanh(_SLOPE * (x + _CUBE * (x * x * x))))


def _gelu_tanh_1(x):
    t, s, u1, _ = _tanh_parts(x)
    return 0.5 * (1 + t) + 0.5 * x * s * u1


def _gelu_tanh_2(x):
    t, s, u1, u2 = _tanh_parts(x)
    return s * (u1 + 0.5 * x * (u2 - 2 * t * u1 * u1))


def _density(x):
    return jnp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _gelu_erf(x):
    return 0.5 * x * lax.erfc(-x * math.sqrt(0.5))


def _gelu_erf_1(x):
    return 0.5 * lax.erfc(-x * math.sqrt(0.5)) + x * _density(x)


def _gelu_erf_2(x):
    return (2 - x * x) * _density(x)


def _silu(x):
    return x * lax.logistic(x)


def _silu_1(x):
    s = lax.logistic(x)
    return s * (1 + x * (1 - s))


def _silu_2(x):
    s = lax.logistic(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


_by_tanh = _with_derivative(_gelu_tanh, _with_derivative(_gelu_tanh_1, _gelu_tanh_2))
_by_erf = _with_derivative(_gelu_erf, _with_derivative(_gelu_erf_1, _gelu_erf_2))
_swish = _with_derivative(_silu, _with_derivative(_silu_1, _silu_2))


def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    """The Gaussian error linear unit, as `jax.nn.gelu`.

    Args:
      x: Floating, of any shape.
      approximate: By `tanh`, or exactly by the error function.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> [f"{value:.4f}" for value in mj.ops.gelu(jnp.array([-1.0, 0.0, 1.0]))]
      ['-0.1588', '0.0000', '0.8412']

    Reference: Hendrycks and Gimpel, 2016, section 2. https://arxiv.org/abs/1606.08415
    """
    return _by_tanh(x) if approximate else _by_erf(x)


def silu(x: jax.Array) -> jax.Array:
    """`x * sigmoid(x)`, as `jax.nn.silu`.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> [f"{value:.4f}" for value in mj.ops.silu(jnp.array([0.0, 1.0]))]
      ['0.0000', '0.7311']

    Reference: Elfwing, Uchibe and Doya, 2017, equation 5. https://arxiv.org/abs/1702.03118
    """
    return _swish(x)
