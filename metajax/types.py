"""The shapes everything else is written in: plain tuples of arrays, and plain tuples of functions."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

Params: TypeAlias = Any
"""A pytree of arrays."""

Loss: TypeAlias = Callable[[Any, Any], jax.Array]
"""Predictions and targets of `n` examples to one value per example, `(n,)`, as in optax.

Where no example is masked, a scalar serves as well: the mean over `n`. A loss or metric that is no mean
over examples has an attribute `average(values, mask) -> scalar`: `mj.losses.shrunk`, `mj.ndcg`.
"""

Optimizer: TypeAlias = optax.GradientTransformation

Steps: TypeAlias = int | Sequence[int]
"""Inner steps: one number, or several, and then results are stacked along a new first axis."""


class Examples(NamedTuple):
    """Inputs `x` and targets `y`: pytrees whose leaves share a first axis of `n` examples.

    mask: `(n,)` booleans that say which examples exist; None where all do. What a masked example
      holds is never read: not its input, not its target, nan or not. What is ragged inside an
      example, such as its tokens or boxes, belongs to `x` and `y` and to the model.
    """

    x: Any
    y: Any
    mask: jax.Array | None = None


class Task(NamedTuple):
    """A support set to adapt on and a query set to be judged on.

    A batch of tasks is the same tuple with one more axis, `meta_batch`, in front of every leaf.
    """

    support: Examples
    query: Examples


class Model(NamedTuple):
    """A network as pure functions; any `(init, apply)` pair serves as one.

    init: `(key, x) -> params`, with `x` of shape `(n, ...)` read for its shape. All of `params` is
      meta-learned and adapted, so it holds trainable weights alone.
    apply: `(params, x) -> predictions` of shape `(n, ...)`, without randomness.
    train: `(params, x, key) -> predictions`, what an inner loop descends where that differs from
      `apply`: dropout, say. None where it does not.
    groups: Named groups of arrays, for learners that treat some layers in another way: each name to
      a function of `params` that returns a tree of booleans, which arrays belong to the group.
    """

    init: Callable[[jax.Array, Any], Params]
    apply: Callable[[Params, Any], Any]
    train: Callable[[Params, Any, jax.Array], Any] | None = None
    groups: Mapping[str, Callable[[Params], Any]] = MappingProxyType({})


class Learner(NamedTuple):
    """A learning algorithm as three pure functions. It never sees a query target.

    init: `(key, x) -> meta_params`, with `x` of shape `(n, ...)` read for its shape.
    adapt: `(meta_params, support, key) -> adapted`, an opaque pytree. A learner with an inner loop
      also takes `num_steps=`, other inner steps than its own: one number or several. `maml`, `anil` and
      learners made of them take `at_step=` as well, what each step reads: see `in_batches`.
    predict: `(adapted, x) -> predictions` of shape `(n, ...)`.
    num_steps: the number of inner steps; None for a learner without an inner loop.
    """

    init: Callable[[jax.Array, Any], Params]
    adapt: Callable[..., Any]
    predict: Callable[[Any, Any], Any]
    num_steps: int | None = None


class LearnedOptimizer(NamedTuple):
    """An optimiser with weights of its own, as two pure functions.

    init: `key -> weights`, the meta-parameters of an optimiser.
    build: `weights -> optax.GradientTransformation`, usable wherever optax is; differentiable by
      `weights`.
    recipe: its name in `mj.optimizers` and its settings, from which `mj.optimizers.load` makes it
      again; None for one that no name stands for.
    """

    init: Callable[[jax.Array], Params]
    build: Callable[[Params], Optimizer]
    recipe: tuple[str, Mapping[str, Any]] | None = None


class Unroll(NamedTuple):
    """An objective that shows its inner steps: a dynamical system that meta-parameters drive.

    Called as every objective is, it returns the mean loss over the horizon and the tasks. Estimators
    of truncations go inside of it. A long one is differentiated in less memory after
    `unroll._replace(advance=jax.checkpoint(unroll.advance))`.

    init: `(meta_params, task, key) -> state`, an opaque pytree of arrays.
    advance: `(meta_params, state, task, key) -> (state, loss)`, one inner step and its loss.
    horizon: the number of inner steps from the start of a task to its end.
    """

    init: Callable[[Params, Task, jax.Array], Any]
    advance: Callable[[Params, Any, Task, jax.Array], tuple[Any, jax.Array]]
    horizon: int

    def __call__(self, meta_params: Params, tasks: Task, key: jax.Array) -> jax.Array:
        """The mean loss over the horizon and over the leading axis of `tasks`."""

        def of_task(task, key):
            init_key, step_key = jax.random.split(key)

            def step(state, key):
                return self.advance(meta_params, state, task, key)

            keys = jax.random.split(step_key, self.horizon)
            _, losses = jax.lax.scan(step, self.init(meta_params, task, init_key), keys)
            return jnp.mean(losses)

        keys = jax.random.split(key, jax.tree.leaves(tasks)[0].shape[0])
        return jnp.mean(jax.vmap(of_task)(tasks, keys))


class TrainState(NamedTuple):
    """All that outer step `step` reads, together with the key of the run."""

    step: jax.Array
    meta_params: Params
    opt_state: optax.OptState
    estimator_state: Any = ()


class Metrics(NamedTuple):
    """What an outer step reports: the objective, and the global norm of its gradient."""

    loss: jax.Array
    gradient_norm: jax.Array


Sample: TypeAlias = Callable[[jax.Array], Task]
"""A task source: a key to one `Task`, inside `jit`, always of the same shapes."""

Objective: TypeAlias = Callable[[Params, Task, jax.Array], jax.Array]
"""`(meta_params, tasks, key) -> scalar`, a mean over the leading axis of `tasks`."""


class Estimate(NamedTuple):
    """How the gradient of one objective is estimated; outer steps may go on from each other.

    init: `(meta_params, tasks, key) -> estimator_state`, a pytree of arrays whose first axis is that
      of `tasks`, so that it can be split with them; `()` where nothing is kept.
    estimate: `(meta_params, estimator_state, tasks, key) -> (value, gradient, estimator_state)`.
    """

    init: Callable[[Params, Task, jax.Array], Any]
    estimate: Callable[[Params, Any, Task, jax.Array], tuple[jax.Array, Params, Any]]


Estimator: TypeAlias = Callable[[Objective], Any]
"""An objective to `(init, estimate)`, an `Estimate`. `jax.value_and_grad` serves as well: `lift`
gives its value and gradient that form."""
