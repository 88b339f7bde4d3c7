"""Learn an initialisation and, for every step, a step size of every layer and arrays of its own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.trees import partition
from metajax.types import Learner, Loss, Model, Params, Steps


class StepRates(NamedTuple):
    """Where adaptation starts, and rates `(num_steps,)` for each array that it changes.

    An array of `start` that every step has its own of is `(num_steps + 1, ...)`.
    """

    start: Params
    rates: list[jax.Array]


class _At(NamedTuple):
    """The arrays that descent moves, and the number of the step, which each step moves by 1."""

    moved: list[jax.Array]
    step: jax.Array


def mamlpp(
    model: Model,
    loss: Loss,
    num_steps: int,
    *,
    rate: float,
    per_step: Callable[[str], bool] = lambda path: False,
    adjoint: Adjoint = unrolled,
) -> Learner:
    """The learner of MAML++: per-layer, per-step learned rates, and per-step normalisation.

    The paper's other parts are functions of their own, each of use alone: the multi-step loss is
    `query_loss(learner, loss, num_steps=(1, ..., num_steps))`, its annealing and that of the
    derivative's order are `Annealed`, and the outer rate is `optax.cosine_decay_schedule`.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      num_steps: inner steps that have rates; later ones, at evaluation, take the rates and arrays of
        the last.
      rate: that every array begins with in every step.
      per_step: of an array's path, whether it is meta-learned for every step anew, and held within:
        `lambda path: "BatchStatistics" in path` for per-step shifts after `conv4`'s statistics.
        The paper's running statistics of every step are no part: its code normalises by the batch.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters are `StepRates(start, rates)` and whose adapted parameters are
      the model's.

    Raises:
      ValueError: for no steps, which would have no rates.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.mamlpp(line, mj.mse, num_steps=2, rate=0.25)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 4.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))  # 0, 2, 3
      3.0

    Reference: Antoniou, Edwards and Storkey, ICLR 2019, section 4.
    https://arxiv.org/abs/1810.09502
    """
    if num_steps < 1:
        raise ValueError(f"mamlpp: num_steps={num_steps}; it takes 1 step or more, each has rates.")
    own_steps = num_steps

    def of_step(arrays, step):
        return [leaf[jnp.minimum(step, own_steps).astype(jnp.int32)] for leaf in arrays]

    def init(key, x):
        moved, held, join = partition(model.init(key, x), per_step)
        every = [jnp.repeat(leaf[None], own_steps + 1, axis=0) for leaf in held]
        return StepRates(
            join(moved, every), [jnp.full(own_steps, rate, leaf.dtype) for leaf in moved]
        )

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        moved, held, join = partition(meta_params.start, per_step)

        def gradient(at, held, support):
            @jax.grad
            def by_moved(moved):
                params = join(moved, of_step(held, at.step))
                return loss(model.apply(params, support.x), support.y)

            return _At(by_moved(at.moved), jnp.zeros_like(at.step))

        def update(gradients, at):
            step = jnp.minimum(at.step, own_steps - 1).astype(jnp.int32)
            pairs = zip(meta_params.rates, gradients.moved, strict=True)
            return _At([-rates[step] * g for rates, g in pairs], jnp.ones_like(at.step))

        solve = descend(optax.stateless(update), num_steps)
        end = adjoint(solve, gradient, _At(moved, jnp.zeros(())), held, support)
        return join(end.moved, of_step(held, end.step))

    return Learner(init, adapt, model.apply)
