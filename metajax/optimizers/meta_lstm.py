"""An LSTM whose cell state is the parameter: gates decide what is kept of it and how far it descends."""

from typing import NamedTuple

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

_KEPT = 6.0
"""Where the forget gate starts, before its sigmoid: 0.25 % of a parameter is forgotten in a step."""


class Gates(NamedTuple):
    """What the network remembers of each coordinate, and its gates of the step before, `(1, n)`."""

    memory: Memory
    forget: jax.Array
    enter: jax.Array


def meta_lstm(hidden: int = 20, *, rate: float = 0.01) -> LearnedOptimizer:
    """Optimization as a model for few-shot learning: `params <- forget * params - enter * gradient`.

    Both gates are of every coordinate and every step: they read what an LSTM made of the gradients so
    far, the parameter, and themselves a step ago. The paper's gates also read the loss; inside an
    optax transformation there are gradients alone, so these do not.

    Args:
      hidden: units of the LSTM that reads gradients.
      rate: where the input gate starts, between 0 and 1. The forget gate starts at 0.9975.

    Returns:
      A `LearnedOptimizer` that reads gradients and parameters. Learn the start with it by
      `mj.learned(lambda inner: mj.maml(model, loss, inner, num_steps), mj.optimizers.meta_lstm())`,
      as the paper does.

    Raises:
      ValueError: for no units or a rate outside of (0, 1); from `update`, without parameters.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.meta_lstm(hidden=4, rate=0.5)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.zeros(1))
      >>> updates.tolist()  # from 0, half a gradient of 1
      [-0.5]

    Reference: Ravi and Larochelle, ICLR 2017, section 3. https://openreview.net/forum?id=rJY0-Kcll
    """
    if hidden < 1 or not 0 < rate < 1:
        raise ValueError(
            f"meta_lstm: hidden={hidden} and rate={rate}; give 1 unit or more and a rate between 0 "
            "and 1."
        )
    unsquashed = float(jnp.log(rate) - jnp.log1p(-rate))

    def init(key):
        return {
            "reader": dense(key, 2 + hidden, 4 * hidden),
            "forget": silent(hidden + 2, 1, _KEPT),
            "enter": silent(hidden + 2, 1, unsquashed),
        }

    def build(weights):
        def start(params):
            flat, _ = ravel_pytree(params)
            zeros, gate = jnp.zeros((hidden, flat.size), flat.dtype), jnp.zeros_like(flat)[None]
            return Gates(Memory(zeros, zeros), gate, gate)

        def update(updates, state, params=None):
            if params is None:
                raise ValueError(
                    "meta_lstm: the update reads parameters and there are none; call "
                    "update(gradients, state, params)."
                )
            flat, unravel = ravel_pytree(updates)  # gradients, until they are updates
            values = ravel_pytree(params)[0][None]
            memory = lstm_step(weights["reader"], log_and_sign(flat), state.memory)

            def gate(name, before):
                read = jnp.concatenate([memory.output, values, before])
                return jax.nn.sigmoid(affine(weights[name], read))

            forget, enter = gate("forget", state.forget), gate("enter", state.enter)
            change = (forget - 1) * values - enter * flat[None]
            return unravel(change[0]), Gates(memory, forget, enter)

        return in_precision_of(weights, optax.GradientTransformation(start, update))

    return LearnedOptimizer(init, build, ("meta_lstm", {"hidden": hidden, "rate": rate}))
