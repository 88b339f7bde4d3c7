"""Meta-Curvature: an initialisation and a linear map that every gradient goes through."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.adjoints import Adjoint
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Params


class MetaCurvatureParams(NamedTuple):
    """Where adaptation starts, and for each of its arrays a matrix for each of its axes."""

    start: Params
    maps: Params


def meta_curvature(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint | None = None
) -> Learner:
    """Learns an initialisation and matrices that multiply every gradient along each of its axes.

    A kernel `(kh, kw, c, features)` has three axes: the positions of the window, inputs and outputs.
    Each matrix starts as the identity, so that the inner loop starts as SGD. This is the paper's MC2.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      num_steps: Number of inner steps.
      rate: The inner learning rate, which is not learned; the matrices scale it.
      adjoint: How the inner loop is differentiated, by default `unrolled` for one step and
        `mixed_mode` for more.

    Returns:
      A learner whose meta-parameters are `MetaCurvatureParams(start, maps)` and whose adapted
      parameters are those of `model`.

    Raises:
      ValueError: If `num_steps` is negative, or `rate` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.meta_curvature(mj.conv4(5), mj.cross_entropy, num_steps=1, rate=0.4)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((5, 28, 28, 1)))
      >>> [m.shape for m in meta_params.maps["params"]["Conv_1"]["kernel"]]
      [(9, 9), (64, 64), (64, 64)]

    Reference:
      Park and Oliva, NeurIPS 2019, section 3. https://arxiv.org/abs/1902.03356
    """
    model = checks.as_model("meta_curvature", model)
    num_steps = checks.count("meta_curvature", "num_steps", num_steps, least=0)
    checks.inner_loop("meta_curvature", loss=loss, adjoint=adjoint)
    checks.positive("meta_curvature", "rate", rate)
    train = in_training(model)

    def support_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    def init(key, x):
        start = model.init(key, x)
        maps = jax.tree.map(lambda leaf: [jnp.eye(d, dtype=leaf.dtype) for d in _axes(leaf)], start)
        return MetaCurvatureParams(start, maps)

    def adapt(meta_params, support, key, num_steps=num_steps):
        def step(gradient, maps):
            return -rate * _mapped(gradient, maps)

        inner = optax.stateless(lambda g, _: jax.tree.map(step, g, meta_params.maps))
        fit = descent(support_loss, inner, adjoint, model)
        return fit(meta_params.start, filled(support), key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)


def _mapped(gradient: jax.Array, maps: list[jax.Array]) -> jax.Array:
    """A gradient multiplied by a matrix along each of its axes."""
    mapped = gradient.reshape(_axes(gradient))
    for axis, matrix in enumerate(maps):
        mapped = jnp.moveaxis(jnp.tensordot(matrix, mapped, (1, axis)), 0, axis)
    return mapped.reshape(gradient.shape)


def _axes(array: jax.Array) -> tuple[int, ...]:
    """Inputs and outputs, with all axes before them as one."""
    return (*((math.prod(array.shape[:-2]),) if array.ndim > 2 else ()), *array.shape[-2:])
