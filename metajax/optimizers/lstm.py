"""A recurrent network that maps the gradients of one coordinate to its updates."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from metajax import checks
from metajax.optimizers.parts import (
    LstmState,
    affine,
    constant_layer,
    dense,
    in_precision_of,
    log_and_sign,
    lstm_step,
)
from metajax.types import LearnedOptimizer


def lstm(hidden: int = 20, layers: int = 2, *, scale: float = 0.1) -> LearnedOptimizer:
    """An LSTM that steps every coordinate: learning to learn by gradient descent by gradient descent.

    Coordinates share weights and have a state each, so that one optimiser serves arrays of any shape
    and number. The output layer starts at 0, so that the first updates are 0.

    Args:
      hidden: Number of units of each layer.
      layers: Number of LSTMs on top of each other.
      scale: Factor of the output layer that gives the update.

    Returns:
      A `LearnedOptimizer` that reads gradients alone. Its state holds `2 * hidden * layers` numbers for
      each coordinate.

    Raises:
      ValueError: If `hidden` or `layers` is below 1.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.lstm(hidden=4, layers=1)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))  # an optax transformation
      >>> params = jnp.ones(3)
      >>> updates, state = rule.update(params, rule.init(params), params)
      >>> updates.tolist()  # not yet trained
      [0.0, 0.0, 0.0]

    Reference:
      Andrychowicz et al., NeurIPS 2016, section 2.1 and appendix A. https://arxiv.org/abs/1606.04474
    """
    hidden, layers = checks.count("lstm", "hidden", hidden), checks.count("lstm", "layers", layers)
    checks.positive("lstm", "scale", scale)

    def init(key):
        inputs = [2, *[hidden] * (layers - 1)]
        keys = jax.random.split(key, layers)
        cells = [dense(k, n + hidden, 4 * hidden) for k, n in zip(keys, inputs, strict=True)]
        return {"cells": cells, "output": constant_layer(hidden, 1)}

    def build(weights):
        def start(params):
            flat, _ = ravel_pytree(params)
            zeros = jnp.zeros((hidden, flat.size), flat.dtype)
            return [LstmState(zeros, zeros)] * layers

        def update(updates, state, params=None):
            del params
            flat, unravel = ravel_pytree(updates)  # gradients, until they are updates
            x, states = log_and_sign(flat), []
            for cell, before in zip(weights["cells"], state, strict=True):
                states.append(lstm_step(cell, x, before))
                x = states[-1].output
            return unravel(scale * affine(weights["output"], x)[0]), states

        return in_precision_of(weights, optax.GradientTransformation(start, update))

    settings = {"hidden": hidden, "layers": layers, "scale": scale}
    return LearnedOptimizer(init, build, ("lstm", settings))
