"""Gradient descent inside a task: any optax transformation as a solver."""

from collections.abc import Callable
from functools import partial
from itertools import groupby, pairwise
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.types import Optimizer, Params, Steps

Gradient = Callable[..., Params]
Solve = Callable[..., Params]

_ONE_BY_ONE = 8
"""As many stops at one distance are compiled one after the other; more of them become a loop."""


def descend(inner: Optimizer, num_steps: Steps) -> Solve:
    """A solver that takes `num_steps` steps of `inner` from `params`.

    Args:
      inner: any optax transformation; its state starts fresh in every solve.
      num_steps: 0 or more. Several numbers, such as `(1, 5)`, return the parameters after each of
        them, stacked along a new first axis. Many at one distance, such as `range(1, 101)`, are one
        compiled loop.

    Returns:
      `solve(gradient, params, *args, last=None) -> params`, where `gradient(params, *args)` has the
      tree of `params`. With `last=k` the gradients of all but the last `k` steps are constants to
      whoever differentiates.

    Raises:
      ValueError: for a negative number of steps, or none at all.

    Example:
      >>> import optax, metajax as mj
      >>> solve = mj.descend(optax.sgd(0.5), num_steps=(0, 1, 2))
      >>> solve(lambda w: w, jnp.array(8.0)).tolist()
      [8.0, 4.0, 2.0]
    """
    stops = (num_steps,) if isinstance(num_steps, int) else tuple(num_steps)
    if not stops or min(stops) < 0:
        raise ValueError(
            f"num_steps={num_steps}: the inner loop takes 0 steps or more; give one number, or a "
            "tuple such as (0, 1, 5)."
        )

    def solve(gradient: Gradient, params: Params, *args: Any, last: int | None = None) -> Params:
        def step(gradient, carry, _):
            params, state = carry
            updates, state = inner.update(gradient(params, *args), state, params)
            return (optax.apply_updates(params, updates), state), None

        def held(*inputs):
            return jax.lax.stop_gradient(gradient(*inputs))

        derived = 0 if last is None else max(0, max(stops) - last)
        ends = sorted({*stops, derived} - {0})
        gaps = [(end - begin, end <= derived) for begin, end in pairwise((0, *ends))]
        carry, taken = (params, inner.init(params)), 0
        reached, path = [], []
        if 0 in stops:
            reached, path = [0], [jax.tree.map(lambda leaf: leaf[None], params)]
        for (gap, is_held), run in groupby(gaps):
            count = len(list(run))
            body = partial(step, held if is_held else gradient)
            if count > _ONE_BY_ONE:
                carry, after = jax.lax.scan(partial(_leap, body, gap), carry, length=count)
                path.append(after)
            else:
                for _ in range(count):
                    carry, after = _leap(body, gap, carry, None)
                    path.append(jax.tree.map(lambda leaf: leaf[None], after))
            reached += range(taken + gap, taken + gap * count + 1, gap)
            taken += gap * count
        if isinstance(num_steps, int):
            return carry[0]
        together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *path)
        if list(stops) == reached:
            return together
        chosen = np.array([reached.index(stop) for stop in stops])
        return jax.tree.map(lambda leaf: leaf[chosen], together)

    return solve


def _leap(body, gap, carry, _):
    """Take `gap` steps; the parameters there are also what a scan stacks."""
    if gap == 1:
        # Outside of a loop `vmap` gives no task a copy of the weights all start from.
        carry, _ = body(carry, None)
    else:
        carry, _ = jax.lax.scan(body, carry, length=gap)
    return carry, carry[0]


def clip_by_global_norm(max_norm: float) -> Optimizer:
    """Shorten gradients longer than `max_norm`: optax's, with a derivative where they are all zero.

    Meta-learning drives the inner loop towards the edge of what is stable, and beyond it for a
    rare task, whose loss then decides every mean over tasks. Clipped before `optax.sgd(rate)`, no step is
    longer than `rate * max_norm`. Choose a norm that the gradients of most tasks do not reach.

    Args:
      max_norm: of all gradients of a task together; `inf` changes nothing.

    Raises:
      ValueError: unless `max_norm` is above 0.

    Example:
      >>> import optax, metajax as mj
      >>> inner = optax.chain(mj.clip_by_global_norm(5.0), optax.sgd(1.0))
      >>> mj.descend(inner, 1)(lambda w: -w, jnp.array([6.0, 8.0])).tolist()
      [9.0, 12.0]
    """
    if max_norm <= 0:
        raise ValueError(
            f"clip_by_global_norm: max_norm={max_norm}; it is above 0, and inf clips nothing."
        )
    if max_norm == inf:
        return optax.identity()

    def update(updates, state, params=None):
        del params
        squared = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(updates))
        longer = squared > max_norm**2
        # The root is taken of no zero, whose derivative would be nan also where it is not chosen.
        scale = jnp.where(longer, max_norm * jax.lax.rsqrt(jnp.where(longer, squared, 1.0)), 1.0)
        return jax.tree.map(lambda leaf: scale.astype(leaf.dtype) * leaf, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def repeat(held: Params, num_steps: Steps) -> Params:
    """What no step changes, with the first axis that several numbers of steps have.

    Example:
      >>> import jax.numpy as jnp
      >>> repeat(jnp.ones(3), 5).shape, repeat(jnp.ones(3), (0, 5)).shape
      ((3,), (2, 3))
    """
    if isinstance(num_steps, int):
        return held
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(num_steps), *leaf.shape)), held)
