"""Learned optimisers inside a learner: the rule that adapts is meta-learned."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.inner import descend
from metajax.types import LearnedOptimizer, Learner, Optimizer, Params


class LearnedParams(NamedTuple):
    """The meta-parameters of the learner inside, and the weights of its optimiser."""

    learner: Params
    optimizer: Params


def learned(make: Callable[[Optimizer], Learner], optimizer: LearnedOptimizer) -> Learner:
    """Learns the inner optimiser of a learner, together with whatever that learner meta-learns.

    Around `from_scratch` only the optimiser is learned, on a fresh start in every task: learning to
    learn by gradient descent. Around `maml` it is learned together with the start: Meta-LSTM.

    Args:
      make: An inner optimiser to a learner, such as
        `lambda inner: mj.from_scratch(model, loss, inner, num_steps, adjoint=mj.first_order)`. With
        the adjoint `first_order` gradients are constants, as Andrychowicz et al. take them; `remat`
        and `mixed_mode` are exact and keep only the parameters and the optimiser's state of every
        step. `implicit` learns nothing, because a minimum does not depend on the path to it.
      optimizer: A learned optimiser, such as `mj.optimizers.lstm()`.

    Returns:
      A learner whose meta-parameters are `LearnedParams(learner, optimizer)`, and which adapts and
      predicts as the one that `make` returns.

    Raises:
      ValueError: From `init`, for an optimiser that needs the value of the loss, or whose derivative
        by its weights is nan where a gradient is exactly zero, and whatever the learner's own `init`
        raises.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> sgd = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 0.5})
      >>> learner = mj.learned(lambda inner: mj.maml(line, mj.mse, inner, num_steps=1), sgd)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))
      3.0

    Reference:
      Andrychowicz et al., NeurIPS 2016, section 2. https://arxiv.org/abs/1606.04474
      Ravi and Larochelle, ICLR 2017, section 3. https://openreview.net/forum?id=rJY0-Kcll
    """
    if not isinstance(optimizer, LearnedOptimizer):
        raise ValueError(
            f"learned: optimizer is a {type(optimizer).__name__}, not a learned optimiser such as "
            "mj.optimizers.mlp()."
        )
    any_optimizer = make(optax.identity())

    def init(key, x):
        learner_key, optimizer_key = jax.random.split(key)
        # Learners try their optimiser on numbers, and there are none while `init` is being traced.
        with jax.ensure_compile_time_eval():
            some_weights = optimizer.init(jax.random.key(0))
            _check_derivative(optimizer, some_weights)
            inner = make(optimizer.build(some_weights))
        return LearnedParams(inner.init(learner_key, x), optimizer.init(optimizer_key))

    def adapt(meta_params, support, key, **options):
        inner = make(optimizer.build(meta_params.optimizer))
        return inner.adapt(meta_params.learner, support, key, **options)

    return Learner(init, adapt, any_optimizer.predict, any_optimizer.num_steps)


def _check_derivative(optimizer: LearnedOptimizer, weights: Params) -> None:
    """Checks that one step is differentiable by the optimiser's weights at a zero gradient."""

    def probe(weights):
        return jnp.sum(descend(optimizer.build(weights), 1)(lambda w: 0 * w, jnp.zeros(1)))

    derivatives = jax.tree.leaves(jax.jit(jax.grad(probe))(weights))
    if not all(bool(np.isfinite(leaf).all()) for leaf in derivatives):
        raise ValueError(
            "learned: the derivative of one step by the optimiser's weights is nan where a "
            "gradient is exactly zero, and ReLU networks have such gradients; Adam and RMSProp "
            "divide by sqrt(0). Give it eps_root > 0, as in mj.optimizers.hyperparameters("
            'optax.adam, positive={"learning_rate": 1e-3}, eps_root=1e-8).'
        )
