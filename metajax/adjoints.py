"""How an inner solve is differentiated: every adjoint returns the same value, with its own derivative.

An adjoint is `(solve, gradient, params, *args) -> params`. Arrays reach it as `*args`, never by
closure: a captured tracer would leak out of a custom derivative rule.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

from metajax.inner import Gradient, Solve
from metajax.types import Params

Adjoint: TypeAlias = Callable[..., Params]


def unrolled(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Differentiate through every step, second derivatives included: the exact hypergradient.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)  # w -> w - w/4 for the gradient w
      >>> float(jax.grad(lambda w: mj.unrolled(solve, lambda w: w, w))(1.0))
      0.75

    Reference: Finn, Abbeel and Levine, ICML 2017, section 2.2. https://arxiv.org/abs/1703.03400
    """
    return solve(gradient, params, *args)


def first_order(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Hold the inner gradients constant: with SGD inside, the Jacobian of the solve is the identity.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)
      >>> float(jax.grad(lambda w: mj.first_order(solve, lambda w: w, w))(1.0))
      1.0

    Reference: Finn, Abbeel and Levine, ICML 2017, section 5.2 (FOMAML).
    https://arxiv.org/abs/1703.03400
    """
    return solve(lambda *inputs: jax.lax.stop_gradient(gradient(*inputs)), params, *args)
