"""Training a model by a learned optimiser, as a system of inner steps that its weights drive."""

from typing import Any, Literal, NamedTuple

import jax
import optax

from metajax.names import choose
from metajax.types import LearnedOptimizer, Loss, Model, Params, Unroll


class Training(NamedTuple):
    """A model in training: its weights, and the state of what trains it."""

    params: Params
    opt_state: Any


def unroll(
    model: Model,
    loss: Loss,
    optimizer: LearnedOptimizer,
    horizon: int,
    *,
    judged_on: Literal["support", "query"] = "query",
) -> Unroll:
    """Train a fresh model on each task's support set; the meta-parameters are the optimiser's weights.

    Any estimator takes it: `jax.value_and_grad` through all steps, `evolution` around them,
    `truncated_backprop` and `persistent_evolution` a few steps at a time.

    Args:
      model: initialised anew for each task.
      loss: predictions and targets to a scalar, the mean over `n`; what the optimiser descends.
      optimizer: `build(weights)` is the optax transformation that trains. Give it an `eps_root`
        where it divides by a root, or a zero gradient differentiates to nan.
      horizon: inner steps on a task.
      judged_on: the set whose loss after each inner step counts: "support" for fast optimisation,
        "query" for generalisation.

    Raises:
      ValueError: for fewer than 1 inner step, or another set.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> rate = mj.LearnedOptimizer(lambda key: jnp.array(0.1), optax.sgd)
      >>> objective = mj.unroll(line, mj.mse, rate, horizon=2)
      >>> tasks = mj.Task(*2 * [mj.Examples(x=jnp.ones((1, 1)), y=jnp.full((1, 1), 2.0))])
      >>> float(objective(jnp.array(0.25), tasks, jax.random.key(0)))  # of 1 and 1/2 away: 1 and 1/4
      0.625

    Reference: Andrychowicz et al., NeurIPS 2016, section 2. https://arxiv.org/abs/1606.04474
    """
    choose("unroll", "judged_on", judged_on, ("support", "query"))
    if horizon < 1:
        raise ValueError(f"unroll: horizon={horizon}; a task takes 1 inner step or more.")

    def loss_on(params, examples):
        return loss(model.apply(params, examples.x), examples.y)

    def init(meta_params, task, key):
        params = model.init(key, task.support.x)
        return Training(params, optimizer.build(meta_params).init(params))

    def advance(meta_params, state, task, key):
        del key  # full-batch descent draws nothing
        gradient = jax.grad(loss_on)(state.params, task.support)
        inner = optimizer.build(meta_params)
        updates, opt_state = inner.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return Training(params, opt_state), loss_on(params, getattr(task, judged_on))

    return Unroll(init, advance, horizon)
