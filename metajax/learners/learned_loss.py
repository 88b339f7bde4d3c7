"""Learn the loss that adaptation descends."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend
from metajax.types import Learner, Model, Optimizer, Params, Steps


class Guided(NamedTuple):
    """Where adaptation starts, and the weights of the loss it descends."""

    start: Params
    loss: Params


def learned_loss(
    model: Model, judge: Model, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """ML3: adapt by a network's opinion of predictions and targets instead of a loss.

    The network looks at every support example alone and answers with a number above 0; adaptation
    descends the mean. It is learned, with the start, so that the true loss on the queries ends low:
    what adaptation descends need not be what is wanted, only lead there.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      judge: maps a prediction beside its target, `(n, 2 c)`, to `(n, 1)`, such as
        `mj.mlp((40, 40), start="lecun")`. Integer labels become one-hot rows; -1 are not there.
      inner: fresh on each task. Give Adam `eps_root > 0`, or a zero gradient differentiates to nan.
      num_steps: inner steps.
      adjoint: how the steps are differentiated. With `first_order` the judge is never learned, for
        it is the gradient that depends on it.

    Returns:
      A learner whose meta-parameters are `Guided(start, loss)` and whose adapted parameters are the
      model's.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> judge = mj.mlp((8,), start="lecun")
      >>> learner = mj.learned_loss(mj.mlp(), judge, optax.sgd(0.01), num_steps=1)
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 1)

    Reference: Bechtle et al., ICPR 2020, section 3 (ML3). https://arxiv.org/abs/1906.05374
    Baik, Choi, Kim, Cho, Min and Lee, ICCV 2021, for a learned start (MeTAL).
    https://arxiv.org/abs/2110.03909
    """
    own_steps = num_steps
    descend(inner, own_steps)

    def opinion(params, weights, support):
        predictions, targets = model.apply(params, support.x), support.y
        there = jnp.ones(len(targets), bool)
        if jnp.issubdtype(targets.dtype, jnp.integer):
            there = targets >= 0
            targets = jax.nn.one_hot(targets, predictions.shape[-1], dtype=predictions.dtype)
        seen = jnp.concatenate([predictions, targets], axis=-1)
        values = jax.nn.softplus(judge.apply(weights, seen)[:, 0])
        return jnp.sum(jnp.where(there, values, 0)) / jnp.maximum(jnp.sum(there), 1)

    gradient = jax.grad(opinion)

    def init(key, x):
        start_key, loss_key = jax.random.split(key)
        start = model.init(start_key, x)
        check_derivative("learned_loss", inner, adjoint, start)
        outputs = jax.eval_shape(model.apply, start, x)
        seen = jnp.zeros((1, 2 * outputs.shape[-1]), outputs.dtype)
        return Guided(start, judge.init(loss_key, seen))

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        solve = descend(inner, num_steps)
        return adjoint(solve, gradient, meta_params.start, meta_params.loss, support)

    return Learner(init, adapt, model.apply)
