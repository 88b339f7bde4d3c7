"""Almost no inner loop (ANIL): a body that all tasks share and a head that each adapts."""

from functools import partial

import jax

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import repeat
from metajax.learners.parts import Parts, descent, in_training, init_parts, joined
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Optimizer


def anil(
    body: Model,
    head: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Learns features that all tasks share, and adapts the head alone, on features computed once.

    Args:
      body: Maps inputs `(n, ...)` to features `(n, d)`. Its dropout is drawn once per task, and that
        of the head in every step.
      head: Maps features `(n, d)` to predictions `(n, c)`.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation of the head; its state is re-initialised for every task.
      num_steps: Number of inner steps.
      adjoint: How the inner loop is differentiated.

    Returns:
      A learner whose meta-parameters and adapted parameters are `Parts(body, head)`.

    Raises:
      ValueError: If `num_steps` is negative; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.ones(()), apply=lambda w, x: w * x)
      >>> learner = mj.anil(line, line, mj.mse, optax.sgd(0.5), num_steps=1)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> float(adapted.body), float(adapted.head)
      (1.0, 3.0)

    Reference:
      Raghu, Raghu, Bengio and Vinyals, ICLR 2020, section 4. https://arxiv.org/abs/1909.09157
    """
    body, head = checks.as_model("anil", body), checks.as_model("anil", head)
    num_steps = checks.count("anil", "num_steps", num_steps, least=0)
    checks.inner_loop("anil", loss=loss, inner=inner, adjoint=adjoint)
    embed, train = in_training(body), in_training(head)

    def support_loss(params, features, support, key):
        return mean_loss(loss, train(params, features, key), support)

    fit = descent(support_loss, inner, adjoint, head)

    def init(key, x):
        meta_params = init_parts(body, head, key, x)
        check_derivative("anil", inner, adjoint, meta_params.head)
        return meta_params

    def adapt(meta_params, support, key, num_steps=num_steps, **how):
        body_key, head_key = jax.random.split(key)
        support = filled(support)
        features = embed(meta_params.body, support.x, body_key)
        run = partial(fit, key=head_key, num_steps=num_steps, **how)
        return Parts(repeat(meta_params.body, num_steps), run(meta_params.head, features, support))

    return Learner(init, adapt, joined(body, head).apply, num_steps)
