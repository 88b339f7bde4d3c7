"""MAML++: rates for every array and step, and arrays that every step has its own of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax import checks
from metajax.adjoints import Adjoint, unrolled
from metajax.learners.parts import descent, in_training
from metajax.masks import filled, mean_loss
from metajax.trees import group, partition
from metajax.types import Learner, Loss, Model, Optimizer, Params


class MamlppParams(NamedTuple):
    """Where adaptation starts, and rates `(num_steps,)` for each array that it changes.

    An array of `start` that every step has its own of is `(num_steps + 1, ...)`.
    """

    start: Params
    rates: list[jax.Array]


def mamlpp(
    model: Model,
    loss: Loss,
    num_steps: int,
    *,
    rate: float,
    per_step: str | None = None,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """Learns an initialisation with a rate for every array and step, and arrays for every step.

    The paper's other parts are functions of their own: the multi-step loss is
    `query_loss(learner, loss, num_steps=(1, ..., num_steps))`, its annealing and that of the
    derivative's order are `Annealed`, and the outer rate is `optax.cosine_decay_schedule`.

    Inner step `i = 0, 1, ...` reads entry `i` of an array per step, and predictions after `k` steps
    read entry `k`: there are `num_steps + 1` entries. In the authors' code there are `num_steps`, and
    predictions after step `i` read entry `i`, as that step did. Their code also keeps running
    statistics for every step but normalises by the batch, and so does a model here.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      num_steps: Number of inner steps that have rates. Later steps, at evaluation, take the rates
        and arrays of the last.
      rate: The rate that every array starts with in every step.
      per_step: The name of one of `model.groups`. Its arrays are meta-learned for every step, and
        frozen in the inner loop.
      adjoint: How the inner loop is differentiated.

    Returns:
      A learner whose meta-parameters are `MamlppParams(start, rates)` and whose adapted parameters
      are those of `model`.

    Raises:
      ValueError: If `num_steps` is below 1, `rate` is not above 0, or the model has no group of that
        name; from `init`, for a group of no array or of all.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.mamlpp(line, mj.mse, num_steps=2, rate=0.25)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 4.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))  # 0, 2, 3
      3.0

    Reference:
      Antoniou, Edwards and Storkey, ICLR 2019, section 4. https://arxiv.org/abs/1810.09502
    """
    model = checks.as_model("mamlpp", model)
    own_steps = checks.count("mamlpp", "num_steps", num_steps)
    checks.inner_loop("mamlpp", loss=loss, adjoint=adjoint)
    checks.positive("mamlpp", "rate", rate)
    train = in_training(model)
    chosen = _no_array if per_step is None else group("mamlpp", "per_step", model, per_step)

    def init(key, x):
        params = model.init(key, x)
        moved, own, join = partition(params, chosen(params))
        every = [jnp.repeat(leaf[None], own_steps + 1, axis=0) for leaf in own]
        rates = [jnp.full(own_steps, rate, leaf.dtype) for leaf in moved]
        return MamlppParams(join(moved, every), rates)

    def at_step(args, step):
        every, support = args
        return [leaf[jnp.minimum(step, own_steps)] for leaf in every], support

    def adapt(meta_params, support, key, num_steps=own_steps):
        moved, every, join = partition(meta_params.start, chosen(meta_params.start))

        def support_loss(moved, own, support, key):
            return mean_loss(loss, train(join(moved, own), support.x, key), support)

        inner = _scheduled(meta_params.rates)
        fit = descent(support_loss, inner, adjoint, model, at_step=at_step if every else None)
        moved = fit(moved, every, filled(support), key=key, num_steps=num_steps)
        return join(moved, [leaf[np.minimum(num_steps, own_steps)] for leaf in every])

    return Learner(init, adapt, model.apply, own_steps)


def _no_array(params: Params) -> Params:
    return jax.tree.map(lambda _: False, params)


def _scheduled(rates: list[jax.Array]) -> Optimizer:
    """SGD whose rate of each array changes with the step."""

    def update(updates, state, params=None):
        del params
        pairs = zip(rates, updates, strict=True)  # gradients, until they are updates
        return [-r[jnp.minimum(state, len(r) - 1)] * g for r, g in pairs], state + 1

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
