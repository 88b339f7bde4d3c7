"""Losses and metrics: predictions and targets of `n` examples to one value per example, `(n,)`."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.masks import masked_mean
from metajax.types import Loss


def mse(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The squared error of each example, averaged over its outputs.

    Args:
      predictions: `(n, ...)`.
      targets: Of the same shape.

    Returns:
      `(n,)`.

    Raises:
      ValueError: For two shapes, which would otherwise broadcast into a wrong number.

    Example:
      >>> mse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])).tolist()
      [0.0, 4.0]
    """
    if jnp.shape(predictions) != jnp.shape(targets):
        raise ValueError(
            f"mse: predictions have shape {jnp.shape(predictions)} and targets {jnp.shape(targets)}; make "
            "them equal, for example with predictions[..., 0]."
        )
    return _over_outputs((predictions - targets) ** 2)


def mae(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The absolute error of each example, averaged over its outputs.

    Args:
      predictions: `(n, ...)`.
      targets: Of the same shape.

    Returns:
      `(n,)`.

    Raises:
      ValueError: For two shapes.

    Example:
      >>> mae(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])).tolist()
      [0.0, 2.0]
    """
    if jnp.shape(predictions) != jnp.shape(targets):
        raise ValueError(
            f"mae: predictions have shape {jnp.shape(predictions)} and targets {jnp.shape(targets)}; make "
            "them equal, for example with predictions[..., 0]."
        )
    return _over_outputs(jnp.abs(predictions - targets))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy of each example, in nats.

    Args:
      logits: `(n, way)`.
      labels: Integers `(n,)` in `0 .. way - 1`. Another label gives nan, never a plausible number.

    Returns:
      `(n,)`.

    Raises:
      ValueError: For labels of another shape, or that are no integers.

    Example:
      >>> [round(float(value), 4) for value in cross_entropy(jnp.zeros((2, 5)), jnp.array([1, 5]))]
      [1.6094, nan]
    """
    _check_labels("cross_entropy", logits, labels)
    # A product with one-hot rows is faster than a gather, and so is its derivative.
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    picked = jnp.sum(jnp.where(chosen > 0, logits, 0), axis=-1)
    return jnp.where(_in_range(logits, labels), jax.nn.logsumexp(logits, axis=-1) - picked, jnp.nan)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether the largest logit of each example is that of its label: 1 or 0.

    Args:
      logits: `(n, way)`. An example with a nan among them scores nan.
      labels: Integers `(n,)`; a label outside of `0 .. way - 1` scores nan.

    Returns:
      `(n,)`.

    Raises:
      ValueError: For labels of another shape, or that are no integers.

    Example:
      >>> accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])).tolist()
      [1.0, 0.0]
    """
    _check_labels("accuracy", logits, labels)
    hit = (jnp.argmax(logits, axis=-1) == labels).astype(logits.dtype)
    known = _in_range(logits, labels) & ~jnp.any(jnp.isnan(logits), axis=-1)
    return jnp.where(known, hit, jnp.nan)


def _check_labels(name: str, logits: jax.Array, labels: jax.Array) -> None:
    """Checks that nothing broadcasts into a wrong number."""
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"{name}: logits have shape {logits.shape} and labels {labels.shape} {labels.dtype}; give "
            f"integers of shape {logits.shape[:-1]}, a class for each row of logits."
        )


def _in_range(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return (labels >= 0) & (labels < logits.shape[-1])


def _over_outputs(values: jax.Array) -> jax.Array:
    """Means over all axes but the first."""
    if values.ndim and values.size == len(values):
        return values.reshape(-1)  # one output: nothing to average, in a step or in its derivatives
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def shrunk(loss: Loss, strength: float) -> "Shrunk":
    """A loss whose mean counts `strength` further examples of loss 0: the sum divided by `n + strength`.

    As an inner loss it trusts few examples less. One step of SGD at a rate of 1/2 on the shrunk `mse`
    of a bias gives the shrunk mean `sum(y) / (n + strength)`, the estimate of recommender systems.

    Args:
      loss: Predictions and targets to one value per example, `(n,)`.
      strength: The number of further examples, at least 0.

    Returns:
      A loss with the same values per example, whose `average(values, mask)` learners and objectives
      use in place of `masked_mean`.

    Raises:
      ValueError: For a negative strength.

    Example:
      >>> import jax, jax.numpy as jnp, optax, metajax as mj
      >>> bias = mj.Model(init=lambda key, x: jnp.zeros(1), apply=lambda b, x: b[None] + 0 * x)
      >>> learner = mj.maml(bias, mj.losses.shrunk(mj.mse, 3.0), optax.sgd(0.5), num_steps=1)
      >>> support = mj.Examples(x=jnp.zeros((1, 1)), y=jnp.full((1, 1), 8.0))
      >>> learner.adapt(jnp.zeros(1), support, jax.random.key(0)).tolist()  # 8 / (1 + 3)
      [2.0]

    Reference: Koren, KDD 2008, section 2.1, for the shrunk biases. https://doi.org/10.1145/1401890.1401944
    """
    checks.positive("shrunk", "strength", strength, least=0)
    return Shrunk(loss, strength)


@dataclass(frozen=True)
class Shrunk:
    """The loss that `shrunk` returns."""

    loss: Loss
    strength: float

    def __call__(self, predictions, targets) -> jax.Array:
        """The values of the loss, `(n,)`."""
        return self.loss(predictions, targets)

    def average(self, values: jax.Array, mask: jax.Array | None) -> jax.Array:
        """The sum over the examples that exist, divided by their number and the strength."""
        if jnp.ndim(values) == 0:
            raise ValueError(
                "shrunk: the loss returns a scalar; return one value per example, (n,)."
            )
        number = len(values) if mask is None else jnp.sum(mask)
        share = number / jnp.maximum(number + self.strength, 1e-6)
        return share * masked_mean(values, mask)


def reliability(bins: int = 15) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A metric for `evaluate`: confidence and accuracy by bins of confidence, for `calibration_error`.

    Args:
      bins: Of equal width on [0, 1].

    Returns:
      A metric of logits `(n, way)` and labels `(n,)` to `(n, 2, bins)`: the confidence and the hit of
      each example in the bin of its confidence, and 0 in the others.

    Example:
      >>> metric = reliability(bins=2)  # two examples, sure and wrong, sure and right
      >>> metric(jnp.array([[99.0, 0.0], [99.0, 0.0]]), jnp.array([1, 0])).mean(axis=0).tolist()
      [[0.0, 1.0], [0.0, 0.5]]
    """

    bins = checks.count("reliability", "bins", bins)

    def metric(logits, labels):
        hit = accuracy(logits, labels)
        confidence = jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1)
        bin_of = jnp.minimum((confidence * bins).astype(int), bins - 1)
        member = jax.nn.one_hot(bin_of, bins)
        return jnp.stack([member * confidence[:, None], member * hit[:, None]], axis=1)

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
    """The negative log-likelihood of each example, in nats, averaged over its outputs.

    Args:
      predictions: Means and standard deviations `(n, 2, c)`.
      targets: `(n, c)`.

    Returns:
      `(n,)`.

    Raises:
      ValueError: For other shapes.

    Example:
      >>> standard = jnp.array([[[1.0], [1.0]]])  # mean 1, deviation 1
      >>> round(float(gaussian_nll(standard, jnp.ones((1, 1)))[0]), 4)  # log(2 pi) / 2
      0.9189
    """
    means, deviations = _gaussians("gaussian_nll", predictions, targets)
    return _over_outputs(-jax.scipy.stats.norm.logpdf(targets, means, deviations))


def error_of_mean(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The squared error of the mean of each example `(n,)`, of predictions `(n, 2, c)`.

    Raises:
      ValueError: For other shapes.

    Example:
      >>> error_of_mean(jnp.array([[[1.0], [1.0]]]), jnp.full((1, 1), 3.0)).tolist()
      [4.0]
    """
    return mse(_gaussians("error_of_mean", predictions, targets)[0], targets)


def coverage(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The fraction of the outputs of each example that lie in their central 95 % interval, `(n,)`.

    Args:
      predictions: Means and standard deviations `(n, 2, c)`.
      targets: `(n, c)`.

    Raises:
      ValueError: For other shapes.

    Example:
      >>> coverage(jnp.array([[[1.0], [1.0]]]), jnp.full((1, 1), 3.0)).tolist()  # 2 > 1.96
      [0.0]
    """
    means, deviations = _gaussians("coverage", predictions, targets)
    inside = (jnp.abs(targets - means) < 1.96 * deviations).astype(means.dtype)
    return _over_outputs(jnp.where(jnp.isnan(means + deviations), jnp.nan, inside))


def _gaussians(
    name: str, predictions: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Means and deviations `(n, c)`."""
    if targets.ndim != 2 or predictions.shape != (len(targets), 2, targets.shape[1]):
        raise ValueError(
            f"{name}: predictions have shape {predictions.shape} and targets {targets.shape}; give means "
            "and deviations (n, 2, c) and targets (n, c)."
        )
    return predictions[:, 0], predictions[:, 1]
