"""Fast context adaptation (CAVIA): weights that all tasks share, and a small context that each adapts."""

from typing import NamedTuple

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import repeat
from metajax.learners.parts import descent
from metajax.masks import filled, mean_loss
from metajax.nn.contexts import Conditioned, as_conditioned, in_training
from metajax.types import Learner, Loss, Optimizer, Params


class CaviaState(NamedTuple):
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
    """Learns weights that all tasks share, and adapts a small context that the network also reads.

    With `Film` layers or `lora` it adapts a small part of a large model.

    Args:
      model: A model that reads a context. `concatenated(mj.mlp(), 4)` is the paper's for regression.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation of the context, re-initialised for every task. The paper's rate
        is 1.
      num_steps: Number of inner steps.
      adjoint: How the inner loop is differentiated.

    Returns:
      A learner whose meta-parameters are those of `model`, and which adapts to
      `CaviaState(params, context)`.

    Raises:
      ValueError: If `num_steps` is negative, or for a model that reads no context; from `init`, for
        an inner optimiser whose hypergradient is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.cavia(mj.concatenated(mj.mlp(), 4), mj.mse, optax.sgd(1.0), num_steps=1)
      >>> support = mj.Examples(x=jnp.ones((10, 1)), y=jnp.ones((10, 1)))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> learner.adapt(meta_params, support, jax.random.key(0)).context.shape
      (4,)

    Reference:
      Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, ICML 2019, section 3.
      https://arxiv.org/abs/1810.03642
    """
    model = as_conditioned("cavia", model)
    num_steps = checks.count("cavia", "num_steps", num_steps, least=0)
    checks.inner_loop("cavia", loss=loss, inner=inner, adjoint=adjoint)
    train = in_training(model)

    def support_loss(context, params, support, key):
        return mean_loss(loss, train(params, context, support.x, key), support)

    fit = descent(support_loss, inner, adjoint, model)

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("cavia", inner, adjoint, model.context(meta_params))
        return meta_params

    def adapt(meta_params, support, key, num_steps=num_steps):
        start = model.context(meta_params)
        context = fit(start, meta_params, filled(support), key=key, num_steps=num_steps)
        return CaviaState(repeat(meta_params, num_steps), context)

    def predict(adapted, x):
        return model.apply(adapted.params, adapted.context, x)

    return Learner(init, adapt, predict, num_steps)
