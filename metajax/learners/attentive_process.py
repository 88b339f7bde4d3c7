"""Learn to map a support set to a predictive distribution, by looking where a query is alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.learners.neural_process import distribution, needs
from metajax.nn.attention import Memory, attend
from metajax.types import Learner, Model, Params


class Attentive(NamedTuple):
    """The weights of the three networks."""

    encode: Params
    locate: Params
    decode: Params


class Located(NamedTuple):
    """The weights, and for each support example where it is and what the encoder says of it."""

    params: Attentive
    memory: Memory


def attentive_process(
    encode: Model, locate: Model, decode: Model, *, heads: int = 4, outputs: int = 1
) -> Learner:
    """Attentive neural process: each query weighs the support examples by what lies near it.

    The deterministic path alone: no latent variable and no attention among support examples. A mean
    of them all, as in `neural_process`, underfits: it does not pass through the support set.

    Args:
      encode: maps an input beside its target `(n, d + c)` to representations `(n, r)`.
      locate: maps an input `(n, d)` to a key `(n, k)`, or for a query to what it asks for.
      decode: maps what was found beside an input `(n, r + d)` to `(n, 2 * c)`: means, and numbers
        that become deviations.
      heads: of attention; they divide `r` and `k`. The last layers of `encode` and `locate` are their
        projections.
      outputs: `c`, the width of a target.

    Returns:
      A learner for inputs `(n, d)` and targets `(n, c)`. Predictions are `(n, 2, c)`, means and
      standard deviations of at least 0.01; train and judge them with `gaussian_nll`.

    Raises:
      ValueError: from `init`, for a `decode` of another width, or heads that do not divide.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> net = mj.mlp((64,), 64, start="lecun")
      >>> learner = mj.attentive_process(net, net, mj.mlp((64,), 2, start="lecun"))
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 2, 1)

    Reference: Kim et al., ICLR 2019, section 3. https://arxiv.org/abs/1901.05761
    """

    def init(key, x):
        encode_key, locate_key, decode_key = jax.random.split(key, 3)
        inputs = jnp.zeros((1, x.shape[-1]), x.dtype)
        pairs = jnp.zeros((1, x.shape[-1] + outputs), x.dtype)
        encoder, locator = encode.init(encode_key, pairs), locate.init(locate_key, inputs)
        width = jax.eval_shape(encode.apply, encoder, pairs).shape[-1]
        place = jax.eval_shape(locate.apply, locator, inputs).shape[-1]
        if heads < 1 or width % heads or place % heads:
            raise ValueError(
                f"attentive_process: encode returns {width} numbers, locate {place}, and heads={heads}; "
                "heads is 1 or more and divides both."
            )
        asked = jnp.zeros((1, width + x.shape[-1]), x.dtype)
        decoder = decode.init(decode_key, asked)
        needs("attentive_process", outputs, jax.eval_shape(decode.apply, decoder, asked))
        return Attentive(encoder, locator, decoder)

    def split(rows):
        return rows.reshape(len(rows), heads, -1)

    def adapt(meta_params, support, key):
        del key
        keys = locate.apply(meta_params.locate, support.x)
        pairs = jnp.concatenate([support.x, support.y], axis=-1)
        values = encode.apply(meta_params.encode, pairs)
        return Located(meta_params, Memory(split(keys), split(values)))

    def predict(adapted, x):
        params: Attentive = adapted.params
        queries = split(locate.apply(params.locate, x))
        everything = jnp.ones((1, len(adapted.memory.keys)), bool)
        found = attend(queries, adapted.memory, everything).reshape(len(x), -1)
        return distribution(decode.apply(params.decode, jnp.concatenate([found, x], axis=-1)))

    return Learner(init, adapt, predict)
