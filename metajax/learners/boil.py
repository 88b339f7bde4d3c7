"""Learn a head that no task changes and a body that each adapts to it."""

import jax

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend, repeat
from metajax.learners.parts import Parts, init_parts, predict_parts
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def boil(
    body: Model,
    head: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Body only update in the inner loop: the opposite of `anil`, which forces features to change.

    Args:
      body: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      head: `apply(params, features)` maps features `(n, d)` to predictions `(n, c)`. One that starts
        at 0, as `linear(way)` does, passes no gradient to the body: give it `start="lecun"`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      inner: steps the body, fresh on each task.
      num_steps: inner steps.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters and adapted parameters are `Parts(body, head)`.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> head = mj.linear(5, start="lecun")
      >>> learner = mj.boil(mj.conv4(None), head, mj.cross_entropy, optax.sgd(0.1), 1)
      >>> images = jnp.ones((5, 28, 28, 1))
      >>> learner.init(jax.random.key(0), images).head["params"]["layers_0"]["kernel"].shape
      (256, 5)

    Reference: Oh, Yoo, Kim and Yun, ICLR 2021, section 3. https://arxiv.org/abs/2008.08882
    """
    own_steps = num_steps
    descend(inner, own_steps)

    predict = predict_parts(body, head)

    @jax.grad
    def gradient(params, held, support):
        return loss(predict(Parts(params, held), support.x), support.y)

    def init(key, x):
        meta_params = init_parts(body, head, key, x)
        check_derivative("boil", inner, adjoint, meta_params.body)
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        solve = descend(inner, num_steps)
        adapted = adjoint(solve, gradient, meta_params.body, meta_params.head, support)
        return Parts(adapted, repeat(meta_params.head, num_steps))

    return Learner(init, adapt, predict)
