"""Learned losses (ML3): the loss that adaptation descends is meta-learned."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.learners.parts import descent, in_training, split
from metajax.masks import filled, masked_mean
from metajax.types import Learner, Model, Optimizer, Params


class LearnedLossParams(NamedTuple):
    """Where adaptation starts, and the weights of the loss that it descends."""

    start: Params
    loss: Params


def learned_loss(
    model: Model, loss_net: Model, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """Learns a network that takes the place of the inner loss, together with the initialisation.

    The loss network reads the prediction and the target of one support example and returns a number
    above 0; adaptation descends the mean. It is learned so that the true loss on the queries ends
    low.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss_net: Maps predictions beside targets, `(n, 2 c)`, to `(n, 1)`, such as
        `mj.mlp((40, 40), start="lecun")`. Integer labels become one-hot rows.
      inner: Any optax transformation, re-initialised for every task. Give Adam `eps_root > 0`, or a
        zero gradient differentiates to nan.
      num_steps: Number of inner steps.
      adjoint: How the inner loop is differentiated. `first_order` never learns the loss network,
        because only gradients depend on it.

    Returns:
      A learner whose meta-parameters are `LearnedLossParams(start, loss)` and whose adapted
      parameters are those of `model`.

    Raises:
      ValueError: If `num_steps` is negative; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> loss_net = mj.mlp((8,), start="lecun")
      >>> learner = mj.learned_loss(mj.mlp(), loss_net, optax.sgd(0.01), num_steps=1)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference:
      Bechtle et al., ICPR 2020, section 3 (ML3). https://arxiv.org/abs/1906.05374
      Baik, Choi, Kim, Cho, Min and Lee, ICCV 2021, for a learned start (MeTAL).
      https://arxiv.org/abs/2110.03909
    """
    model = checks.as_model("learned_loss", model)
    loss_net = checks.as_model("learned_loss", loss_net)
    num_steps = checks.count("learned_loss", "num_steps", num_steps, least=0)
    checks.inner_loop("learned_loss", inner=inner, adjoint=adjoint)
    train, value = in_training(model), in_training(loss_net)

    def support_loss(params, weights, support, key):
        model_key, loss_key = split(key)
        pairs = _beside_targets(train(params, support.x, model_key), support.y)
        values = jax.nn.softplus(value(weights, pairs, loss_key)[:, 0])
        return masked_mean(values, support.mask)

    fit = descent(support_loss, inner, adjoint, model, loss_net)

    def init(key, x):
        start_key, loss_key = jax.random.split(key)
        start = model.init(start_key, x)
        check_derivative("learned_loss", inner, adjoint, start)
        outputs = jax.eval_shape(model.apply, start, x)
        pairs = jnp.zeros((1, 2 * outputs.shape[-1]), outputs.dtype)
        return LearnedLossParams(start, loss_net.init(loss_key, pairs))

    def adapt(meta_params, support, key, num_steps=num_steps):
        start, weights = meta_params
        return fit(start, weights, filled(support), key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)


def _beside_targets(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Predictions `(n, c)` and targets in one array `(n, 2 c)`."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        targets = jax.nn.one_hot(targets, predictions.shape[-1], dtype=predictions.dtype)
    return jnp.concatenate([predictions, targets], axis=-1)
