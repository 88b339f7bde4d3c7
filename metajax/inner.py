"""Gradient descent inside a task: any optax transformation as a solver."""

from collections.abc import Callable, Iterable
from functools import partial, reduce
from itertools import groupby, pairwise
from math import inf
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax import checks
from metajax.types import Optimizer, Params, Steps

Gradient = Callable[..., Params]
Solve = Callable[..., Params]
AtStep = Callable[[tuple[Any, ...], jax.Array], tuple[Any, ...]]
"""`(args, step) -> args`: what the gradient reads in inner step `step`, of what the solve was given."""

_ONE_BY_ONE = 8
"""As many stops at one distance are compiled one after the other; more of them become a loop."""


class _Carry(NamedTuple):
    """Parameters, the inner optimiser's state, and the number of steps taken."""

    params: Params
    state: optax.OptState
    step: jax.Array


def descend(inner: Optimizer, num_steps: Steps, at_step: AtStep | None = None) -> Solve:
    """Returns a solver that takes `num_steps` steps of `inner` from `params`.

    Args:
      inner: Any optax transformation; its state starts fresh in every solve.
      num_steps: At least 0. Several numbers, such as `(1, 5)`, return the parameters after each of
        them, stacked along a new first axis. Many at one distance, such as `range(1, 101)`, are one
        compiled loop.
      at_step: `(args, step) -> args`, where each step reads something else: a mini-batch, or a key
        for dropout. By default every step reads `args` themselves.

    Returns:
      `solve(gradient, params, *args, last=None) -> params`, where `gradient(params, *args)` has the
      tree of `params`. With `last=k`, differentiation treats the gradients of all but the last `k`
      steps as constants.

    Raises:
      ValueError: For a negative number of steps, or none at all; from `solve`, for an optimiser that
        needs the value of the loss.

    Example:
      >>> import optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.5), num_steps=(0, 1, 2))
      >>> solve(lambda w: w, jnp.array(8.0)).tolist()
      [8.0, 4.0, 2.0]
    """
    checks.optimizer("descend", "inner", inner)
    num_steps = checks.steps("descend", num_steps)
    stops = (num_steps,) if isinstance(num_steps, int) else num_steps

    def solve(gradient: Gradient, params: Params, *args: Any, last: int | None = None) -> Params:
        def step(gradient, carry, _):
            own = args if at_step is None else at_step(args, carry.step)
            updates, state = checked_update(
                "descend", inner, gradient(carry.params, *own), carry.state, carry.params
            )
            params = optax.apply_updates(carry.params, updates)
            return _Carry(params, state, carry.step + 1), None

        def constant(*inputs):
            return jax.lax.stop_gradient(gradient(*inputs))

        start = _Carry(params, inner.init(params), jnp.zeros((), jnp.int32))
        derived = 0 if last is None else max(0, max(stops) - last)
        bodies = (partial(step, gradient), partial(step, constant))
        end, path = _path(bodies, start, stops, derived)
        return end if isinstance(num_steps, int) else path

    return solve


def _path(bodies, start, stops, derived) -> tuple[Params, Params]:
    """The parameters at the end, and those at each of the stops, stacked.

    Args:
      bodies: A step that is differentiated, and one whose gradient is a constant.
      start: The first carry.
      stops: Numbers of steps, in any order.
      derived: The number of steps from the start whose gradients are constants.
    """
    ends = sorted({*stops, derived} - {0})
    gaps = [(end - begin, end <= derived) for begin, end in pairwise((0, *ends))]
    carry, taken = start, 0
    reached, path = [], []
    if 0 in stops:
        reached, path = [0], [jax.tree.map(lambda leaf: leaf[None], start.params)]
    for (gap, is_constant), run in groupby(gaps):
        length = len(list(run))
        leap = partial(_leap, bodies[is_constant], gap)
        if length > _ONE_BY_ONE:
            carry, after = jax.lax.scan(leap, carry, length=length)
            path.append(after)
        else:
            for _ in range(length):
                carry, after = leap(carry, None)
                path.append(jax.tree.map(lambda leaf: leaf[None], after))
        reached += range(taken + gap, taken + gap * length + 1, gap)
        taken += gap * length
    together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *path) if path else ()
    if list(stops) != reached:
        chosen = np.array([reached.index(stop) for stop in stops])
        together = jax.tree.map(lambda leaf: leaf[chosen], together)
    return carry.params, together


def _leap(body, gap, carry, _):
    """Takes `gap` steps; the parameters there are also what a scan stacks."""
    if gap == 1:
        # Outside of a loop `vmap` gives no task a copy of the weights all start from.
        carry, _ = body(carry, None)
    else:
        carry, _ = jax.lax.scan(body, carry, length=gap)
    return carry, carry.params


def checked_update(
    where: str, inner: Optimizer, gradient: Params, state: optax.OptState, params: Params
) -> tuple[Params, optax.OptState]:
    """The updates and the state of an optimiser that reads gradients and parameters alone.

    Raises:
      ValueError: For an optimiser that needs the value of the loss.
    """
    try:
        return inner.update(gradient, state, params)
    except TypeError as error:
        if "keyword-only argument" not in str(error):
            raise
        raise ValueError(
            f"{where}: the inner optimiser needs more than a gradient ({error}). An inner loop gives "
            "it no value of the loss; use optax.sgd, optax.adam or another that needs none."
        ) from error


def clip_by_global_norm(max_norm: float) -> Optimizer:
    """Shortens gradients longer than `max_norm`: optax's, with a derivative where they are all zero.

    Meta-learning drives the inner loop towards the edge of stability, and beyond it for a rare task,
    whose loss then dominates every mean over tasks. Clipped before `optax.sgd(rate)`, no step is
    longer than `rate * max_norm`. Choose a norm that the gradients of most tasks do not reach.

    Args:
      max_norm: Of all gradients of a task together; `inf` clips nothing. Gradients of any size are
        shortened to it: at infinity, to the limit of their direction. A nan stays one.

    Raises:
      ValueError: Unless `max_norm` is above 0.

    Example:
      >>> import optax, metajax as mj
      >>> inner = optax.chain(mj.clip_by_global_norm(5.0), optax.sgd(1.0))
      >>> mj.descend(inner, 1)(lambda w: -w, jnp.array([6.0, 8.0])).tolist()
      [9.0, 12.0]
    """
    checks.positive("clip_by_global_norm", "max_norm", max_norm)
    if max_norm == inf:
        return optax.identity()

    def update(updates, state, params=None):
        del params
        return shortened(updates, max_norm), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def shortened(tree: Params, max_norm: float) -> Params:
    """A tree of at most this global norm, in the same direction.

    No square overflows, and an infinite tree has the direction of its infinite entries.

    Example:
      >>> shortened(jnp.array([3e30, 4e30]), 5.0).round(4).tolist()
      [3.0, 4.0]
      >>> shortened(jnp.array([1.0, -jnp.inf]), 5.0).tolist()
      [0.0, -5.0]
    """
    if not jax.tree.leaves(tree):
        return tree
    scale, unit, infinities = _scale(tree, max_norm)

    def short(leaf):
        limit = jnp.where(jnp.isinf(leaf), jnp.sign(leaf), 0 * leaf)
        chosen = jnp.where(
            infinities > 0, jax.lax.stop_gradient(limit), unit.astype(leaf.dtype) * leaf
        )
        return scale.astype(leaf.dtype) * chosen

    return jax.tree.map(short, tree)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _scale(tree: Params, max_norm: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A scale and a power of two whose product shortens a tree, and the number of infinite entries."""
    leaves = jax.tree.leaves(tree)
    squared = _total(jnp.vdot(leaf, leaf) for leaf in leaves)
    infinities = _total(jnp.sum(jnp.isinf(leaf)) for leaf in leaves).astype(squared.dtype)
    # Where the sum of squares overflows, entries are divided by a power of two before.
    down = 2.0**-80 if jnp.finfo(squared.dtype).bits < 64 else 2.0**-600
    small = _total(jnp.sum(jnp.square(down * leaf)) for leaf in leaves)
    overflows = jnp.isinf(squared) & (infinities == 0)
    longer = squared > max_norm**2
    norms = jnp.where(overflows, small, jnp.where(infinities > 0, infinities, squared))
    # The root is not taken of zero, whose derivative would be nan even where it is not chosen.
    scale = jnp.where(longer, max_norm * jax.lax.rsqrt(jnp.where(longer, norms, 1)), 1)
    return scale, jnp.where(overflows, down, 1.0).astype(squared.dtype), infinities


@_scale.defjvp
def _scale_jvp(max_norm, primals, tangents):
    # With s u = m / |g| for the power of two u, the derivative of s along v is -s^2 u <s u g / m, v> / m.
    (tree,), (change,) = primals, tangents
    scale, unit, infinities = _scale(tree, max_norm)
    whole = scale * unit
    along = _total(
        jnp.vdot((whole / max_norm).astype(leaf.dtype) * leaf, d)
        for leaf, d in zip(jax.tree.leaves(tree), jax.tree.leaves(change), strict=True)
    )
    moves = (whole < 1) & (infinities == 0)
    slope = jnp.where(moves, -scale * whole / max_norm * along, 0).astype(scale.dtype)
    return (scale, unit, infinities), (slope, jnp.zeros_like(unit), jnp.zeros_like(infinities))


def _total(values: Iterable[jax.Array]) -> jax.Array:
    return reduce(jnp.add, values)


def repeat(constant: Params, num_steps: Steps) -> Params:
    """What no step changes, with the first axis that several numbers of steps have.

    Example:
      >>> import jax.numpy as jnp
      >>> repeat(jnp.ones(3), 5).shape, repeat(jnp.ones(3), (0, 5)).shape
      ((3,), (2, 3))
    """
    if np.ndim(num_steps) == 0:
        return constant
    several = len(num_steps)  # type: ignore[arg-type]
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (several, *leaf.shape)), constant)
