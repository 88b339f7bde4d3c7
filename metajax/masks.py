"""Which examples exist: means that masked ones do not enter, and inputs that they do not spoil."""

from typing import Any

import jax
import jax.numpy as jnp

from metajax.types import Examples, Loss


def masked_mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The mean over the examples that exist.

    Args:
      values: `(n, ...)`, or a scalar that is a mean already.
      mask: `(n,)`, or None where all examples exist.

    Returns:
      The mean over the first axis; 0 where no example exists.

    Raises:
      ValueError: If `values` is a scalar and some examples may be masked.

    Example:
      >>> float(masked_mean(jnp.array([1.0, 2.0, jnp.nan]), jnp.array([True, True, False])))
      1.5
    """
    if jnp.ndim(values) == 0:
        if mask is not None:
            raise ValueError(
                "the loss or metric returns a scalar, but examples are masked. Return one value per "
                "example, (n,), as optax.losses and metajax's own do."
            )
        return values
    if mask is None:
        return jnp.mean(values, axis=0)
    if mask.shape != values.shape[:1]:
        raise ValueError(
            f"the mask has shape {mask.shape} but there are values of {values.shape[0]} examples. "
            "Give a mask (n,), one boolean per example."
        )
    by_example = mask.reshape(-1, *[1] * (values.ndim - 1))
    return jnp.sum(jnp.where(by_example, values, 0), axis=0) / jnp.maximum(jnp.sum(mask), 1)


def filled(examples: Examples) -> Examples:
    """Replaces masked examples by copies of those that exist, taken in turn.

    A model is applied to whole arrays, and a nan that is multiplied by 0 in a derivative is still
    nan. Copies of real examples are valid inputs and targets of every model and loss. Where no
    example exists, all are zeros.

    Example:
      >>> rows = Examples(jnp.array([5.0, jnp.nan, 6.0]), jnp.array([1, -9, 2]))
      >>> filled(rows._replace(mask=jnp.array([True, False, True]))).x.tolist()
      [5.0, 5.0, 6.0]
    """
    if examples.mask is None:
        return examples
    mask = examples.mask.astype(bool)
    existing = jnp.argsort(~mask, stable=True)
    turn = (jnp.cumsum(~mask) - 1) % jnp.maximum(jnp.sum(mask), 1)
    index = jnp.where(mask, jnp.arange(len(mask)), existing[turn])

    def fill(leaf):
        return jnp.where(jnp.any(mask), leaf[index], jnp.zeros_like(leaf))

    x, y = jax.tree.map(fill, (examples.x, examples.y))
    return Examples(x, y, mask)


def exists(examples: Examples) -> jax.Array:
    """The mask `(n,)` of examples, all true where there is none.

    Example:
      >>> exists(Examples(jnp.zeros(2), jnp.zeros(2))).tolist()
      [True, True]
    """
    if examples.mask is None:
        return jnp.ones(jax.tree.leaves(examples.x)[0].shape[0], bool)
    return examples.mask.astype(bool)


def mean_loss(loss: Loss, predictions: Any, examples: Examples) -> jax.Array:
    """The mean loss over the examples that exist, a scalar.

    Args:
      loss: Predictions and targets to `(n,)`; further axes, as of `optax.squared_error`, are averaged.
        Its attribute `average`, where it has one, takes the place of `masked_mean`.
      predictions: Of the examples, as `filled` gives them.
      examples: Whose targets are read.

    Example:
      >>> examples = Examples(None, jnp.array([1.0, 3.0]), jnp.array([True, False]))
      >>> float(mean_loss(lambda p, y: (p - y) ** 2, jnp.zeros(2), examples))
      1.0
    """
    average = getattr(loss, "average", masked_mean)
    mean = average(loss(predictions, examples.y), examples.mask)
    return jnp.mean(mean) if mean.ndim else mean
