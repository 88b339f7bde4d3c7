"""Warped gradient descent: layers that warp the gradients of the others, and are frozen in a task."""

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import repeat
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.trees import group, partition
from metajax.types import Learner, Loss, Model, Optimizer


def warp(
    model: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    frozen: str,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Learns an initialisation, and warp layers that are meta-learned but frozen in the inner loop.

    These are T-Nets, in the form of warped gradient descent. In `y = W V x` with the warp layer `W`
    frozen, a step of rate `a` on `V` moves `W V` by `-a W W' g` for the gradient `g` of `W V`: the
    matrix `W W'` preconditions descent, and is meta-learned.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`, with warp layers among its layers.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation of the other layers, re-initialised for every task.
      num_steps: Number of inner steps.
      frozen: The name of one of `model.groups`: the arrays of the warp layers.
      adjoint: How the inner loop is differentiated.

    Returns:
      A learner whose meta-parameters and adapted parameters are those of `model`.

    Raises:
      ValueError: If `num_steps` is negative, or the model has no group of that name; from `init`, for
        a group of no array or of all, and for an inner optimiser whose hypergradient is nan where a
        gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(
      ...     init=lambda key, x: {"v": jnp.zeros(()), "w": jnp.full((), 2.0)},
      ...     apply=lambda params, x: params["w"] * params["v"] * x,
      ...     groups={"warp layers": lambda params: {"v": False, "w": True}},
      ... )
      >>> learner = mj.warp(line, mj.mse, optax.sgd(0.125), num_steps=1, frozen="warp layers")
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> float(adapted["v"]), float(adapted["w"])  # the product of both moves to 3 at once
      (1.5, 2.0)

    Reference:
      Lee and Choi, ICML 2018, section 3 (T-Nets). https://arxiv.org/abs/1801.05558
      Flennerhag et al., ICLR 2020, section 2. https://arxiv.org/abs/1909.00025
    """
    model = checks.as_model("warp", model)
    num_steps = checks.count("warp", "num_steps", num_steps, least=0)
    checks.inner_loop("warp", loss=loss, inner=inner, adjoint=adjoint)
    chosen = group("warp", "frozen", model, frozen)
    train = in_training(model)

    def init(key, x):
        params = model.init(key, x)
        moved, _, _ = partition(params, chosen(params))
        check_derivative("warp", inner, adjoint, moved)
        return params

    def adapt(meta_params, support, key, num_steps=num_steps):
        moved, warps, join = partition(meta_params, chosen(meta_params))

        def support_loss(moved, warps, support, key):
            return mean_loss(loss, train(join(moved, warps), support.x, key), support)

        fit = descent(support_loss, inner, adjoint, model)
        moved = fit(moved, warps, filled(support), key=key, num_steps=num_steps)
        return join(moved, repeat(warps, num_steps))

    return Learner(init, adapt, model.apply, num_steps)
