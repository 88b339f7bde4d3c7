"""Learn an embedding and a network that says how well two embeddings go together."""

import jax.numpy as jnp

from metajax.learners.parts import Parts, init_parts
from metajax.learners.protonet import Prototypes, prototypes
from metajax.types import Learner, Model


def relation(embed: Model, compare: Model) -> Learner:
    """Relation networks: a learned comparison of a query with each class's sum; no steps.

    Args:
      embed: `apply(params, x)` maps inputs `(n, ...)` to features `(n, d)`.
      compare: maps a class's features beside a query's `(pairs, 2 * d)` to scores `(pairs, 1)`, such
        as an `mlp` with `start="lecun"`.

    Returns:
      A learner for integer targets `0 .. way - 1`. Predictions are scores `(n, columns)`, with as many
      columns as the support has examples; train them with `cross_entropy`, or with `mse` on one-hot
      targets through a sigmoid as in the paper.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.relation(mj.conv4(None), mj.mlp((64,), 1, start="lecun"))
      >>> support = mj.Examples(x=jnp.ones((5, 28, 28, 1)), y=jnp.arange(5))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.ones((7, 28, 28, 1))).shape
      (7, 5)

    Reference: Sung, Yang, Zhang, Xiang, Torr and Hospedales, CVPR 2018, section 3. The paper compares
    feature maps by convolutions; here they are vectors. https://arxiv.org/abs/1711.06025
    """

    def init(key, x):
        def pairs(params, x):
            features = embed.apply(params, x)
            return jnp.concatenate([features, features], axis=-1)

        return init_parts(Model(embed.init, pairs), compare, key, x)

    def adapt(meta_params, support, key):
        del key
        means, present = prototypes(embed.apply(meta_params.body, support.x), support.y)
        return Prototypes(meta_params, means, present)

    def predict(adapted, x):
        params: Parts = adapted.params
        features = embed.apply(params.body, x)
        shape = (len(features), *adapted.means.shape)
        pairs = jnp.concatenate(
            [
                jnp.broadcast_to(adapted.means[None], shape),
                jnp.broadcast_to(features[:, None], shape),
            ],
            axis=-1,
        )
        scores = compare.apply(params.head, pairs.reshape(-1, pairs.shape[-1])).reshape(shape[:2])
        return jnp.where(adapted.present[None], scores, jnp.finfo(scores.dtype).min)

    return Learner(init, adapt, predict)
