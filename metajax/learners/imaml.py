"""Learn the centre that each task's optimum is held close to, differentiated where it ends."""

import jax
import optax

from metajax.adjoints import Adjoint, check_derivative, conjugate_gradient, implicit
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def imaml(
    model: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    strength: float,
    adjoint: Adjoint | None = None,
) -> Learner:
    """Implicit MAML: tasks minimise `loss + strength/2 * |params - meta_params|^2`.

    The hypergradient needs the solution alone, not the way to it: memory does not grow with
    `num_steps`, and any inner optimiser serves, differentiable or not.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      inner: comes close to the minimum in `num_steps`; the hypergradient is that of the minimum.
      num_steps: inner steps, from the centre.
      strength: of the pull to the centre, the paper's lambda. It must outweigh the negative
        curvature of `loss`, or there is no minimum to differentiate.
      adjoint: by default `implicit(conjugate_gradient(5))`, as in the paper. Where the inner loop ends
        short of a minimum, as a few steps on a network do, give it a `damping`, as the authors' code does.

    Raises:
      ValueError: for a `strength` of 0 or less; from `init`, for an `adjoint` that differentiates steps
        and an inner optimiser whose derivative is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.imaml(line, mj.mse, optax.sgd(0.1), num_steps=100, strength=2.0)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> round(float(learner.adapt(jnp.ones(()), support, jax.random.key(0))), 4)  # (3 + 1) / 2
      2.0

    Reference: Rajeswaran, Finn, Kakade and Levine, NeurIPS 2019, sections 2.2 and 3.
    https://arxiv.org/abs/1909.04630
    """
    if strength <= 0:
        raise ValueError(
            f"imaml: strength={strength}; it is above 0, for without a pull to the centre the "
            "minimum does not depend on it and the hypergradient is 0."
        )
    own_steps = num_steps
    descend(inner, own_steps)
    chosen = implicit(conjugate_gradient(5)) if adjoint is None else adjoint

    @jax.grad
    def gradient(params, centre, support):
        gap = jax.tree.map(lambda p, c: p - c, params, centre)
        pull = strength / 2 * optax.tree.norm(gap, squared=True)
        return loss(model.apply(params, support.x), support.y) + pull

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("imaml", inner, chosen, meta_params)
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        return chosen(descend(inner, num_steps), gradient, meta_params, meta_params, support)

    return Learner(init, adapt, model.apply)
