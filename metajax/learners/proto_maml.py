"""Proto-MAML: an embedding from which gradient steps go on, with a head that starts at class means."""

import jax.numpy as jnp

from metajax import checks
from metajax.adjoints import Adjoint, check_derivative
from metajax.learners.classes import check_labels
from metajax.learners.parts import Parts, descent, in_training, joined
from metajax.learners.protonet import prototypes
from metajax.masks import filled, mean_loss
from metajax.types import Learner, Loss, Model, Optimizer

_LOWEST = -1e9
"""The bias of a class without examples: beyond any distance, and a float32 sum of it is finite."""


def proto_maml(
    embed: Model, loss: Loss, inner: Optimizer, num_steps: int, *, adjoint: Adjoint | None = None
) -> Learner:
    """Learns an embedding, adapted by gradient steps with a linear head that starts at prototypes.

    For a prototype `c`, `-|x - c|^2 = 2 c.x - |c|^2 - |x|^2`, and classes share the last term. The
    head starts with weights `2 c` and biases `-|c|^2`. With 0 steps the learner is a prototypical
    network; further steps adapt head and embedding.

    Args:
      embed: Maps inputs `(n, ...)` to features `(n, d)`.
      loss: Logits `(n, columns)` and labels `(n,)` to one value per example, `(n,)`.
      inner: Any optax transformation, re-initialised for every task. Its rate must be lower than
        MAML's, because prototypes give large gradients.
      num_steps: Number of inner steps.
      adjoint: How the inner loop is differentiated, by default `unrolled` for one step and
        `mixed_mode` for more. The start of the head is always differentiated.

    Returns:
      A learner for integer targets `0 .. way - 1`, with as many columns as `protonet`. Its
      meta-parameters are those of `embed`, and it adapts to `Parts(body, head)`.

    Raises:
      ValueError: If `num_steps` is negative; from `init`, for an inner optimiser whose hypergradient
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

    Reference:
      Triantafillou et al., ICLR 2020, section 3. https://arxiv.org/abs/1903.03096
    """
    embed = checks.as_model("proto_maml", embed)
    num_steps = checks.count("proto_maml", "num_steps", num_steps, least=0)
    checks.inner_loop("proto_maml", loss=loss, inner=inner, adjoint=adjoint)
    head = Model(  # It starts at the prototypes of each task, not from `init`.
        init=lambda key, features: (jnp.zeros((1, 1)), jnp.zeros((1, 1))),
        apply=lambda head, features: features @ head[0] + head[1],
    )
    model = joined(embed, head)
    train = in_training(model)

    def support_loss(params, support, key):
        return mean_loss(loss, train(params, support.x, key), support)

    fit = descent(support_loss, inner, adjoint, model)

    def init(key, x):
        meta_params = embed.init(key, x)
        some_head = head.init(key, x)  # of any shape
        check_derivative("proto_maml", inner, adjoint, Parts(meta_params, some_head))
        return meta_params

    def adapt(meta_params, support, key, num_steps=num_steps):
        check_labels("proto_maml", support.y)
        support = filled(support)
        features = embed.apply(meta_params, support.x)
        means, present = prototypes(features, support.y, support.mask)
        biases = jnp.where(present, -jnp.sum(means**2, axis=1), _LOWEST)
        start = Parts(meta_params, (2 * means.T, biases[None]))
        return fit(start, support, key=key, num_steps=num_steps)

    return Learner(init, adapt, model.apply, num_steps)
