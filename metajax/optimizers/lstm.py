"""A recurrent network that reads the gradient of one coordinate and writes its update."""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from metajax.optimizers.parts import (
    Memory,
    affine,
    dense,
    in_precision_of,
    log_and_sign,
    lstm_step,
    silent,
)
from metajax.types import LearnedOptimizer


def lstm(hidden: int = 20, layers: int = 2, *, scale: float = 0.1) -> LearnedOptimizer:
    """Learning to learn by gradient descent: the same small LSTM steps every coordinate.

    Coordinates share weights and have a memory each, so one optimiser serves arrays of any shape and
    number. It starts without any update: its output layer starts at 0.

    Args:
      hidden: units of each layer.
      layers: LSTMs on top of each other.
      scale: of the update, which is the output layer's times this.

    Returns:
      A `LearnedOptimizer` that reads gradients alone. Memory for each coordinate is `2 * hidden *
      layers` numbers.

    Raises:
      ValueError: for no units or layers.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.lstm(hidden=4, layers=1)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))  # an optax transformation
      >>> params = jnp.ones(3)
      >>> updates, state = rule.update(params, rule.init(params), params)
      >>> updates.tolist()  # not yet trained
      [0.0, 0.0, 0.0]

    Reference: Andrychowicz et al., NeurIPS 2016, section 2.1 and appendix A.
    https://arxiv.org/abs/1606.04474
    """
    if hidden < 1 or layers < 1:
        raise ValueError(f"lstm: hidden={hidden} and layers={layers}; each is 1 or more.")

    def init(key):
        inputs = [2, *[hidden] * (layers - 1)]
        keys = jax.random.split(key, layers)
        cells = [dense(k, n + hidden, 4 * hidden) for k, n in zip(keys, inputs, strict=True)]
        return {"cells": cells, "output": silent(hidden, 1)}

    def build(weights):
        def start(params):
            flat, _ = ravel_pytree(params)
            zeros = jnp.zeros((hidden, flat.size), flat.dtype)
            return [Memory(zeros, zeros)] * layers

        def update(updates, state, params=None):
            del params
            flat, unravel = ravel_pytree(updates)  # gradients, until they are updates
            x, memories = log_and_sign(flat), []
            for cell, memory in zip(weights["cells"], state, strict=True):
                memories.append(lstm_step(cell, x, memory))
                x = memories[-1].output
            return unravel(scale * affine(weights["output"], x)[0]), memories

        return in_precision_of(weights, optax.GradientTransformation(start, update))

    settings = {"hidden": hidden, "layers": layers, "scale": scale}
    return LearnedOptimizer(init, build, ("lstm", settings))
