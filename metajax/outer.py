"""The outer loop's step: an objective, an optax optimiser and an estimator become one update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.estimators.lift import lift
from metajax.objectives import Annealed
from metajax.types import Estimator, Metrics, Objective, Optimizer, Task, TrainState

Init = Callable[..., TrainState]
Update = Callable[[TrainState, Task, jax.Array], tuple[TrainState, Metrics]]


def outer_step(
    objective: Objective | Annealed,
    optimizer: Optimizer,
    estimator: Estimator = jax.value_and_grad,
) -> tuple[Init, Update]:
    """Returns an optax-like pair that improves meta-parameters on a batch of tasks.

    Args:
      objective: `(meta_params, tasks, key) -> scalar`, such as `query_loss(learner, loss)`, or
        `Annealed`, which gives one for each step.
      optimizer: Any optax transformation, those included that also read the value of the objective,
        such as `optax.lbfgs` and `optax.contrib.reduce_on_plateau`.
      estimator: `objective -> (init, estimate)`, such as `chunked(4)`, or shaped like
        `jax.value_and_grad`.

    Returns:
      `init(meta_params) -> state` and `update(state, tasks, key) -> (state, metrics)`. `update` is
      compiled, and pure: it can be called inside `jit`, `scan` or `vmap`. With an estimator that
      keeps a state, such as `persistent_evolution` of an `Unroll`, the first is
      `init(meta_params, tasks, key)`, of a first batch of tasks.

    Raises:
      ValueError: From `init` without tasks, for an estimator that keeps a state.

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
    checks.optimizer("outer_step", "optimizer", optimizer)
    estimator, optimizer = lift(estimator), optax.with_extra_args_support(optimizer)

    def init(meta_params, tasks=None, key=None):
        step = jnp.zeros((), jnp.int32)
        estimator_state = estimator(annealed.at(step)).init(meta_params, tasks, key)
        return TrainState(step, meta_params, optimizer.init(meta_params), estimator_state)

    @jax.jit
    def update(state, tasks, key):
        objective = annealed.at(state.step)
        loss, gradient, estimator_state = estimator(objective).estimate(
            state.meta_params, state.estimator_state, tasks, key
        )
        updates, opt_state = optimizer.update(
            gradient,
            state.opt_state,
            state.meta_params,
            value=loss,
            grad=gradient,
            value_fn=lambda meta_params: objective(meta_params, tasks, key),
        )
        meta_params = optax.apply_updates(state.meta_params, updates)
        metrics = Metrics(loss, optax.tree.norm(gradient))
        return TrainState(state.step + 1, meta_params, opt_state, estimator_state), metrics

    return init, update
