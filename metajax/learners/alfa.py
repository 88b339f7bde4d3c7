"""Learn an initialisation and a small network that chooses rate and decay of each layer at each step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metajax.adjoints import Adjoint, unrolled
from metajax.inner import descend
from metajax.nn.models import Mlp
from metajax.types import Learner, Loss, Model, Params, Steps


class Generated(NamedTuple):
    """Where adaptation starts, rates and decays for each of its arrays, and what modulates them."""

    start: Params
    rates: Params
    decays: Params
    generator: Any


def alfa(
    model: Model, loss: Loss, num_steps: int, *, rate: float, adjoint: Adjoint = unrolled
) -> Learner:
    """Adaptive learning of fast adaptation: `params <- beta * params - alpha * gradient`.

    `alpha` and `beta`, one of each for every array, come from a network of two layers that reads the
    means of all arrays and of their gradients at every step.

    Args:
      model: `apply(params, x)` maps inputs `(n, ...)` to predictions `(n, c)`.
      loss: predictions `(n, c)` and targets `(n,)` to a scalar, the mean over `n`.
      num_steps: inner steps.
      rate: that every array begins with; decays begin at 1, none.
      adjoint: how the steps are differentiated.

    Returns:
      A learner whose meta-parameters are `Generated` and whose adapted parameters are the model's.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> line = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
      >>> learner = mj.alfa(line, mj.mse, num_steps=1, rate=0.5)
      >>> meta_params = learner.init(jax.random.key(0), jnp.ones(4))
      >>> support = mj.Examples(x=jnp.ones(4), y=jnp.full(4, 3.0))
      >>> float(learner.adapt(meta_params, support, jax.random.key(0)))  # as MAML, before training
      3.0

    Reference: Baik, Choi, Choi, Kim and Lee, NeurIPS 2020, section 3.
    https://arxiv.org/abs/2011.00209
    """
    own_steps = num_steps
    descend(optax.identity(), own_steps)
    gradient = jax.grad(lambda params, support: loss(model.apply(params, support.x), support.y))

    def generator(arrays: int) -> Mlp:
        return Mlp((2 * arrays,), 2 * arrays, jax.nn.initializers.lecun_normal())

    def init(key, x):
        start_key, generator_key = jax.random.split(key)
        start = model.init(start_key, x)
        arrays = len(jax.tree.leaves(start))
        net = generator(arrays).init(generator_key, jnp.zeros((1, 2 * arrays)))
        last = net["params"]["Dense_1"]
        net["params"]["Dense_1"] = jax.tree.map(jnp.zeros_like, last)  # modulates by 1 at first
        return Generated(
            start,
            jax.tree.map(lambda leaf: jnp.full((), rate, leaf.dtype), start),
            jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), start),
            net,
        )

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key

        def update(gradients, params):
            leaves, tree = jax.tree.flatten((params, gradients))
            state = jnp.stack([jnp.mean(leaf) for leaf in leaves])
            net = generator(len(leaves) // 2)
            modulated = 1 + net.apply(meta_params.generator, state[None])[0]
            of_decay, of_rate = jax.tree.unflatten(tree, list(modulated))

            def step(gradient, param, rate, m, decay, n):
                return (decay * n - 1) * param - rate * m * gradient

            meta = meta_params.rates, of_rate, meta_params.decays, of_decay
            return jax.tree.map(step, gradients, params, *meta)

        inner = optax.stateless(update)
        return adjoint(descend(inner, num_steps), gradient, meta_params.start, support)

    return Learner(init, adapt, model.apply)
