"""Learn an embedding in which a label is that of the support examples most alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.types import Learner, Model, Params


class Memory(NamedTuple):
    """The support set as unit vectors `(n, d)`, and its labels as one-hot rows `(n, n)`."""

    params: Params
    directions: jax.Array
    labels: jax.Array


def matching(embed: Model, *, sharpness: float = 1.0) -> Learner:
    """Matching networks: attention over the support set by cosine similarity; no steps.

    Without full context embeddings: each example is embedded alone.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      sharpness: multiplies the similarities before the softmax. The paper's 1 bounds how sure a
        prediction can be, and trains more slowly than 10.

    Returns:
      A learner for integer targets `0 .. way - 1`. Predictions are log-probabilities `(n, columns)`
      with as many columns as the support has examples, so that `cross_entropy` is the paper's loss.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> identity = mj.Model(init=lambda key, x: (), apply=lambda params, x: x)
      >>> learner = mj.matching(identity, sharpness=10.0)
      >>> support = mj.Examples(x=jnp.eye(2), y=jnp.array([1, 0]))
      >>> adapted = learner.adapt((), support, jax.random.key(0))
      >>> jnp.argmax(learner.predict(adapted, jnp.array([[3.0, 1.0]])), axis=-1).tolist()
      [1]

    Reference: Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, NeurIPS 2016, section 2.1.
    https://arxiv.org/abs/1606.04080
    """

    def directions(params, x):
        features = embed.apply(params, x)
        square = jnp.sum(features**2, axis=-1, keepdims=True)
        return features * jax.lax.rsqrt(square + 1e-12)

    def adapt(meta_params, support, key):
        del key
        labels = jax.nn.one_hot(support.y, len(support.y))
        return Memory(meta_params, directions(meta_params, support.x), labels)

    def predict(adapted, x):
        alike = sharpness * directions(adapted.params, x) @ adapted.directions.T
        there = adapted.labels.sum(axis=1) > 0  # not those labelled -1
        alike = jnp.where(there[None], alike, jnp.finfo(alike.dtype).min)
        # A class's probability is the sum of the attention to its examples; one without gets 1e-12.
        return jnp.log(jax.nn.softmax(alike, axis=-1) @ adapted.labels + 1e-12)

    return Learner(embed.init, adapt, predict)
