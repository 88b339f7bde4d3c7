"""What learned update rules are made of: layers on coordinates, and the precision they compute in.

Coordinates are the last axis everywhere, `(features, n)`: there are few features and many coordinates,
so that every loop over them is a long one and no product needs a transposed copy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.types import Optimizer, Params


class Dense(NamedTuple):
    """Weights of a layer: `kernel` of shape `(inputs, outputs)` and `bias` of shape `(1, outputs)`."""

    kernel: jax.Array
    bias: jax.Array


def dense(key: jax.Array, inputs: int, outputs: int) -> Dense:
    """A layer whose weights have a variance of one over the inputs, and biases of 0."""
    kernel = jax.nn.initializers.lecun_normal()(key, (inputs, outputs))
    return Dense(kernel, jnp.zeros((1, outputs), kernel.dtype))


def silent(inputs: int, outputs: int, bias: float = 0.0) -> Dense:
    """A layer that gives `bias`, whatever it reads, until it is trained."""
    return Dense(jnp.zeros((inputs, outputs), float), jnp.full((1, outputs), bias, float))


def affine(layer: Dense, x: jax.Array) -> jax.Array:
    """Inputs `(inputs, n)` to outputs `(outputs, n)`."""
    return layer.kernel.T @ x + layer.bias.T


class Memory(NamedTuple):
    """What an LSTM remembers of each of `n` coordinates, both `(hidden, n)`."""

    output: jax.Array
    cell: jax.Array


def lstm_step(gates: Dense, x: jax.Array, memory: Memory) -> Memory:
    """One step of an LSTM on inputs `(inputs, n)`; `gates` reads `inputs + hidden` numbers.

    Example:
      >>> closed = silent(2, 4)  # gates of 1/2 and a candidate of 0: half of the cell is kept
      >>> one = jnp.ones((1, 1))
      >>> lstm_step(closed, one, Memory(one, one)).cell.tolist()
      [[0.5]]
    """
    read = affine(gates, jnp.concatenate([x, memory.output]))
    enter, keep, leave, candidate = jnp.split(read, 4)
    # A keep gate that begins open lets gradients pass through many steps.
    cell = jax.nn.sigmoid(keep) * memory.cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    return Memory(jax.nn.sigmoid(leave) * jnp.tanh(cell), cell)


def log_and_sign(gradients: jax.Array, p: float = 10.0) -> jax.Array:
    """Gradients `(n,)` of any magnitude to two numbers each, `(2, n)`, between -1 and about 1.

    Above `exp(-p)` they are the logarithm over `p` and the sign; below, -1 and the gradient times
    `exp(p)`, so that 0 has a value and a derivative.

    Example:
      >>> log_and_sign(jnp.array([1.0, -jnp.exp(-5.0), 0.0])).round(2).tolist()
      [[0.0, -0.5, -1.0], [1.0, -1.0, 0.0]]

    Reference: Andrychowicz et al., NeurIPS 2016, appendix A. https://arxiv.org/abs/1606.04474
    """
    large = jnp.abs(gradients) >= jnp.exp(-p)
    magnitude = jnp.where(large, jnp.abs(gradients), 1.0)  # log(0) has no derivative
    logs = jnp.where(large, jnp.log(magnitude) / p, -1.0)
    signs = jnp.where(large, jnp.sign(gradients), gradients * jnp.exp(p))
    return jnp.stack([logs, signs])


def in_precision_of(weights: Params, rule: Optimizer) -> Optimizer:
    """A rule computed in the precision of its weights, with updates in that of the gradients.

    What a step computes on the way to its update is not kept for the derivative but computed again,
    so that a long inner loop keeps only parameters and the rule's state for every step.

    Args:
      weights: that `rule` reads.
      rule: an optax transformation of gradients and parameters in float32 or wider.
    """
    own = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(weights)))

    def wide(tree: Params) -> Params:
        def leaf(x):
            x = jnp.asarray(x)
            return x.astype(jnp.promote_types(x.dtype, own))

        return jax.tree.map(leaf, tree)

    def init(params: Params) -> optax.OptState:
        return rule.init(wide(params))

    def update(updates, state, params=None):
        step = jax.checkpoint(rule.update, prevent_cse=False)
        wider, state = step(wide(updates), state, wide(params))  # None is a tree of no leaves
        return jax.tree.map(lambda w, u: w.astype(u.dtype), wider, updates), state

    return optax.GradientTransformation(init, update)
