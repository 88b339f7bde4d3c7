"""Labels drawn anew for each task, so that none means anything beyond it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.inner import repeat
from metajax.types import Learner


class Relabelled(NamedTuple):
    """What a learner became under other labels, and those labels `(way,)` in their usual order."""

    adapted: Any
    labels: jax.Array


def relabelled(learner: Learner, way: int) -> Learner:
    """The same classifier under a random permutation of each task's labels, drawn from `adapt`'s key.

    A learner with an output for each class could learn what a label stands for, where a source labels
    its classes alike in every task. metajax's own sources do not: they permute labels themselves.

    Args:
      learner: of integer targets `0 .. way - 1`, or -1 for examples that are not there.
      way: the number of labels.

    Returns:
      A learner with the same meta-parameters, whose predictions are logits `(n, way)` in the order of
      the task's own labels.

    Raises:
      ValueError: for fewer than one label.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.relabelled(mj.protonet(mj.pixels), 2)
      >>> support = mj.Examples(x=jnp.array([[0.0], [3.0]]), y=jnp.array([0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[1.0]])).tolist()  # whatever the permutation was
      [[-1.0, -4.0]]

    Reference: Kirsch, Harrison, Sohl-Dickstein and Metz, 2022, section 4. https://arxiv.org/abs/2212.04458
    """
    if way < 1:
        raise ValueError(f"relabelled: way={way}; there is 1 label or more.")

    def adapt(meta_params, support, key, **options):
        labels_key, key = jax.random.split(key)
        labels = jax.random.permutation(labels_key, way)
        y = jnp.where(support.y >= 0, labels[support.y], -1)
        adapted = learner.adapt(meta_params, support._replace(y=y), key, **options)
        return Relabelled(adapted, repeat(labels, options.get("num_steps", 1)))

    def predict(adapted, x):
        return learner.predict(adapted.adapted, x)[:, adapted.labels]

    return Learner(learner.init, adapt, predict)
