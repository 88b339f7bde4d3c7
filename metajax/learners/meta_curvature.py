"""Learn an initialisation and a linear map that every gradient goes through."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Params, Steps


class Curvature(NamedTuple):
    """Where adaptation starts, and for each of its arrays a matrix for each of its axes."""

    start: Params
    maps: Params


def meta_curvature(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint = unrolled
) -> Learner:
    """Meta-Curvature (MC2): a gradient is multiplied along each axis by a meta-learned matrix.

    A kernel `(kh, kw, c, features)` has three axes, the window's positions, inputs and outputs; each
    matrix begins as the identity, and descent is SGD at first.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      num_steps: inner steps.
      rate: of descent, fixed; the matrices scale it.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters are `Curvature(start, maps)` and whose adapted parameters are
      the model's.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.meta_curvature(mj.conv4(5), mj.cross_entropy, num_steps=1, rate=0.4)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones((5, 28, 28, 1)))
      >>> [m.shape for m in meta_params.maps["params"]["Conv_1"]["kernel"]]
      [(9, 9), (64, 64), (64, 64)]

    Reference: Park and Oliva, NeurIPS 2019, section 3. https://arxiv.org/abs/1902.03356
    """
    own_steps = num_steps
    descend(optax.identity(), own_steps)
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def init(key, x):
        start = model.init(key, x)
        return Curvature(start, jax.tree.map(lambda p: [jnp.eye(d) for d in _axes(p)], start))

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key

        def bend(gradient, maps):
            bent = gradient.reshape(_axes(gradient))
            for axis, matrix in enumerate(maps):
                bent = jnp.moveaxis(jnp.tensordot(matrix, bent, (1, axis)), 0, axis)
            return -rate * bent.reshape(gradient.shape)

        inner = optax.stateless(lambda g, _: jax.tree.map(bend, g, meta_params.maps))
        return adjoint(descend(inner, num_steps), gradient, meta_params.start, support)

    return Learner(init, adapt, model.apply)


def _axes(array: jax.Array) -> tuple[int, ...]:
    """Inputs and outputs, with all axes before them as one."""
    return (*((math.prod(array.shape[:-2]),) if array.ndim > 2 else ()), *array.shape[-2:])
