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
    return solve(gradient, params, *args, last=0)


def truncated(last: int) -> Adjoint:
    """Differentiate through the last steps alone and hold the gradients of those before constant.

    With `last` as many as there are steps it is `unrolled`, with 0 it is `first_order`. Memory grows
    with `last` instead of the number of steps.

    Args:
      last: 0 or more, counted from the last of several numbers of steps.

    Raises:
      ValueError: for a negative number.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=3)
      >>> float(jax.grad(lambda w: mj.truncated(2)(solve, lambda w: w, w))(1.0))
      0.5625

    Reference: Shaban, Cheng, Hatch and Boots, AISTATS 2019, section 3.
    https://arxiv.org/abs/1810.10667
    """
    if last < 0:
        raise ValueError(f"truncated: last={last}; differentiate through 0 steps or more.")

    def adjoint(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
        return solve(gradient, params, *args, last=last)

    return adjoint


def remat(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """As `unrolled`, but keep the weights of every step alone and compute the rest of it again.

    Memory for a step is that of the weights and the optimiser's state, instead of all activations
    and their derivatives; a step costs one more gradient.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)
      >>> float(jax.grad(lambda w: mj.remat(solve, lambda w: w, w))(1.0))
      0.75

    Reference: Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 12.
    """
    return solve(jax.checkpoint(gradient), params, *args)


def mixed_mode(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """As `unrolled`, but each step's second derivative is taken forward over reverse.

    The derivative of a gradient is a Hessian, which is symmetric, so what reverse mode asks of it is
    what forward mode gives. Nothing of a step is kept but its weights, and nothing is recomputed
    that a Hessian-vector product does not need. `gradient` must be the derivative of a scalar by
    `params`, as it is in `maml`; the result can be differentiated in reverse mode only.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)
      >>> float(jax.grad(lambda w: mj.mixed_mode(solve, lambda w: w, w))(1.0))
      0.75

    Reference: Kemaev, Calian, Zintgraf, Farquhar and van Hasselt, 2025, section 3.
    https://arxiv.org/abs/2505.00793
    """

    @jax.custom_vjp
    def symmetric(params, *args):
        return gradient(params, *args)

    def forward(params, *args):
        return gradient(params, *args), (params, args)

    def backward(kept, cotangent):
        params, args = kept
        _, of_params = jax.jvp(lambda params: gradient(params, *args), (params,), (cotangent,))
        _, pull = jax.vjp(lambda *args: gradient(params, *args), *args)
        return (of_params, *pull(cotangent))

    symmetric.defvjp(forward, backward)
    return solve(symmetric, params, *args)
