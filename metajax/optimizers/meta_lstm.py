"""An LSTM whose cell state is the parameter, with learned gates for forgetting and for the gradient."""

from typing import NamedTuple

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

_FORGET_LOGIT = 6.0
"""The logit that the forget gate starts at: a step forgets 0.25 % of a parameter."""


class MetaLstmState(NamedTuple):
    """The state of the LSTM for each coordinate, and the gates of the step before, `(1, n)`."""

    lstm: LstmState
    forget_gate: jax.Array
    input_gate: jax.Array


def meta_lstm(hidden: int = 20, *, rate: float = 0.01) -> LearnedOptimizer:
    """Gated gradient descent, `params <- f * params - i * gradient`, with learned gates `f` and `i`.

    Each coordinate has its gates in each step. They read the output of an LSTM on the gradients so
    far, the parameter, and themselves a step ago. The paper's gates also read the loss, which an
    optax transformation is not given.

    Args:
      hidden: Number of units of the LSTM that reads gradients.
      rate: Start of the input gate `i`, between 0 and 1. The forget gate `f` starts at 0.9975.

    Returns:
      A `LearnedOptimizer` that reads gradients and parameters. Learn the start with it by
      `mj.learned(lambda inner: mj.maml(model, loss, inner, num_steps), mj.optimizers.meta_lstm())`,
      as the paper does.

    Raises:
      ValueError: If `hidden` is below 1, or `rate` is not between 0 and 1; from `update`, without
        parameters.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> optimizer = mj.optimizers.meta_lstm(hidden=4, rate=0.5)
      >>> rule = optimizer.build(optimizer.init(jax.random.key(0)))
      >>> updates, _ = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.zeros(1))
      >>> updates.tolist()  # from 0, half a gradient of 1
      [-0.5]

    Reference:
      Ravi and Larochelle, ICLR 2017, section 3. https://openreview.net/forum?id=rJY0-Kcll
    """
    hidden = checks.count("meta_lstm", "hidden", hidden)
    checks.positive("meta_lstm", "rate", rate)
    if not 0 < rate < 1:
        raise ValueError(f"meta_lstm: rate={rate} must be between 0 and 1.")
    unsquashed = float(jnp.log(rate) - jnp.log1p(-rate))

    def init(key):
        return {
            "reader": dense(key, 2 + hidden, 4 * hidden),
            "forget": constant_layer(hidden + 2, 1, _FORGET_LOGIT),
            "enter": constant_layer(hidden + 2, 1, unsquashed),
        }

    def build(weights):
        def start(params):
            flat, _ = ravel_pytree(params)
            zeros, gate = jnp.zeros((hidden, flat.size), flat.dtype), jnp.zeros_like(flat)[None]
            return MetaLstmState(LstmState(zeros, zeros), gate, gate)

        def update(updates, state, params=None):
            if params is None:
                raise ValueError(
                    "meta_lstm: the update reads parameters, but none were given; call "
                    "update(gradients, state, params)."
                )
            flat, unravel = ravel_pytree(updates)  # gradients, until they are updates
            values = ravel_pytree(params)[0][None]
            lstm = lstm_step(weights["reader"], log_and_sign(flat), state.lstm)

            def gate(name, before):
                read = jnp.concatenate([lstm.output, values, before])
                return jax.nn.sigmoid(affine(weights[name], read))

            forget = gate("forget", state.forget_gate)
            enter = gate("enter", state.input_gate)
            change = (forget - 1) * values - enter * flat[None]
            return unravel(change[0]), MetaLstmState(lstm, forget, enter)

        return in_precision_of(weights, optax.GradientTransformation(start, update))

    return LearnedOptimizer(init, build, ("meta_lstm", {"hidden": hidden, "rate": rate}))
