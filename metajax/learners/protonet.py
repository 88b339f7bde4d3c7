"""Learn an embedding in which a class is the mean of its examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner, Model, Params


class Prototypes(NamedTuple):
    """A class mean per row, and whether the class has any example."""

    params: Params
    means: jax.Array
    present: jax.Array


def prototypes(
    features: jax.Array, labels: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Class means `(n, d)` of features `(n, d)`, a row for each label below `n`, and which exist.

    Example:
      >>> means, present = prototypes(jnp.array([[0.0], [2.0], [7.0]]), jnp.array([0, 0, 1]))
      >>> means[:, 0].tolist(), present.tolist()
      ([1.0, 7.0, 0.0], [True, True, False])
    """
    member = jax.nn.one_hot(labels, len(labels), axis=0, dtype=features.dtype)
    member = member if mask is None else jnp.where(mask, member, 0)
    count = member.sum(axis=1, keepdims=True)
    return member @ features / jnp.maximum(count, 1), count[:, 0] > 0


def protonet(embed: Model) -> Learner:
    """Prototypical networks: the meta-parameters are an embedding, and adapting takes no steps.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.

    Returns:
      A learner for integer targets `0 .. way - 1`. Predictions are logits `(n, columns)`, minus the
      squared distances to the class means, with as many columns as the support has examples: the
      way may differ from task to task, and a class without examples gets the lowest finite logit.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.protonet(identity)
      >>> support = mj.Examples(x=jnp.array([[0.0], [2.0], [7.0]]), y=jnp.array([0, 0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[3.0]]))[0, :2].tolist()
      [-4.0, -16.0]

    Reference: Snell, Swersky and Zemel, NeurIPS 2017, section 2.3. https://arxiv.org/abs/1703.05175
    """

    def adapt(meta_params, support, key):
        del key
        means, present = prototypes(embed.apply(meta_params, support.x), support.y)
        return Prototypes(meta_params, means, present)

    def predict(adapted, x):
        features = embed.apply(adapted.params, x)
        distance = jnp.sum((features[:, None] - adapted.means[None]) ** 2, axis=-1)
        return jnp.where(adapted.present[None], -distance, jnp.finfo(distance.dtype).min)

    return Learner(embed.init, adapt, predict)
