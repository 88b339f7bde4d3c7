"""Attentive neural processes: each query attends to the support examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.neural_process import check_decoder, check_targets, distribution
from metajax.masks import exists, filled
from metajax.nn.attention import KeyValues, attend
from metajax.nn.models import pixels
from metajax.types import Learner, Model, Params


class AttentiveProcessParams(NamedTuple):
    """The weights of the four networks."""

    embed: Params
    encode: Params
    locate: Params
    decode: Params


class AttentiveProcessState(NamedTuple):
    """The weights, the keys and values of the support examples, and which of them exist."""

    params: AttentiveProcessParams
    tokens: KeyValues
    mask: jax.Array


def attentive_process(
    encode: Model,
    locate: Model,
    decode: Model,
    *,
    heads: int = 4,
    outputs: int = 1,
    embed: Model = pixels,
) -> Learner:
    """Learns attention from queries to support examples: an attentive neural process.

    This is the deterministic path alone, without a latent variable and without attention among support
    examples. The mean of `neural_process` underfits: it does not pass through the support set.

    Args:
      encode: Maps the features of an input, concatenated with its target, `(n, d + c)`, to
        representations `(n, r)`.
      locate: Maps features `(n, d)` to `(n, k)`: the keys of support examples and the queries of
        query inputs.
      decode: Maps what a query attended to, concatenated with its features, `(n, r + d)`, to
        `(n, 2 * c)`: means, and numbers `s` that give deviations `0.01 + 0.99 softplus(s)`. The
        authors' code has 0.1 and 0.9.
      heads: The number of attention heads, a divisor of `r` and `k`. The last layers of `encode` and
        `locate` serve as their projections.
      outputs: `c`, the width of a target.
      embed: Maps inputs, such as dictionaries of arrays, to features `(n, d)`; `pixels` for the
        inputs themselves.

    Returns:
      A learner for targets `(n, c)`, whose meta-parameters are `AttentiveProcessParams`. Predictions
      are `(n, 2, c)`, means and standard deviations of at least 0.01; train and evaluate them with
      `gaussian_nll`.

    Raises:
      ValueError: If `heads` or `outputs` is below 1; from `init`, for a `decode` of another width, or
        heads that do not divide `r` and `k`; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> net = mj.mlp((64,), 64, start="lecun")
      >>> learner = mj.attentive_process(net, net, mj.mlp((64,), 2, start="lecun"))
      >>> task = mj.tasks.sinusoid()(jax.random.key(0))
      >>> meta_params = learner.init(jax.random.key(0), task.support.x)
      >>> adapted = learner.adapt(meta_params, task.support, jax.random.key(0))
      >>> learner.predict(adapted, task.query.x).shape
      (10, 2, 1)

    Reference:
      Kim et al., ICLR 2019, section 3. https://arxiv.org/abs/1901.05761
    """
    where = "attentive_process"
    encode, locate = checks.as_model(where, encode), checks.as_model(where, locate)
    decode, embed = checks.as_model(where, decode), checks.as_model(where, embed)
    heads = checks.count(where, "heads", heads)
    outputs = checks.count(where, "outputs", outputs)

    def init(key, x):
        embed_key, encode_key, locate_key, decode_key = jax.random.split(key, 4)
        embedding = embed.init(embed_key, x)
        shape = jax.eval_shape(embed.apply, embedding, x)
        features = jnp.zeros((1, shape.shape[-1]), shape.dtype)
        pairs = jnp.zeros((1, shape.shape[-1] + outputs), shape.dtype)
        encoder, locator = encode.init(encode_key, pairs), locate.init(locate_key, features)
        width = jax.eval_shape(encode.apply, encoder, pairs).shape[-1]
        key_width = jax.eval_shape(locate.apply, locator, features).shape[-1]
        if width % heads or key_width % heads:
            raise ValueError(
                f"{where}: heads={heads} must divide the {width} numbers that encode returns and the "
                f"{key_width} of locate."
            )
        inputs = jnp.zeros((1, width + shape.shape[-1]), shape.dtype)
        decoder = decode.init(decode_key, inputs)
        check_decoder(where, outputs, jax.eval_shape(decode.apply, decoder, inputs))
        return AttentiveProcessParams(embedding, encoder, locator, decoder)

    def split(rows):
        return rows.reshape(len(rows), heads, -1)

    def adapt(meta_params, support, key):
        del key
        check_targets(where, support.y, outputs)
        support = filled(support)
        features = embed.apply(meta_params.embed, support.x)
        keys = locate.apply(meta_params.locate, features)
        targets = jnp.asarray(support.y, features.dtype)
        values = encode.apply(meta_params.encode, jnp.concatenate([features, targets], axis=-1))
        tokens = KeyValues(split(keys), split(values))
        return AttentiveProcessState(meta_params, tokens, exists(support))

    def predict(adapted, x):
        params: AttentiveProcessParams = adapted.params
        features = embed.apply(params.embed, x)
        queries = split(locate.apply(params.locate, features))
        found = attend(queries, adapted.tokens, adapted.mask[None]).reshape(len(features), -1)
        inputs = jnp.concatenate([found, features], axis=-1)
        return distribution(decode.apply(params.decode, inputs))

    return Learner(init, adapt, predict)
