"""Learn a body that all tasks share and a head that each adapts."""

import jax

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend, repeat
from metajax.learners.parts import Parts, init_parts, predict_parts
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def anil(
    body: Model,
    head: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Almost no inner loop: only the head is adapted, on features that are computed once.

    Args:
      body: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      head: `apply(params, features)` maps features `(n, d)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      inner: steps the head, fresh on each task.
      num_steps: inner steps.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters and adapted parameters are `Parts(body, head)`.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> learner = mj.anil(mj.conv4(None), mj.linear(5), mj.cross_entropy, optax.sgd(0.1), 5)
      >>> images = jnp.ones((5, 28, 28, 1))
      >>> learner.init(jax.random.key(0), images).head["params"]["layers_0"]["kernel"].shape
      (256, 5)

    Reference: Raghu, Raghu, Bengio and Vinyals, ICLR 2020, section 4.
    https://arxiv.org/abs/1909.09157
    """
    own_steps = num_steps
    descend(inner, own_steps)
    gradient = jax.grad(lambda params, features, y: loss(head.apply(params, features), y))

    def init(key, x):
        meta_params = init_parts(body, head, key, x)
        check_derivative("anil", inner, adjoint, meta_params.head)
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        features = body.apply(meta_params.body, support.x)
        solve = descend(inner, num_steps)
        adapted = adjoint(solve, gradient, meta_params.head, features, support.y)
        return Parts(repeat(meta_params.body, num_steps), adapted)

    return Learner(init, adapt, predict_parts(body, head))
