"""Learn an embedding from which a few gradient steps go on, with a head that begins at class means."""

import jax
import jax.numpy as jnp

from metajax.adjoints import Adjoint, check_derivative, unrolled
from metajax.inner import descend
from metajax.learners.parts import Parts
from metajax.learners.protonet import prototypes
from metajax.types import Learner, Loss, Model, Optimizer, Steps


def proto_maml(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint = unrolled
) -> Learner:
    """Proto-MAML: MAML on an embedding and a linear head that starts as prototypical networks.

    With prototypes `c`, minus the squared distance is `2 c.x - |c|^2` but for what all classes share:
    a linear head of weights `2 c` and biases `-|c|^2`. No step is ProtoNets, further steps adapt
    head and embedding.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      loss: logits `(n, columns)` and labels `(n,)` to a scalar, the mean over `n`.
      inner: fresh on each task. Rates are smaller than MAML's: prototypes give large gradients.
      num_steps: inner steps.
      adjoint: how the steps are differentiated; the start of the head is always derived.

    Returns:
      A learner for integer targets `0 .. way - 1`, with as many columns as `protonet`'s; it adapts to
      `Parts(body, head)`.

    Raises:
      ValueError: for a negative `num_steps`; from `init`, for an inner optimiser whose hypergradient
        is nan where a gradient is exactly zero.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.proto_maml(identity, mj.cross_entropy, optax.sgd(0.1), num_steps=0)
      >>> support = mj.Examples(x=jnp.array([[0.0], [2.0], [7.0]]), y=jnp.array([0, 0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> logits = learner.predict(adapted, jnp.array([[3.0]]))[0]
      >>> float(logits[0] - logits[1])  # -(3 - 1)^2 + (3 - 7)^2
      12.0

    Reference: Triantafillou et al., ICLR 2020, section 3. https://arxiv.org/abs/1903.03096
    """
    own_steps = num_steps
    descend(inner, own_steps)

    def predict(adapted, x):
        weights, biases = adapted.head
        return embed.apply(adapted.body, x) @ weights + biases

    gradient = jax.grad(lambda parts, support: loss(predict(parts, support.x), support.y))

    def init(key, x):
        meta_params = embed.init(key, x)
        head = jnp.zeros((1, 1)), jnp.zeros((1, 1))  # of any shape
        check_derivative("proto_maml", inner, adjoint, Parts(meta_params, head))
        return meta_params

    def adapt(meta_params, support, key, num_steps: Steps = own_steps):
        del key
        means, present = prototypes(embed.apply(meta_params, support.x), support.y)
        squares = jnp.sum(means**2, axis=1)
        lowest = -1e9  # without examples: beyond any distance, and a float32 sum stays finite
        head = 2 * means.T, jnp.where(present, -squares, lowest)[None]
        return adjoint(descend(inner, num_steps), gradient, Parts(meta_params, head), support)

    return Learner(init, adapt, predict)
