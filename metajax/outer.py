"""The outer loop's step: an objective, an optax optimiser and an estimator become one update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from metajax.estimators.stateful import stateful
from metajax.objectives import Annealed
from metajax.types import Estimator, Metrics, Objective, Optimizer, Stateful, Task, TrainState

Init = Callable[..., TrainState]
Update = Callable[[TrainState, Task, jax.Array], tuple[TrainState, Metrics]]


def outer_step(
    objective: Objective | Annealed,
    optimizer: Optimizer,
    estimator: Estimator = jax.value_and_grad,
) -> tuple[Init, Update]:
    """An optax-like pair that improves meta-parameters on a batch of tasks.

    Args:
      objective: `(meta_params, tasks, key) -> scalar`, such as `query_loss(learner, loss)`, or
        `Annealed`, which gives one for each step.
      optimizer: any optax transformation.
      estimator: shaped like `jax.value_and_grad`, such as `chunked(4)`, or one that keeps a state
        between outer steps, such as `persistent_evolution(10, 4, 0.01)` of an `Unroll`.

    Returns:
      `init(meta_params) -> state` and `update(state, tasks, key) -> (state, metrics)`. `update` is
      compiled, and pure: it can be called inside `jit`, `scan` or `vmap`. With an estimator that
      keeps a state it is `init(meta_params, tasks, key)`, of a first batch of tasks.

    Raises:
      ValueError: from `init` without tasks, for an estimator that keeps a state.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.maml(line, mj.mse, optax.sgd(0.25), num_steps=1)
      >>> init, update = mj.outer_step(mj.query_loss(learner, mj.mse), optax.sgd(1.0))
      >>> one = jnp.ones((2, 1))
      >>> tasks = mj.Task(support=mj.Examples(one, 3 * one), query=mj.Examples(one, one))
      >>> state, metrics = update(init(jnp.zeros(())), tasks, jax.random.key(0))
      >>> float(state.meta_params), float(metrics.loss), int(state.step)
      (-0.5, 0.25, 1)
    """
    annealed = objective if isinstance(objective, Annealed) else Annealed(lambda step: objective)

    def init(meta_params, tasks=None, key=None):
        first = first_estimate(objective, estimator)
        estimator_state = ()
        if isinstance(first, Stateful):
            if tasks is None or key is None:
                raise ValueError(
                    "outer_step: this estimator keeps a state between outer steps, and begins it on "
                    "tasks; call init(meta_params, tasks, key) with a first batch of them."
                )
            estimator_state = first.init(meta_params, tasks, key)
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, meta_params, optimizer.init(meta_params), estimator_state)

    @jax.jit
    def update(state, tasks, key):
        _, estimate = stateful(estimator(annealed.at(state.step)))
        loss, gradient, estimator_state = estimate(
            state.meta_params, state.estimator_state, tasks, key
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.meta_params)
        meta_params = optax.apply_updates(state.meta_params, updates)
        metrics = Metrics(loss, optax.tree.norm(gradient))
        return TrainState(state.step + 1, meta_params, opt_state, estimator_state), metrics

    return init, update


def first_estimate(objective: Objective | Annealed, estimator: Estimator) -> Any:
    """What the estimator makes of the objective in outer step 0: a function, or a `Stateful`.

    Example:
      >>> import jax
      >>> square = lambda meta_params, tasks, key: meta_params**2
      >>> [float(part) for part in first_estimate(square, jax.value_and_grad)(3.0, (), ())]
      [9.0, 6.0]
    """
    if isinstance(objective, Annealed):
        objective = objective.at(jnp.zeros((), jnp.int32))
    return estimator(objective)
