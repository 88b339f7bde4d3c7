"""Learn an initialisation from which a few gradient steps solve a new task."""

import jax

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def maml(
    model: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """Model-agnostic meta-learning: the meta-parameters are the weights adaptation starts from.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`. MAML's own code
        takes a sum over classes instead: its rate 0.4 at 5-way 1-shot is a rate 2 on the mean.
      inner: fresh on each task. Give Adam `eps_root > 0`, or a zero gradient differentiates to nan.
      num_steps: inner steps; with 0 the learner predicts from its initialisation. `adapt` takes
        another number, or several, as `num_steps=`.
      adjoint: `unrolled`, or `first_order` for FOMAML. An implicit one would give a hypergradient
        of 0, for a minimum does not depend on where descent began.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.maml(line, mj.mse, optax.sgd(0.5), num_steps=1)
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> float(learner.adapt(jnp.zeros(()), support, jax.random.key(0)))
      3.0

    Reference: Finn, Abbeel and Levine, ICML 2017, section 2.2. https://arxiv.org/abs/1703.03400
    """
    own_steps = num_steps
    descend(inner, own_steps)  # a wrong num_steps is refused here, not at the first task
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def init(key, x):
        meta_params = model.init(key, x)
        check_derivative("maml", inner, adjoint, meta_params)
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key  # full-batch descent draws nothing
        return adjoint(descend(inner, num_steps), gradient, meta_params, support)

    return Learner(init, adapt, model.apply)
