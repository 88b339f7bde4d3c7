"""Adaptive learning of fast adaptation (ALFA): a network that sets the rate and decay of each step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.adjoints import Adjoint
from metajax.learners.parts import Parts, descent, in_training, init_parts
from metajax.masks import filled, mean_loss
from metajax.nn.models import linear
from metajax.types import Learner, Loss, Model, Optimizer, Params


class AlfaParams(NamedTuple):
    """What ALFA meta-learns.

    start: Where adaptation starts.
    rates: A rate for each array of `start`.
    decays: A factor for each array of `start`, which multiplies it in every step.
    generator: The network that modulates rates and decays.
    """

    start: Params
    rates: Params
    decays: Params
    generator: Any


def alfa(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint | None = None
) -> Learner:
    """Learns an initialisation and a network that sets the rate and decay of each array at each step.

    A step is `params <- (b * beta) * params - (a * alpha) * gradient`. Each array has a learned rate
    `a` and decay `b`. A network of two layers reads the means of all arrays and of their gradients in
    every step, and returns `alpha` and `beta` of each array, 1 before training.

    The authors' code differs in two points. Its decay is `1 - b * beta`, where `b` starts at the
    product of a weight decay and the rate; here `b` starts at 1, which is no decay. It has an `a` and
    a `b` for every step; here all steps share them.

    Args:
      model: Maps inputs `(n, ...)` to predictions `(n, c)`; a `Model` or any `(init, apply)` pair.
      loss: Predictions `(n, c)` and targets `(n, ...)` to one value per example, `(n,)`.
      num_steps: Number of inner steps.
      rate: The rate that every array starts with.
      adjoint: How the inner loop is differentiated, by default `unrolled` for one step and
        `mixed_mode` for more.

    Returns:
      A learner whose meta-parameters are `AlfaParams` and whose adapted parameters are those of
      `model`.

    Raises:
      ValueError: If `num_steps` is negative, or `rate` is not above 0.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.alfa(line, mj.mse, num_steps=1, rate=0.5)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))  # as MAML, before training
      3.0

    Reference:
      Baik, Choi, Choi, Kim and Lee, NeurIPS 2020, section 3. https://arxiv.org/abs/2011.00209
    """
    model = checks.as_model("alfa", model)
    num_steps = checks.count("alfa", "num_steps", num_steps, least=0)
    checks.inner_loop("alfa", loss=loss, adjoint=adjoint)
    checks.positive("alfa", "rate", rate)
    train = in_training(model)

    def support_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    def init(key, x):
        start_key, generator_key = jax.random.split(key)
        start = model.init(start_key, x)
        width = 2 * len(jax.tree.leaves(start))
        return AlfaParams(
            start,
            jax.tree.map(lambda leaf: jnp.full((), rate, leaf.dtype), start),
            jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), start),
            init_parts(*_generator(width), generator_key, jnp.zeros((1, width))),
        )

    def adapt(meta_params, support, key, num_steps=num_steps):
        fit = descent(support_loss, _steps(meta_params), adjoint, model)
        return fit(meta_params.start, filled(support), key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)


def _generator(width: int) -> tuple[Model, Model]:
    """A hidden layer with ReLU, and an output layer that starts at 0."""
    hidden = linear(width, start="lecun")
    return Model(hidden.init, lambda w, x: jax.nn.relu(hidden.apply(w, x))), linear(width)


def _modulation(generator: Parts, state: jax.Array) -> jax.Array:
    hidden, output = _generator(len(state))
    return 1 + output.apply(generator.head, hidden.apply(generator.body, state[None]))[0]


def _steps(meta_params: AlfaParams) -> Optimizer:
    """The inner optimiser that these meta-parameters describe."""

    def update(gradients, params):
        leaves, tree = jax.tree.flatten((params, gradients))
        means = jnp.stack([jnp.mean(leaf) for leaf in leaves])
        betas, alphas = jax.tree.unflatten(tree, list(_modulation(meta_params.generator, means)))

        def change(gradient, param, a, alpha, b, beta):
            return (b * beta - 1) * param - a * alpha * gradient

        learned = meta_params.rates, alphas, meta_params.decays, betas
        return jax.tree.map(change, gradients, params, *learned)

    return optax.stateless(update)
