"""Body only update in the inner loop (BOIL): a head that no task changes, and a body that each adapts."""

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import repeat
from metajax.learners.parts import Parts, descent, in_training, joined
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Optimizer


def boil(
    body: Model,
    head: Model,
    loss: Loss,
    inner: Optimizer,
    num_steps: int,
    *,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Learns a head that is frozen in the inner loop, so that the features have to change.

    Args:
      body: Maps inputs `(n, ...)` to features `(n, d)`.
      head: Maps features `(n, d)` to predictions `(n, c)`. A head that starts at 0, as `linear(way)`
        does, passes no gradient to the body: give it `start="lecun"`.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      inner: Any optax transformation of the body; its state is re-initialised for every task.
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
      >>> learner = mj.boil(line, line, mj.mse, optax.sgd(0.5), num_steps=1)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> float(adapted.body), float(adapted.head)
      (3.0, 1.0)

    Reference:
      Oh, Yoo, Kim and Yun, ICLR 2021, section 3. https://arxiv.org/abs/2008.08882
    """
    body, head = checks.as_model("boil", body), checks.as_model("boil", head)
    num_steps = checks.count("boil", "num_steps", num_steps, least=0)
    checks.inner_loop("boil", loss=loss, inner=inner, adjoint=adjoint)
    model = joined(body, head)
    train = in_training(model)

    def support_loss(params, frozen, support, key):
        return mean_loss(loss, train(Parts(params, frozen), support.x, key), support)

    fit = descent(support_loss, inner, adjoint, model)

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("boil", inner, adjoint, meta_params.body)
        return meta_params

    def adapt(meta_params, support, key, num_steps=num_steps):
        frozen = meta_params.head
        body = fit(meta_params.body, frozen, filled(support), key=key, num_steps=num_steps)
        return Parts(body, repeat(frozen, num_steps))

    return Learner(init, adapt, model.apply, num_steps)
