"""Losses and metrics: predictions and targets of `n` examples to a scalar, the mean over `n`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def mse(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error of predictions and targets of one shape.

    Raises:
      ValueError: for two shapes, which would otherwise broadcast into a wrong number.

    Example:
      >>> float(mse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
      2.0
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"mse: predictions are {predictions.shape} and targets {targets.shape}; make them "
            "equal, for example with predictions[..., 0]."
        )
    return jnp.mean((predictions - targets) ** 2)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy, in nats, of logits `(n, way)` and integer labels `(n,)`.

    Examples with a label of -1 are not there: they pad a task of fewer classes or shots.

    Raises:
      ValueError: for labels of another shape, or that are no integers.

    Example:
      >>> round(float(cross_entropy(jnp.zeros((3, 5)), jnp.array([0, 1, -1]))), 4)
      1.6094
    """
    _check_labels("cross_entropy", logits, labels)
    # A product with one-hot rows is faster than a gather, and so is its derivative.
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    picked = jnp.sum(jnp.where(chosen > 0, logits, 0), axis=-1)
    return _mean(jax.nn.logsumexp(logits, axis=-1) - picked, labels)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The fraction of examples whose largest logit, of `(n, way)`, is that of their label `(n,)`.

    Examples with a label of -1 do not count.

    Raises:
      ValueError: for labels of another shape, or that are no integers.

    Example:
      >>> float(accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])))
      0.5
    """
    _check_labels("accuracy", logits, labels)
    return _mean((jnp.argmax(logits, axis=-1) == labels).astype(logits.dtype), labels)


def _check_labels(name: str, logits: jax.Array, labels: jax.Array) -> None:
    """See that nothing broadcasts into a wrong number."""
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"{name}: logits are {logits.shape} and labels {labels.shape} {labels.dtype}; give integers "
            f"of shape {logits.shape[:-1]}, a class for each row of logits."
        )


def _mean(values: jax.Array, labels: jax.Array) -> jax.Array:
    there = labels >= 0
    return jnp.sum(jnp.where(there, values, 0)) / jnp.maximum(jnp.sum(there), 1)


def reliability(bins: int = 15) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A metric for `evaluate`: confidence and accuracy by bins of confidence, for `calibration_error`.

    Args:
      bins: of equal width on [0, 1].

    Returns:
      A metric of logits `(n, way)` and labels `(n,)` to `(2, bins)`: sums over examples, divided by
      their number, of confidence and of hits. Examples with a label of -1 do not count.

    Example:
      >>> metric = reliability(bins=2)  # two examples, sure and wrong, sure and right
      >>> metric(jnp.array([[99.0, 0.0], [99.0, 0.0]]), jnp.array([1, 0])).tolist()
      [[0.0, 1.0], [0.0, 0.5]]
    """

    def metric(logits, labels):
        _check_labels("reliability", logits, labels)
        confidence = jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)
        bin_of = jnp.minimum((confidence * bins).astype(int), bins - 1)
        there = labels >= 0
        member = jnp.where(there, jax.nn.one_hot(bin_of, bins, axis=0), 0)
        member = member / jnp.maximum(jnp.sum(there), 1)
        hit = (jnp.argmax(logits, axis=-1) == labels).astype(member.dtype)
        return jnp.stack([member @ confidence, member @ hit])

    return metric


def calibration_error(by_bin: jax.Array) -> jax.Array:
    """Expected calibration error, in [0, 1], of the mean `(..., 2, bins)` of `reliability`.

    Example:
      >>> round(float(calibration_error(jnp.array([[0.0, 0.9], [0.0, 0.5]]))), 4)
      0.4

    Reference: Guo, Pleiss, Sun and Weinberger, ICML 2017, section 2. https://arxiv.org/abs/1706.04599
    """
    return jnp.sum(jnp.abs(by_bin[..., 0, :] - by_bin[..., 1, :]), axis=-1)


def gaussian_nll(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean negative log-likelihood, in nats, of means and deviations `(n, 2, c)` and targets `(n, c)`.

    Raises:
      ValueError: for other shapes.

    Example:
      >>> certain = jnp.array([[[1.0], [1.0]]])  # mean 1, deviation 1
      >>> round(float(gaussian_nll(certain, jnp.ones((1, 1)))), 4)  # log(2 pi) / 2
      0.9189
    """
    means, deviations = _gaussians("gaussian_nll", predictions, targets)
    return -jnp.mean(jax.scipy.stats.norm.logpdf(targets, means, deviations))


def error_of_mean(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error of the means in predictions `(n, 2, c)`, of targets `(n, c)`.

    Raises:
      ValueError: for other shapes.

    Example:
      >>> float(error_of_mean(jnp.array([[[1.0], [1.0]]]), jnp.full((1, 1), 3.0)))
      4.0
    """
    return mse(_gaussians("error_of_mean", predictions, targets)[0], targets)


def coverage(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The fraction of targets `(n, c)` in the central 95 % interval of means and deviations `(n, 2, c)`.

    Raises:
      ValueError: for other shapes.

    Example:
      >>> float(coverage(jnp.array([[[1.0], [1.0]]]), jnp.full((1, 1), 3.0)))  # 2 > 1.96
      0.0
    """
    means, deviations = _gaussians("coverage", predictions, targets)
    return jnp.mean(jnp.abs(targets - means) < 1.96 * deviations)


def _gaussians(
    name: str, predictions: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Means and deviations `(n, c)`."""
    if targets.ndim != 2 or predictions.shape != (len(targets), 2, targets.shape[1]):
        raise ValueError(
            f"{name}: predictions are {predictions.shape} and targets {targets.shape}; give means and "
            "deviations (n, 2, c) and targets (n, c)."
        )
    return predictions[:, 0], predictions[:, 1]
