"""Learn to map a support set to a predictive distribution, at once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax.learners.parts import Parts
from metajax.types import Learner, Model


class Summary(NamedTuple):
    """The weights, and the mean of what the encoder says of the support examples, `(r,)`."""

    params: Parts
    mean: jax.Array


def distribution(out: jax.Array) -> jax.Array:
    """What a decoder returns `(n, 2 * c)` as means and deviations of at least 0.01, `(n, 2, c)`.

    Example:
      >>> [round(float(number), 4) for number in distribution(jnp.array([[3.0, -99.0]])).ravel()]
      [3.0, 0.01]
    """
    means, raw = jnp.split(out, 2, axis=-1)
    return jnp.stack([means, 0.01 + 0.99 * jax.nn.softplus(raw)], axis=1)


def needs(name: str, outputs: int, found: Any) -> None:
    """See that a decoder returns a mean and a deviation for each output."""
    if found.shape[-1] != 2 * outputs:
        raise ValueError(
            f"{name}: decode returns {found.shape[-1]} numbers and outputs={outputs} needs "
            f"{2 * outputs}, a mean and a deviation for each; change one of them."
        )


def neural_process(encode: Model, decode: Model, *, outputs: int = 1) -> Learner:
    """Conditional neural process: amortised inference by a permutation-invariant encoder.

    Args:
      encode: maps an input beside its target `(n, d + c)` to representations `(n, r)`.
      decode: maps the mean representation beside an input `(n, r + d)` to `(n, 2 * c)`: means, and
        numbers that become deviations.
      outputs: `c`, the width of a target.

    Returns:
      A learner for inputs `(n, d)` and targets `(n, c)`. Predictions are `(n, 2, c)`, means and
      standard deviations of at least 0.01; train and judge them with `gaussian_nll`.

    Raises:
      ValueError: from `init`, for a `decode` of another width.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.neural_process(mj.mlp((64,), 64), mj.mlp((64,), 2))
      >>> sample = mj.tasks.sinusoid()
      >>> task = sample(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 2, 1)

    Reference: Garnelo et al., ICML 2018, section 2. https://arxiv.org/abs/1807.01613
    """

    def init(key, x):
        encode_key, decode_key = jax.random.split(key)
        pairs = jnp.zeros((1, x.shape[-1] + outputs), x.dtype)
        body = encode.init(encode_key, pairs)
        width = jax.eval_shape(encode.apply, body, pairs).shape[-1]
        inputs = jnp.zeros((1, width + x.shape[-1]), x.dtype)
        head = decode.init(decode_key, inputs)
        needs("neural_process", outputs, jax.eval_shape(decode.apply, head, inputs))
        return Parts(body, head)

    def adapt(meta_params, support, key):
        del key
        pairs = jnp.concatenate([support.x, support.y], axis=-1)
        return Summary(meta_params, jnp.mean(encode.apply(meta_params.body, pairs), axis=0))

    def predict(adapted, x):
        mean = jnp.broadcast_to(adapted.mean[None], (len(x), len(adapted.mean)))
        return distribution(decode.apply(adapted.params.head, jnp.concatenate([mean, x], axis=-1)))

    return Learner(init, adapt, predict)
