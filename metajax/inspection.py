"""Inspection of hypergradients: which are zero, how exact they are, where they break, what they cost."""

from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp

from metajax import checks
from metajax.adjoints import Chosen, chosen_in
from metajax.estimators.automatic import Spread, spread
from metajax.mesh import task_mesh
from metajax.objectives import query_loss, steps_option
from metajax.ops import flops
from metajax.types import Learner, Loss, Params, Task


class Inspection(NamedTuple):
    """What `inspect` found.

    dead: The names of the meta-parameters whose hypergradient is exactly zero.
    norms: The norm of the whole hypergradient after 0, 1, ... inner steps; a single one without an
      inner loop.
    first_non_finite: The first number of inner steps with a loss or hypergradient that is not finite,
      or None.
    cosine: The cosine between this hypergradient and that of the reference, or None without one.
    gigaflop: The multiplications and additions of one hypergradient, in products and convolutions.
    temporaries_mb: The memory of the compiled hypergradient beside its inputs and outputs.
    adjoints: How inner loops are differentiated, and over how many steps.
    spread: How `fit` computes tasks like these on the devices of this process by default.
    """

    dead: tuple[str, ...]
    norms: tuple[float, ...]
    first_non_finite: int | None
    cosine: float | None
    gigaflop: float
    temporaries_mb: float
    adjoints: tuple[Chosen, ...]
    spread: Spread

    def __str__(self) -> str:
        """A line for each finding, and what to do about it."""
        norms = ", ".join(f"{norm:.3g}" for norm in self.norms)
        lines = [f"hypergradient norm by inner steps: {norms}"]
        if self.dead:
            lines.append(
                f"dead meta-parameters, whose hypergradient is exactly 0: {', '.join(self.dead)}. They "
                "will not be learned: does the adjoint ignore them, or does prediction not read them?"
            )
        else:
            lines.append("every meta-parameter has a hypergradient")
        if self.first_non_finite is not None:
            lines.append(
                f"not finite from inner step {self.first_non_finite}: lower the inner rate, or give "
                "Adam eps_root > 0"
            )
        if self.cosine is not None:
            lines.append(f"cosine with the reference's hypergradient: {self.cosine:.3f}")
        lines += [f"inner loop: {chosen}" for chosen in self.adjoints]
        lines.append(f"tasks in `fit`, by default: {self.spread}")
        lines.append(
            f"one hypergradient: {self.gigaflop:.3g} GFLOP, {self.temporaries_mb:.3g} MB of temporaries"
        )
        return "\n".join(lines)


def inspect(
    learner: Learner,
    loss: Loss,
    meta_params: Params,
    tasks: Task,
    key: jax.Array,
    *,
    num_steps: int | None = None,
    reference: Learner | None = None,
) -> Inspection:
    """Examines the hypergradient of a learner on a batch of tasks, before a long run.

    Args:
      learner: The learner to examine.
      loss: Predictions and targets of the queries to one value per example, `(n,)`.
      meta_params: From `learner.init`, or from a run. At `init` some hypergradients are zero by
        symmetry, such as that of a body below a head of zeros after no step.
      tasks: A batch of tasks, with a leading axis.
      key: The key for adapting.
      num_steps: Numbers of inner steps from 0 to this one are examined, each in a program of its own.
        By default the learner's own number.
      reference: The same learner with another adjoint, such as `first_order`, to compare with.

    Raises:
      ValueError: For a batch without tasks, and for `num_steps` with a learner without an inner loop.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> exact = mj.implicit(mj.conjugate_gradient(3))  # ignores where descent began
      >>> learner = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), 2, adjoint=exact)
      >>> key, sample = jax.random.key(0), mj.tasks.sinusoid()
      >>> tasks = jax.vmap(sample)(jax.random.split(key, 4))
      >>> meta_params = learner.init(key, tasks.support.x[0])
      >>> mj.inspect(learner, mj.mse, meta_params, tasks, key).dead[0]
      'params/Dense_0/bias'
    """
    checks.learner("inspect", learner)
    checks.loss("inspect", loss)
    checks.prng_key("inspect", key)
    if not checks.batch_size(tasks):
        raise ValueError("inspect: the batch has 0 tasks; give at least 1.")
    steps_option("inspect", learner, num_steps)
    num_steps = learner.num_steps if num_steps is None else num_steps
    if num_steps is not None:
        num_steps = checks.count("inspect", "num_steps", num_steps, least=0)
    arguments = meta_params, tasks, key

    def hypergradient(learner, steps):
        return jax.jit(jax.value_and_grad(query_loss(learner, loss, num_steps=steps)))

    objective = query_loss(learner, loss, num_steps=num_steps)
    traced = hypergradient(learner, num_steps).trace(*arguments)
    compiled = traced.lower().compile()
    found = compiled(*arguments)
    earlier = [hypergradient(learner, steps)(*arguments) for steps in range(num_steps or 0)]
    path = [(float(value), _norm(gradient)) for value, gradient in [*earlier, found]]
    broken = (i for i, pair in enumerate(path) if not all(abs(v) < float("inf") for v in pair))
    other = None if reference is None else hypergradient(reference, num_steps)(*arguments)
    memory = compiled.memory_analysis()
    return Inspection(
        dead=_dead(found[1]),
        norms=tuple(norm for _, norm in path),
        first_non_finite=next(broken, None),
        cosine=None if other is None else _cosine(found[1], other[1]),
        gigaflop=flops(traced.jaxpr) / 1e9,
        temporaries_mb=memory.temp_size_in_bytes / 1e6 if memory else float("nan"),
        adjoints=chosen_in(traced.jaxpr.jaxpr),
        spread=spread(objective, *arguments, task_mesh()),
    )


def _dead(gradient: Params) -> tuple[str, ...]:
    """The names of the arrays that are zero."""
    return tuple(
        jax.tree_util.keystr(path, simple=True, separator="/") or "the array"
        for path, leaf in jax.tree.leaves_with_path(gradient)
        if not jnp.any(leaf != 0)
    )


def _norm(tree: Params) -> float:
    return float(jnp.linalg.norm(jax.flatten_util.ravel_pytree(tree)[0]))


def _cosine(first: Params, second: Params) -> float:
    a, b = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (first, second))
    return float(a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)))
