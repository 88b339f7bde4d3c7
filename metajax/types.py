"""The shapes everything else is written in: plain tuples of arrays, and plain tuples of functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import optax

Params: TypeAlias = Any
"""A pytree of arrays."""

Loss: TypeAlias = Callable[[Any, Any], jax.Array]
"""Predictions and targets of `n` examples to a scalar, the mean over `n`."""

Optimizer: TypeAlias = optax.GradientTransformation

Steps: TypeAlias = int | Sequence[int]
"""Inner steps: one number, or several, and then results are stacked along a new first axis."""


class Examples(NamedTuple):
    """Inputs `x` and targets `y`: pytrees whose leaves share a first axis of `n` examples."""

    x: Any
    y: Any


class Task(NamedTuple):
    """A support set to adapt on and a query set to be judged on.

    A batch of tasks is the same tuple with one more axis, `meta_batch`, in front of every leaf.
    """

    support: Examples
    query: Examples


class Model(NamedTuple):
    """Any `(init, apply)` pair; a flax linen module `net` fits as `Model(net.init, net.apply)`.

    init: `(key, x) -> params`, with `x` of shape `(n, ...)` read for its shape.
    apply: `(params, x) -> predictions` of shape `(n, ...)`.
    """

    init: Callable[[jax.Array, Any], Params]
    apply: Callable[[Params, Any], Any]


class Learner(NamedTuple):
    """A learning algorithm as three pure functions. It never sees a query target.

    init: `(key, x) -> meta_params`, with `x` of shape `(n, ...)` read for its shape.
    adapt: `(meta_params, support, key) -> adapted`, an opaque pytree. With an inner loop it also
      takes `num_steps=`, other inner steps than its own; without one it lacks the argument.
    predict: `(adapted, x) -> predictions` of shape `(n, ...)`.
    """

    init: Callable[[jax.Array, Any], Params]
    adapt: Callable[..., Any]
    predict: Callable[[Any, Any], Any]


class LearnedOptimizer(NamedTuple):
    """An optimiser with weights of its own, as two pure functions.

    init: `key -> weights`, the meta-parameters of an optimiser.
    build: `weights -> optax.GradientTransformation`, usable wherever optax is; differentiable by
      `weights`.
    recipe: its name in `mj.optimizers` and its settings, from which `mj.load` makes it again; None
      for one that no name stands for.
    """

    init: Callable[[jax.Array], Params]
    build: Callable[[Params], Optimizer]
    recipe: tuple[str, Mapping[str, Any]] | None = None


class TrainState(NamedTuple):
    """All that outer step `step` reads, together with the key of the run."""

    step: jax.Array
    meta_params: Params
    opt_state: optax.OptState


class Metrics(NamedTuple):
    """What an outer step reports: the objective, and the global norm of its gradient."""

    loss: jax.Array
    gradient_norm: jax.Array


Sample: TypeAlias = Callable[[jax.Array], Task]
"""A task source: a key to one `Task`, inside `jit`, always of the same shapes."""

Objective: TypeAlias = Callable[[Params, Task, jax.Array], jax.Array]
"""`(meta_params, tasks, key) -> scalar`, a mean over the leading axis of `tasks`."""

Estimator: TypeAlias = Callable[
    [Objective], Callable[[Params, Task, jax.Array], tuple[jax.Array, Params]]
]
"""An objective to a function that returns its value and its gradient."""
