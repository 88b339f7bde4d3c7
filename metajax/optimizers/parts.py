"""What learned update rules are made of: layers on coordinates, and their precision.

Coordinates are the last axis everywhere, `(features, n)`: there are few features and many coordinates,
so that every loop over them is a long one and no product needs a transposed copy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.types import Optimizer, Params


class Dense(NamedTuple):
    """The weights of a layer: `kernel` `(inputs, outputs)` and `bias` `(1, outputs)`."""

    kernel: jax.Array
    bias: jax.Array


def dense(key: jax.Array, inputs: int, outputs: int) -> Dense:
    """A layer whose weights have a variance of one over the inputs, and biases of 0."""
    kernel = jax.nn.initializers.lecun_normal()(key, (inputs, outputs))
    return Dense(kernel, jnp.zeros((1, outputs), kernel.dtype))


def constant_layer(inputs: int, outputs: int, bias: float = 0.0) -> Dense:
    """A layer whose output is `bias` for every input, until it is trained."""
    return Dense(jnp.zeros((inputs, outputs), float), jnp.full((1, outputs), bias, float))


def affine(layer: Dense, x: jax.Array) -> jax.Array:
    """Inputs `(inputs, n)` to outputs `(outputs, n)`."""
    return layer.kernel.T @ x + layer.bias.T


class LstmState(NamedTuple):
    """The output and the cell state of an LSTM for each of `n` coordinates, both `(hidden, n)`."""

    output: jax.Array
    cell: jax.Array


def lstm_step(gates: Dense, x: jax.Array, state: LstmState) -> LstmState:
    """One step of an LSTM on inputs `(inputs, n)`; `gates` reads `inputs + hidden` numbers.

    Example:
      >>> closed = constant_layer(2, 4)  # gates of 1/2 and a candidate of 0 halve the cell state
      >>> one = jnp.ones((1, 1))
      >>> lstm_step(closed, one, LstmState(one, one)).cell.tolist()
      [[0.5]]
    """
    read = affine(gates, jnp.concatenate([x, state.output]))
    input_gate, forget_gate, output_gate, candidate = jnp.split(read, 4)
    cell = jax.nn.sigmoid(forget_gate) * state.cell
    cell = cell + jax.nn.sigmoid(input_gate) * jnp.tanh(candidate)
    return LstmState(jax.nn.sigmoid(output_gate) * jnp.tanh(cell), cell)


def log_and_sign(gradients: jax.Array, p: float = 10.0) -> jax.Array:
    """Maps gradients `(n,)` of any magnitude to two numbers each, `(2, n)`, between -1 and about 1.

    A gradient `g` becomes `(log|g| / p, sign(g))` if `|g| >= exp(-p)`, and otherwise `(-1, exp(p) g)`,
    so that 0 has a value and a derivative.

    Example:
      >>> log_and_sign(jnp.array([1.0, -jnp.exp(-5.0), 0.0])).round(2).tolist()
      [[0.0, -0.5, -1.0], [1.0, -1.0, 0.0]]

    Reference:
      Andrychowicz et al., NeurIPS 2016, appendix A. https://arxiv.org/abs/1606.04474
    """
    large = jnp.abs(gradients) >= jnp.exp(-p)
    magnitude = jnp.where(large, jnp.abs(gradients), 1.0)  # log(0) has no derivative
    logs = jnp.where(large, jnp.log(magnitude) / p, -1.0)
    signs = jnp.where(large, jnp.sign(gradients), gradients * jnp.exp(p))
    return jnp.stack([logs, signs])


def in_precision_of(weights: Params, rule: Optimizer) -> Optimizer:
    """A rule computed in the precision of its weights, with updates in that of the gradients.

    Differentiation recomputes the intermediate values of a step, so that a long inner loop stores
    only parameters and the state of the rule for every step.

    Args:
      weights: The weights that `rule` reads.
      rule: An optax transformation of gradients and parameters in float32 or wider.
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
