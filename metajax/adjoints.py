"""How an inner solve is differentiated: every adjoint returns the same value, with its own derivative.

An adjoint is `(solve, gradient, params, *args) -> params`. Arrays reach it as `*args`, never by
closure: a captured tracer would leak out of a custom derivative rule.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.extend import core as jex

from metajax import checks
from metajax.inner import Gradient, Solve, descend
from metajax.marks import mark, marks
from metajax.types import Optimizer, Params, Steps

Adjoint: TypeAlias = Callable[..., Params]

LinearSolver: TypeAlias = Callable[[Callable[[Params], Params], Params], Params]
"""`(product, b) -> x` with `product(x)` close to `b`; `product` is linear, symmetric, positive."""


def unrolled(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Differentiates through every step, second derivatives included: the exact hypergradient.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)  # w -> w - w/4 for the gradient w
      >>> float(jax.grad(lambda w: mj.unrolled(solve, lambda w: w, w))(1.0))
      0.75

    Reference: Finn, Abbeel and Levine, ICML 2017, section 2.2. https://arxiv.org/abs/1703.03400
    """
    return solve(gradient, params, *args)


def first_order(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Treats the inner gradients as constants: with SGD inside, the Jacobian of the solve is the identity.

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
    """Differentiates through the last steps alone; the gradients of those before are constants.

    With `last` as many as there are steps it is `unrolled`, with 0 it is `first_order`. Memory grows
    with `last` instead of the number of steps.

    Args:
      last: At least 0, counted from the last of several numbers of steps.

    Raises:
      ValueError: For a negative number.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=3)
      >>> float(jax.grad(lambda w: mj.truncated(2)(solve, lambda w: w, w))(1.0))
      0.5625

    Reference: Shaban, Cheng, Hatch and Boots, AISTATS 2019, section 3.
    https://arxiv.org/abs/1810.10667
    """
    last = checks.count("truncated", "last", last, least=0)

    def adjoint(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
        return solve(gradient, params, *args, last=last)

    adjoint.__name__ = "truncated"
    return adjoint


def remat(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Differentiates as `unrolled`, but keeps only the weights of every step and recomputes the rest.

    A step takes the memory of its weights and of the optimiser's state, instead of that of all
    activations and their derivatives; it costs one more gradient.

    Example:
      >>> import jax, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.25), num_steps=1)
      >>> float(jax.grad(lambda w: mj.remat(solve, lambda w: w, w))(1.0))
      0.75

    Reference: Griewank and Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 12.
    """
    return solve(jax.checkpoint(gradient), params, *args)


def mixed_mode(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
    """Differentiates as `unrolled`, but takes each step's second derivative forward over reverse.

    The derivative of a gradient is a Hessian `H`, and `H` is symmetric: the product `v' H` that
    reverse mode needs is the product `H v` that forward mode gives. Only the weights of a step are
    kept, and only a Hessian-vector product is recomputed. `gradient` must be the derivative of a
    scalar by `params`, as it is in `maml`; the result can be differentiated in reverse mode only.

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
        return (of_params, *_pull_back(gradient, params, args, cotangent))

    symmetric.defvjp(forward, backward)
    return solve(symmetric, params, *args)


def usual(num_steps: Steps) -> Adjoint:
    """The adjoint of a learner whose inner gradient reads nothing meta-learned besides the start.

    `mixed_mode` for more than one step, otherwise `unrolled`. On a CPU it takes less memory, and it was
    at most 2 % slower and up to 1.8 times faster over the networks and steps of docs/results/speed.md;
    with one step it is slower. For derivatives in forward mode, such as `jax.hessian` of an objective,
    choose `unrolled`.

    Args:
      num_steps: Inner steps; of several numbers the greatest counts.

    Example:
      >>> usual(1).__name__, usual((1, 5)).__name__
      ('unrolled', 'mixed_mode')
    """
    return mixed_mode if np.max(num_steps) > 1 else unrolled


class Chosen(NamedTuple):
    """The adjoint of an inner loop, as a traced program shows it.

    name: Of the adjoint, such as "mixed_mode".
    num_steps: Inner steps; the greatest number where there are several.
    """

    name: str
    num_steps: int

    def __str__(self) -> str:
        """What was chosen, and why where it is the default."""
        steps = "1 step" if self.num_steps == 1 else f"{self.num_steps} steps"
        text = f"{steps}, differentiated by {self.name}"
        if self.name != usual(self.num_steps).__name__:
            return text
        if self.name == "unrolled":
            return f"{text}: the default for one step, where mixed_mode is slower; override with adjoint="
        return (
            f"{text}: the default for more than one step, where it takes less memory than unrolled and "
            "on CPUs less time; override with adjoint="
        )


def marked(adjoint: Adjoint, num_steps: Steps, params: Params) -> Params:
    """The parameters, with a mark in the traced program that says how a solve is differentiated.

    Example:
      >>> chosen_in(jax.make_jaxpr(lambda w: marked(mixed_mode, 5, w))(1.0).jaxpr)
      (Chosen(name='mixed_mode', num_steps=5),)
    """
    name = getattr(adjoint, "__name__", type(adjoint).__name__)
    return mark("adjoint", name, np.max(num_steps), on=params)


def chosen_in(jaxpr: jex.Jaxpr) -> tuple[Chosen, ...]:
    """The adjoints that a traced program shows."""
    return tuple(Chosen(name, int(steps)) for name, steps in marks(jaxpr, "adjoint"))


def conjugate_gradient(num_steps: int, *, damping: float = 0.0) -> LinearSolver:
    """Solves `product(x) = b` in at most `num_steps` products; exact after one per unknown.

    Args:
      num_steps: At least 1.
      damping: Added to every eigenvalue of `product`. The sums must all be above 0, or the result
        solves nothing; the Hessian of a network after a few inner steps has eigenvalues below 0.

    Raises:
      ValueError: For fewer than 1 step, or a negative damping.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> solver = mj.conjugate_gradient(2)
      >>> solver(lambda x: jnp.array([2.0, 4.0]) * x, jnp.ones(2)).round(4).tolist()
      [0.5, 0.25]

    Reference: Hestenes and Stiefel, 1952; Rajeswaran et al., NeurIPS 2019, section 3.1. Damping: Martens,
    ICML 2010, section 4.1.
    """
    num_steps = checks.count("conjugate_gradient", "num_steps", num_steps)
    checks.positive("conjugate_gradient", "damping", damping, least=0)

    def solver(product, b):
        def damped(x):
            return jax.tree.map(lambda p, x: p + damping * x, product(x), x)

        x, _ = jax.scipy.sparse.linalg.cg(damped, b, maxiter=num_steps, tol=1e-10)
        return x

    return solver


def neumann(num_terms: int, rate: float) -> LinearSolver:
    """Solves by the first terms of `rate * sum_k (1 - rate * product)^k`.

    Args:
      num_terms: At least 1; 1 is T1-T2, which takes the Hessian for `1 / rate`.
      rate: Below 2 over the greatest eigenvalue of `product`, or the series diverges. With the rate
        of gradient descent, `k` terms are a truncation to the last `k` steps, taken at the solution.

    Raises:
      ValueError: For fewer than 1 term, or unless the rate is above 0.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> float(mj.neumann(2, 0.25)(lambda x: 2 * x, jnp.ones(())))  # 1/4 (1 + 1/2)
      0.375

    Reference: Lorraine, Vicol and Duvenaud, AISTATS 2020, section 4. https://arxiv.org/abs/1911.02590
    T1-T2: Luketina, Berglund, Greff and Raiko, ICML 2016. https://arxiv.org/abs/1511.06727
    """
    num_terms = checks.count("neumann", "num_terms", num_terms)
    checks.positive("neumann", "rate", rate)

    def solver(product, b):
        def add(carry, _):
            term, total = carry
            term = jax.tree.map(lambda t, p: t - rate * p, term, product(term))
            return (term, jax.tree.map(jnp.add, total, term)), None

        (_, total), _ = jax.lax.scan(add, (b, b), length=num_terms - 1)
        return jax.tree.map(lambda leaf: rate * leaf, total)

    return solver


def implicit(solver: LinearSolver) -> Adjoint:
    """Differentiates the end of the solve as if it were the exact zero of `gradient`.

    By the implicit function theorem: with the Hessian `H` at the end and a cotangent `v`, solve
    `H u = v`; the cotangent of `args` is `-u d(gradient)/d(args)`. No step on the way is kept.
    The start gets a derivative of 0: meta-learn what `gradient` reads, as `imaml` does.

    Args:
      solver: Solves `H u = v`, such as `conjugate_gradient(10)` or `neumann(10, rate)`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.1), num_steps=100)  # to w = s/2
      >>> exact = mj.implicit(mj.conjugate_gradient(1))
      >>> end = lambda s: exact(solve, lambda w, s: 2 * w - s, jnp.zeros(()), s)
      >>> round(float(end(3.0)), 4), float(jax.grad(end)(3.0))
      (1.5, 0.5)

    Reference: Rajeswaran, Finn, Kakade and Levine, NeurIPS 2019, section 3.
    https://arxiv.org/abs/1909.04630
    """

    def adjoint(solve: Solve, gradient: Gradient, params: Params, *args: Any) -> Params:
        axes = [leaf.ndim for leaf in jax.tree.leaves(params)]

        @jax.custom_vjp
        def solved(params, *args):
            return solve(gradient, params, *args)

        def forward(params, *args):
            end = solve(gradient, params, *args)
            return end, (params, end, args)

        def backward(kept, cotangent):
            params, end, args = kept

            def pull_back(end, cotangent):
                def product(change):
                    return jax.jvp(lambda end: gradient(end, *args), (end,), (change,))[1]

                minus_u = jax.tree.map(jnp.negative, solver(product, cotangent))
                return _of_floats(gradient, end, args, minus_u)

            if [leaf.ndim for leaf in jax.tree.leaves(end)] != axes:  # several numbers of steps
                each = jax.vmap(pull_back)(end, cotangent)
                of_floats = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), each)
            else:
                of_floats = pull_back(end, cotangent)
            return (jax.tree.map(jnp.zeros_like, params), *_with_others(args, of_floats))

        solved.defvjp(forward, backward)
        return solved(params, *args)

    adjoint.__name__ = "implicit"
    return adjoint


def _pull_back(gradient: Gradient, params: Params, args: Any, cotangent: Params) -> tuple[Any, ...]:
    """The cotangents of `args`, of any type, from that of `gradient(params, *args)`."""
    return _with_others(args, _of_floats(gradient, params, args, cotangent))


def _of_floats(gradient: Gradient, params: Params, args: Any, cotangent: Params) -> list[Any]:
    """The cotangents of the leaves of `args` that have a derivative: neither labels nor keys have."""
    leaves, tree = jax.tree.flatten(args)

    def by_floats(floats):
        given = iter(floats)
        own = [next(given) if _is_float(leaf) else leaf for leaf in leaves]
        return gradient(params, *jax.tree.unflatten(tree, own))

    _, pull = jax.vjp(by_floats, [leaf for leaf in leaves if _is_float(leaf)])
    return pull(cotangent)[0]


def _with_others(args: Any, of_floats: list[Any]) -> tuple[Any, ...]:
    """Cotangents in the tree of `args`, with the empty ones of labels and keys between them."""
    leaves, tree = jax.tree.flatten(args)
    given = iter(of_floats)
    return jax.tree.unflatten(
        tree,
        [
            next(given) if _is_float(leaf) else np.zeros(jnp.shape(leaf), jax.dtypes.float0)
            for leaf in leaves
        ],
    )


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def check_derivative(
    learner: str, inner: Optimizer, adjoint: Adjoint | None, params: Params
) -> None:
    """Checks that one inner step is differentiable at a zero gradient.

    Args:
      learner: The learner whose message it is.
      inner: Steps `params`, of which only shapes are read.
      adjoint: How steps are differentiated; None for `usual`.

    Raises:
      ValueError: If the derivative is not finite.
    """

    adjoint = usual(1) if adjoint is None else adjoint

    def zero_gradient(params):
        return jax.tree.map(lambda leaf: 0 * leaf, params)

    def derivatives_at(value):
        def probe(params):
            return optax.tree.sum(adjoint(descend(inner, 1), zero_gradient, params))

        # Values are needed even where `init` is being traced, and only shapes are known there.
        with jax.ensure_compile_time_eval():
            start = jax.tree.map(lambda leaf: jnp.full(leaf.shape, value, leaf.dtype), params)
            found = jax.tree.leaves(jax.jit(jax.grad(probe))(start))
            # A traced rate of `inner`, as under vmap, leaves no values to look at.
            known = [leaf for leaf in found if not isinstance(leaf, Tracer)]
            return all(bool(np.isfinite(leaf).all()) for leaf in known)

    if derivatives_at(0.0):
        return
    if derivatives_at(1.0):
        raise ValueError(
            f"{learner}: the derivative of one step of `inner` is nan where parameters are exactly zero, "
            "and biases begin there. optax.adaptive_grad_clip divides by the norm of parameters; use "
            "mj.clip_by_global_norm."
        )
    raise ValueError(
        f"{learner}: the derivative of one step of `inner` is nan where a gradient is exactly zero, and "
        "ReLU networks have such gradients; Adam and RMSProp divide by sqrt(0). Give it eps_root > 0, as "
        "in optax.adam(1e-3, eps_root=1e-8), or use adjoint=mj.first_order, which mj.reptile, for one, "
        "loses nothing by."
    )
