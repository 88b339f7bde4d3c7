"""Bayesian linear regression on learned features, with a meta-learned prior."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.learners.closed_form import ridge_regression
from metajax.learners.neural_process import check_targets
from metajax.masks import exists, filled
from metajax.types import Learner, Model, Params


class RidgeParams(NamedTuple):
    """The weights of the embedding, and the prior of the head.

    embed: Of the embedding.
    mean: Of the prior, `(d, outputs)`.
    log_variance: Logarithms of the variances of the prior, `(d,)`.
    log_noise: The logarithm of the variance of the targets around the head.
    """

    embed: Params
    mean: jax.Array
    log_variance: jax.Array
    log_noise: jax.Array


class RidgeState(NamedTuple):
    """The weights of the embedding, and the posterior mean of the head, `(d, outputs)`."""

    embed: Params
    weights: jax.Array


def ridge(
    embed: Model, *, outputs: int = 1, mean: Any = 0.0, variance: Any = 1.0, noise: float = 1.0
) -> Learner:
    """Learns features and a Gaussian prior of a linear head, whose posterior mean predicts.

    With features `X (n, d)`, targets `Y (n, outputs)`, a prior `N(m, V)` of the weights with diagonal
    `V`, and noise of variance `s`, the head is `m + V X' (X V X' + s I)^-1 (Y - X m)`. Without a
    support example it is the prior mean. A full covariance is no more general where the last layer of
    `embed` is linear.

    Args:
      embed: Maps inputs to features `(n, d)`. The head has no bias: give a column of ones.
      outputs: The width of a target.
      mean: The initial prior mean; broadcast to `(d, outputs)`.
      variance: The initial prior variances, above 0; broadcast to `(d,)`.
      noise: The initial variance of the noise, above 0.

    Returns:
      A learner for targets `(n, outputs)`, whose meta-parameters are `RidgeParams`. Predictions are
      `(n, outputs)`.

    Raises:
      ValueError: If a variance is not above 0 or `outputs` is below 1; from `init`, for a prior that
        does not broadcast; from `adapt`, for targets of another shape.

    Example:
      >>> import jax, jax.numpy as jnp, metajax as mj
      >>> learner = mj.ridge(mj.pixels, mean=1.0)
      >>> support = mj.Examples(x=jnp.ones((2, 1)), y=jnp.array([[4.0], [4.0]]))
      >>> meta_params = learner.init(jax.random.key(0), support.x)
      >>> adapted = learner.adapt(meta_params, support, jax.random.key(0))
      >>> learner.predict(adapted, jnp.ones((1, 1))).round(4).tolist()  # 1 + (3 + 3) / (2 + 1)
      [[3.0]]

    Reference:
      Harrison, Sharma and Pavone, WAFR 2018, section 3 (ALPaCA). https://arxiv.org/abs/1807.08912
    """
    embed, outputs = checks.as_model("ridge", embed), checks.count("ridge", "outputs", outputs)
    checks.positive("ridge", "noise", noise)
    if not bool(jnp.all(jnp.asarray(variance) > 0)):
        raise ValueError(
            f"ridge: variance={variance!r} must be above 0, a number or one per feature."
        )

    def init(key, x):
        params = embed.init(key, x)
        features = jax.eval_shape(embed.apply, params, x)
        width, dtype = features.shape[-1], features.dtype
        start = _broadcast("mean", mean, (width, outputs)).astype(dtype)
        log_variance = jnp.log(_broadcast("variance", variance, (width,)).astype(dtype))
        return RidgeParams(params, start, log_variance, jnp.log(jnp.asarray(noise, dtype)))

    def adapt(meta_params, support, key):
        del key
        check_targets("ridge", support.y, outputs)
        support = filled(support)
        features = embed.apply(meta_params.embed, support.x)
        residual = jnp.asarray(support.y, features.dtype) - features @ meta_params.mean
        deviation = jnp.exp(meta_params.log_variance / 2)[None]
        scaled = jnp.where(exists(support)[:, None], features * deviation, 0)
        change = ridge_regression(scaled, residual, jnp.exp(meta_params.log_noise))
        return RidgeState(meta_params.embed, meta_params.mean + deviation.T * change)

    def predict(adapted, x):
        return embed.apply(adapted.embed, x) @ adapted.weights

    return Learner(init, adapt, predict)


def _broadcast(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    array = jnp.asarray(value)
    try:
        return jnp.broadcast_to(
            array.reshape((1,) * (len(shape) - array.ndim) + array.shape), shape
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"ridge: {name} has shape {array.shape}, which does not broadcast to {shape}. Give a number, "
            "or one for each feature."
        ) from error
