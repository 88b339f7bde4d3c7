"""Predictions in one batch with the support set, for models that read its statistics from there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.inner import repeat
from metajax.masks import filled
from metajax.types import Learner


class BesideSupportState(NamedTuple):
    """What the learner adapted to, and the support inputs."""

    adapted: Any
    support_x: Any


def beside_support(learner: Learner) -> Learner:
    """The same learner, which predicts queries in a batch that begins with the support set.

    A model that normalises by the first examples of its batch alone, such as `conv4` with
    `normalisation` "support" or "task", then reads no statistic of the queries: it is inductive.

    Args:
      learner: Any learner.

    Returns:
      A learner with the same meta-parameters, which adapts to `BesideSupportState(adapted,
      support_x)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> centred = mj.Model(lambda key, x: (), lambda params, x: x - x[:2].mean())
      >>> learner = mj.beside_support(mj.Learner(centred.init, lambda m, s, key: m, centred.apply))
      >>> support = mj.Examples(x=jnp.array([0.0, 2.0]), y=jnp.arange(2))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([5.0])).tolist()
      [4.0]

    Reference:
      Bronskill, Gordon, Requeima, Nowozin and Turner, ICML 2020, section 3.
      https://arxiv.org/abs/2003.03284
    """

    def adapt(meta_params, support, key, **options):
        adapted = learner.adapt(meta_params, support, key, **options)
        x = repeat(filled(support).x, options.get("num_steps", 0))
        return BesideSupportState(adapted, x)

    def predict(adapted, x):
        batch = jax.tree.map(lambda s, q: jnp.concatenate([s, q]), adapted.support_x, x)
        number = len(jax.tree.leaves(adapted.support_x)[0])
        return jax.tree.map(lambda leaf: leaf[number:], learner.predict(adapted.adapted, batch))

    return Learner(learner.init, adapt, predict, learner.num_steps)
