"""Predict queries in one batch with the support set, for models that read its statistics from there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.inner import repeat
from metajax.types import Learner


class Beside(NamedTuple):
    """What the learner adapted to, and the support inputs."""

    adapted: Any
    support_x: Any


def beside_support(learner: Learner) -> Learner:
    """The same learner whose predictions are made in a batch that begins with the support set.

    A model that normalises by the first examples of its batch alone, `conv4` with `normalisation`
    "support" or "task", then never reads a statistic of the queries: it is inductive.

    Args:
      learner: any.

    Returns:
      A learner that adapts to `Beside(adapted, support_x)`.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> centred = mj.Model(lambda key, x: (), lambda params, x: x - x[:2].mean())
      >>> learner = mj.beside_support(mj.Learner(centred.init, lambda m, s, key: m, centred.apply))
      >>> support = mj.Examples(x=jnp.array([0.0, 2.0]), y=jnp.arange(2))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([5.0])).tolist()
      [4.0]

    Reference: Bronskill, Gordon, Requeima, Nowozin and Turner, ICML 2020, section 3.
    https://arxiv.org/abs/2003.03284
    """

    def adapt(meta_params, support, key, **options):
        adapted = learner.adapt(meta_params, support, key, **options)
        return Beside(adapted, repeat(support.x, options.get("num_steps", 0)))

    def predict(adapted, x):
        batch = jax.tree.map(lambda s, q: jnp.concatenate([s, q]), adapted.support_x, x)
        shot = len(jax.tree.leaves(adapted.support_x)[0])
        return jax.tree.map(lambda leaf: leaf[shot:], learner.predict(adapted.adapted, batch))

    return Learner(learner.init, adapt, predict)
