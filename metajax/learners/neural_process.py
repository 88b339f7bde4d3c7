"""Neural processes: a network maps a support set to a predictive distribution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import filled, masked_mean
from metajax.nn.models import pixels
from metajax.types import Learner, Model, Params


class NeuralProcessParams(NamedTuple):
    """The weights of the three networks, and the logarithm of the strength or None."""

    embed: Params
    encode: Params
    decode: Params
    log_strength: jax.Array | None = None


class NeuralProcessState(NamedTuple):
    """The weights, and the mean representation of the support examples, `(r,)`."""

    params: NeuralProcessParams
    mean: jax.Array


def distribution(out: jax.Array) -> jax.Array:
    """Outputs of a decoder `(n, 2 * c)` as means and standard deviations, `(n, 2, c)`.

    The deviations are `0.01 + 0.99 softplus(s)`.

    Example:
      >>> [round(float(number), 4) for number in distribution(jnp.array([[3.0, -99.0]])).ravel()]
      [3.0, 0.01]
    """
    means, raw = jnp.split(out, 2, axis=-1)
    return jnp.stack([means, 0.01 + 0.99 * jax.nn.softplus(raw)], axis=1)


def check_decoder(where: str, outputs: int, found: Any, deviations: bool = True) -> None:
    """Checks that a decoder returns a mean and, where asked, a deviation for each output.

    Raises:
      ValueError: For another width than `2 * outputs`, or `outputs` without deviations.
    """
    if not deviations and found.shape[-1] != outputs:
        raise ValueError(
            f"{where}: decode returns {found.shape[-1]} numbers, but with deviations=False it must return "
            f"outputs={outputs}. Change one of them."
        )
    if not deviations:
        return
    if found.shape[-1] != 2 * outputs:
        raise ValueError(
            f"{where}: decode returns {found.shape[-1]} numbers, but outputs={outputs} needs "
            f"{2 * outputs}, a mean and a deviation for each. Change one of them."
        )


def check_targets(where: str, y: Any, outputs: int) -> None:
    """Checks that targets are an array of numbers `(n, outputs)`.

    Raises:
      ValueError: For another shape.

    Example:
      >>> check_targets("neural_process", jnp.zeros(3), 1)
      Traceback (most recent call last):
      ValueError: neural_process: support.y is float32 (3,), but with outputs=1 it must be (n, 1).
    """
    shape = getattr(y, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != outputs:
        found = f"a {type(y).__name__}" if shape is None else f"{y.dtype} {shape}"
        raise ValueError(
            f"{where}: support.y is {found}, but with outputs={outputs} it must be (n, {outputs})."
        )


def neural_process(
    encode: Model,
    decode: Model,
    *,
    outputs: int = 1,
    embed: Model = pixels,
    strength: float | None = None,
    deviations: bool = True,
) -> Learner:
    """Learns amortised inference by a permutation-invariant encoder: a conditional neural process.

    With features `h`, the representation of a support set is `r = mean_i encode([h_i, y_i])`, and a
    prediction is `decode([r, h])`.

    Args:
      encode: Maps the features of an input, concatenated with its target, `(n, d + c)`, to
        representations `(n, r)`.
      decode: Maps the mean representation, concatenated with the features of a query, `(n, r + d)`,
        to `(n, 2 * c)`: means, and numbers `s` that give deviations `0.01 + 0.99 softplus(s)`. The
        authors' code has 0.1 and 0.9.
      outputs: `c`, the width of a target.
      embed: Maps inputs, such as dictionaries of arrays, to features `(n, d)`; `pixels` for the
        inputs themselves.
      strength: The initial `s` of a mean `sum_i encode([h_i, y_i]) / (n + s)`, above 0; meta-learned. A
        small support set is then trusted less, and the decoder can tell its size. None for the mean.
      deviations: Whether standard deviations are predicted. Without them `decode` returns `(n, c)`, and
        so does the learner; train it with `mse` or `mae`.

    Returns:
      A learner for targets `(n, c)`, whose meta-parameters are `NeuralProcessParams`. Predictions are
      `(n, 2, c)`, means and standard deviations of at least 0.01; train and evaluate them with
      `gaussian_nll`.

    Raises:
      ValueError: If `outputs` is below 1 or `strength` is not above 0; from `init`, for a `decode` of
        another width; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.neural_process(mj.mlp((64,), 64), mj.mlp((64,), 2))
      >>> sample = mj.tasks.sinusoid()
      >>> task = sample(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 2, 1)

    Reference:
      Garnelo et al., ICML 2018, section 2. https://arxiv.org/abs/1807.01613
    """
    where = "neural_process"
    encode, decode = checks.as_model(where, encode), checks.as_model(where, decode)
    embed, outputs = checks.as_model(where, embed), checks.count(where, "outputs", outputs)
    if strength is not None:
        checks.positive(where, "strength", strength)

    def init(key, x):
        embed_key, encode_key, decode_key = jax.random.split(key, 3)
        embedding = embed.init(embed_key, x)
        features = jax.eval_shape(embed.apply, embedding, x)
        pairs = jnp.zeros((1, features.shape[-1] + outputs), features.dtype)
        encoder = encode.init(encode_key, pairs)
        width = jax.eval_shape(encode.apply, encoder, pairs).shape[-1]
        inputs = jnp.zeros((1, width + features.shape[-1]), features.dtype)
        decoder = decode.init(decode_key, inputs)
        check_decoder(where, outputs, jax.eval_shape(decode.apply, decoder, inputs), deviations)
        start = None if strength is None else jnp.log(jnp.asarray(strength, features.dtype))
        return NeuralProcessParams(embedding, encoder, decoder, start)

    def adapt(meta_params, support, key):
        del key
        check_targets(where, support.y, outputs)
        x, y, mask = filled(support)
        features = embed.apply(meta_params.embed, x)
        pairs = jnp.concatenate([features, jnp.asarray(y, features.dtype)], axis=-1)
        mean = masked_mean(encode.apply(meta_params.encode, pairs), mask)
        if meta_params.log_strength is not None:
            number = len(pairs) if mask is None else jnp.sum(mask)
            mean = number / (number + jnp.exp(meta_params.log_strength)) * mean
        return NeuralProcessState(meta_params, mean)

    def predict(adapted, x):
        features = embed.apply(adapted.params.embed, x)
        mean = jnp.broadcast_to(adapted.mean[None], (len(features), len(adapted.mean)))
        inputs = jnp.concatenate([mean, features], axis=-1)
        out = decode.apply(adapted.params.decode, inputs)
        return distribution(out) if deviations else out

    return Learner(init, adapt, predict)
