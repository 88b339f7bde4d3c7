"""Training a model by a learned optimiser, as a system of inner steps that its weights drive."""

from typing import Any, Literal, NamedTuple

import jax
import optax

from metajax import checks
from metajax.inner import checked_update
from metajax.learners.parts import in_training
from metajax.masks import filled, mean_loss
from metajax.names import choose
from metajax.types import LearnedOptimizer, Loss, Model, Params, Unroll


class UnrollState(NamedTuple):
    """A model in training: its weights, and the state of its optimiser."""

    params: Params
    opt_state: Any


def unroll(
    model: Model,
    loss: Loss,
    optimizer: LearnedOptimizer,
    horizon: int,
    *,
    loss_on: Literal["support", "query"] = "query",
) -> Unroll:
    """Trains a fresh model on each task's support set; the meta-parameters are the optimiser's weights.

    Any estimator takes it: `jax.value_and_grad` through all steps, `evolution` around them,
    `truncated_backprop` and `persistent_evolution` a few steps at a time.

    Args:
      model: A model that is initialised for each task. Its dropout is drawn in every step.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`, whose mean
        the optimiser descends. Masked examples are ignored.
      optimizer: `build(weights)` is the optax transformation that trains. Give it an `eps_root`
        where it divides by a root, or a zero gradient differentiates to nan.
      horizon: Number of inner steps on a task.
      loss_on: The set whose loss after each inner step is the objective: "support" for fast
        optimisation, "query" for generalisation.

    Raises:
      ValueError: If `horizon` is below 1, or for another set; when traced, for an optimiser that
        needs the value of the loss.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> rate = mj.LearnedOptimizer(lambda key: jnp.array(0.1), optax.sgd)
      >>> objective = mj.unroll(line, mj.mse, rate, horizon=2)
      >>> tasks = mj.Task(*2 * [mj.Examples(x=jnp.ones((1, 1)), y=jnp.full((1, 1), 2.0))])
      >>> float(objective(jnp.array(0.25), tasks, jax.random.key(0)))  # of 1 and 1/2 away: 1 and 1/4
      0.625

    Reference:
      Andrychowicz et al., NeurIPS 2016, section 2. https://arxiv.org/abs/1606.04474
    """
    model = checks.as_model("unroll", model)
    horizon = checks.count("unroll", "horizon", horizon)
    choose("unroll", "loss_on", loss_on, ("support", "query"))
    train = in_training(model)

    def training_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    def init(meta_params, task, key):
        params = model.init(key, task.support.x)
        return UnrollState(params, optimizer.build(meta_params).init(params))

    def advance(meta_params, state, task, key):
        gradient = jax.grad(training_loss)(state.params, filled(task.support), key)
        inner = optimizer.build(meta_params)
        updates, opt_state = checked_update(
            "unroll", inner, gradient, state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        examples = filled(getattr(task, loss_on))
        value = mean_loss(loss, model.apply(params, examples.x), examples)
        return UnrollState(params, opt_state), value

    return Unroll(init, advance, horizon)
