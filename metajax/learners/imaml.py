"""Implicit MAML (iMAML): a centre that attracts every task's optimum, which is differentiated there."""

import jax
import optax

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, conjugate_gradient, implicit
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Optimizer


def imaml(
    model: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    strength: float,
    adjoint: Adjoint | None = None,
) -> Learner:
    """Learns the centre of a quadratic penalty: tasks minimise `loss + strength/2 |params - centre|^2`.

    The hypergradient depends on the minimum alone and not on the path to it. Memory does not grow
    with `num_steps`, and the inner optimiser need not be differentiable.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation that comes close to the minimum in `num_steps`; the
        hypergradient is that of the minimum.
      num_steps: Number of inner steps, from the centre.
      strength: The weight of the penalty, the paper's lambda. It must outweigh the negative curvature
        of `loss`, or there is no minimum to differentiate.
      adjoint: By default `implicit(conjugate_gradient(5))`, as in the paper. Where the inner loop
        ends before a minimum, as a few steps on a network do, give it a `damping`, as the authors'
        code does.

    Returns:
      A learner whose meta-parameters and adapted parameters are those of `model`.

    Raises:
      ValueError: If `strength` is not above 0, or `num_steps` is negative; from `init`, for an
        `adjoint` that differentiates steps and an inner optimiser whose derivative is nan where a
        gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.imaml(line, mj.mse, optax.sgd(0.1), num_steps=100, strength=2.0)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> round(float(learner.adapt(jnp.ones(()), support, jax.random.key(0))), 4)  # (3 + 1) / 2
      2.0

    Reference:
      Rajeswaran, Finn, Kakade and Levine, NeurIPS 2019, sections 2.2 and 3.
      https://arxiv.org/abs/1909.04630
    """
    model = checks.as_model("imaml", model)
    num_steps = checks.count("imaml", "num_steps", num_steps, least=0)
    checks.inner_loop("imaml", loss=loss, inner=inner, adjoint=adjoint)
    checks.positive(
        "imaml", "strength", strength
    )  # without a penalty nothing depends on the centre
    adjoint = implicit(conjugate_gradient(5)) if adjoint is None else adjoint
    train = in_training(model)

    def penalised_loss(params, centre, support, key):
        gap = jax.tree.map(lambda p, c: p - c, params, centre)
        penalty = strength / 2 * optax.tree.norm(gap, squared=True)
        return mean_loss(loss, train(params, support.x, key), support) + penalty

    fit = descent(penalised_loss, inner, adjoint, model)

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("imaml", inner, adjoint, meta_params)
        return meta_params

    def adapt(meta_params, support, key, num_steps=num_steps):
        return fit(meta_params, meta_params, filled(support), key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)
