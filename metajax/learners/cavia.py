"""Learn weights that all tasks share and adapt a small context that the network also reads."""

from typing import NamedTuple

import jax

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend, repeat
from metajax.nn.contexts import Conditioned
from metajax.types import Learner, Loss, Optimizer, Params, Steps


class InContext(NamedTuple):
    """The shared weights, and a task's context."""

    params: Params
    context: Params


def cavia(
    model: Conditioned,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Fast context adaptation: the inner loop changes a few numbers, all other weights are shared.

    With `Film` layers or `lora` it adapts a small part of a large model.

    Args:
      model: reads a context; `concatenated(mj.mlp(), 4)` is the paper's for regression.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      inner: steps the context; the paper's rate is 1.
      num_steps: inner steps.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters are the model's and which adapts to `InContext`.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.cavia(mj.concatenated(mj.mlp(), 4), mj.mse, optax.sgd(1.0), num_steps=1)
      >>> support = mj.Examples(x=jnp.ones((10, 1)), y=jnp.ones((10, 1)))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> learner.adapt(meta_params, support, jax.random.key(0)).context.shape
      (4,)

    Reference: Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, ICML 2019, section 3.
    https://arxiv.org/abs/1810.03642
    """
    own_steps = num_steps
    descend(inner, own_steps)

    @jax.grad
    def gradient(context, params, support):
        return loss(model.apply(params, context, support.x), support.y)

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("cavia", inner, adjoint, model.context(meta_params))
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        start, solve = model.context(meta_params), descend(inner, num_steps)
        context = adjoint(solve, gradient, start, meta_params, support)
        return InContext(repeat(meta_params, num_steps), context)

    def predict(adapted, x):
        return model.apply(adapted.params, adapted.context, x)

    return Learner(init, adapt, predict)
