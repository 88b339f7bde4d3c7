"""A doctor for hypergradients: what is dead, how far from exact, where it breaks, and what it costs."""

from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp

from metajax.objectives import query_loss
from metajax.ops import flops
from metajax.types import Learner, Loss, Params, Task


class Inspection(NamedTuple):
    """What `inspect` found.

    dead: names of the meta-parameters whose hypergradient is exactly zero.
    norms: of the whole hypergradient after 0, 1, ... inner steps; one number without an inner loop.
    first_non_finite: the first number of inner steps with a loss or hypergradient that is not finite,
      or None.
    cosine: between this hypergradient and that of the reference, or None without one.
    gigaflop: multiplications and additions of one hypergradient, in products and convolutions.
    temporaries_mb: what the compiled hypergradient holds beside its inputs and outputs, on a device.
    """

    dead: tuple[str, ...]
    norms: tuple[float, ...]
    first_non_finite: int | None
    cosine: float | None
    gigaflop: float
    temporaries_mb: float

    def __str__(self) -> str:
        """A line for each finding, and what to do about it."""
        norms = ", ".join(f"{norm:.3g}" for norm in self.norms)
        lines = [f"hypergradient norm by inner steps: {norms}"]
        if self.dead:
            lines.append(
                f"dead meta-parameters, of hypergradient exactly 0: {', '.join(self.dead)}. They will "
                "not be learned: does the adjoint forget them, or does prediction not read them?"
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
    """Examine the hypergradient of a learner on a batch of tasks, before a long run.

    Args:
      learner: to examine.
      loss: predictions and targets of the query set to a scalar.
      meta_params: from `learner.init`, or of a run. At `init` some hypergradients are zero by
        symmetry, as that of a body below a head of zeros after no step.
      tasks: a batch, with a leading axis.
      key: for adapting.
      num_steps: the inner steps to look at, from 0 to this; None for a learner without an inner loop.
      reference: the same learner with another adjoint, such as `first_order`, to compare with.

    Raises:
      ValueError: where there is no task.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> exact = mj.implicit(mj.conjugate_gradient(3))  # forgets where descent began
      >>> learner = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.01), 2, adjoint=exact)
      >>> key, sample = jax.random.key(0), mj.tasks.sinusoid()
      >>> tasks = jax.vmap(sample)(jax.random.split(key, 4))
      >>> meta_params = learner.init(key, tasks.support.x[0])
      >>> len(mj.inspect(learner, mj.mse, meta_params, tasks, key).dead)
      4
    """

    if not jax.tree.leaves(tasks)[0].shape[0]:
        raise ValueError("inspect: the batch has 0 tasks; give 1 or more.")

    def hypergradient(learner, steps):
        objective = query_loss(learner, loss, num_steps=steps)
        return jax.jit(jax.value_and_grad(objective))

    traced = hypergradient(learner, num_steps).trace(meta_params, tasks, key)
    compiled = traced.lower().compile()
    value, gradient = compiled(meta_params, tasks, key)
    named = jax.tree.leaves_with_path(gradient)
    dead = tuple(jax.tree_util.keystr(path) for path, leaf in named if not jnp.any(leaf != 0))
    values, norms = [], []
    for steps in [None] if num_steps is None else range(num_steps + 1):
        same = steps == num_steps
        v, g = (value, gradient) if same else hypergradient(learner, steps)(meta_params, tasks, key)
        values.append(float(v))
        norms.append(float(jnp.linalg.norm(jax.flatten_util.ravel_pytree(g)[0])))
    broken = (i for i, pair in enumerate(zip(values, norms, strict=True)) if not _finite(*pair))
    cosine = None
    if reference is not None:
        ours = jax.flatten_util.ravel_pytree(gradient)[0]
        _, other = hypergradient(reference, num_steps)(meta_params, tasks, key)
        theirs = jax.flatten_util.ravel_pytree(other)[0]
        cosine = float(ours @ theirs / (jnp.linalg.norm(ours) * jnp.linalg.norm(theirs)))
    memory = compiled.memory_analysis()
    return Inspection(
        dead=dead,
        norms=tuple(norms),
        first_non_finite=next(broken, None),
        cosine=cosine,
        gigaflop=flops(traced.jaxpr) / 1e9,
        temporaries_mb=memory.temp_size_in_bytes / 1e6 if memory else float("nan"),
    )


def _finite(*values: float) -> bool:
    return all(abs(value) < float("inf") for value in values)
