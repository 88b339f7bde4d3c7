"""Labels permuted at random in every task, so that none has a meaning beyond it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.inner import repeat
from metajax.masks import filled
from metajax.types import Learner


class RelabelledState(NamedTuple):
    """What a learner adapted to under permuted labels, and the permutation `(way,)`."""

    adapted: Any
    labels: jax.Array


def relabelled(learner: Learner, way: int) -> Learner:
    """The same classifier under a random permutation of each task's labels, drawn from `adapt`'s key.

    Where a source labels its classes alike in every task, a learner with an output for each class can
    learn what a label stands for. metajax's own sources permute labels themselves.

    Args:
      learner: A learner for integer targets `0 .. way - 1`.
      way: Number of labels.

    Returns:
      A learner with the same meta-parameters, whose predictions are logits `(n, way)` in the order of
      the task's own labels.

    Raises:
      ValueError: If `way` is below 1; from `adapt`, for targets that are no integers.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.relabelled(mj.protonet(mj.pixels), 2)
      >>> support = mj.Examples(x=jnp.array([[0.0], [3.0]]), y=jnp.array([0, 1]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.array([[1.0]])).tolist()  # whatever the permutation was
      [[-1.0, -4.0]]

    Reference:
      Kirsch, Harrison, Sohl-Dickstein and Metz, 2022, section 4. https://arxiv.org/abs/2212.04458
    """
    way = checks.count("relabelled", "way", way)
    checks.learner("relabelled", learner)

    def adapt(meta_params, support, key, **options):
        support = filled(support)
        if not jnp.issubdtype(jnp.result_type(support.y), jnp.integer):
            raise ValueError(
                f"relabelled: targets are {jnp.result_type(support.y)}, but labels must be integers "
                f"in 0 .. {way - 1}."
            )
        labels_key, adapt_key = jax.random.split(key)
        labels = jax.random.permutation(labels_key, way)
        known = (support.y >= 0) & (support.y < way)
        y = jnp.where(known, labels[jnp.where(known, support.y, 0)], support.y)
        adapted = learner.adapt(meta_params, support._replace(y=y), adapt_key, **options)
        return RelabelledState(adapted, repeat(labels, options.get("num_steps", 0)))

    def predict(adapted, x):
        return learner.predict(adapted.adapted, x)[:, adapted.labels]

    return Learner(learner.init, adapt, predict, learner.num_steps)
