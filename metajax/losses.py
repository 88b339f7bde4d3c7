"""Losses and metrics: predictions and targets of `n` examples to a scalar, the mean over `n`."""

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

    Example:
      >>> round(float(cross_entropy(jnp.zeros((3, 5)), jnp.array([0, 1, 4]))), 4)
      1.6094
    """
    # A product with one-hot rows is faster than a gather, and so is its derivative.
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    picked = jnp.sum(jnp.where(chosen > 0, logits, 0), axis=-1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The fraction of `n` examples whose largest logit, of `(n, way)`, is that of their label.

    Example:
      >>> float(accuracy(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])))
      0.5
    """
    return jnp.mean(jnp.argmax(logits, axis=-1) == labels)
