"""What classifiers share: labels are checked, and a support set has a column for every class."""

from typing import Any

import jax
import jax.numpy as jnp


def check_labels(where: str, labels: Any) -> None:
    """Checks that targets are integer labels `(n,)`.

    Whether they are below the number of columns depends on their values, which are unknown inside
    `jit`: examples with other labels belong to no class.

    Raises:
      ValueError: For floats, booleans, or another shape.

    Example:
      >>> check_labels("protonet", jnp.zeros((4, 1)))
      Traceback (most recent call last):
      ValueError: protonet: support.y is float32 (4, 1), but must be integer labels (n,), 0 .. way - 1.
    """
    shape = getattr(labels, "shape", None)
    dtype: Any = getattr(labels, "dtype", None)
    if shape is None or len(shape) != 1 or not jnp.issubdtype(dtype, jnp.integer):
        found = f"a {type(labels).__name__}" if shape is None else f"{dtype} {shape}"
        raise ValueError(
            f"{where}: support.y is {found}, but must be integer labels (n,), 0 .. way - 1."
        )


def one_hot(labels: jax.Array, mask: jax.Array | None = None, dtype: Any = jnp.float32):
    """Rows `(n, columns)` of labels `(n,)`, those of masked examples 0.

    There are `n` columns, as many as examples, so that the way may differ from task to task: `n`
    examples with labels `0 .. way - 1` have at most `n` classes. A label outside of `0 .. n - 1`
    gives a row of zeros, and its example belongs to no class.

    Example:
      >>> one_hot(jnp.array([1, 0, 1]), jnp.array([True, True, False])).tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    rows = jax.nn.one_hot(labels, len(labels), dtype=dtype)
    return rows if mask is None else jnp.where(mask[:, None], rows, 0)


def squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Squared distances `(n, m)` of rows `(n, d)` and `(m, d)`, as |a|^2 - 2 a.b + |b|^2.

    This form needs no array `(n, m, d)`. Its rounding error is that of the squared norms, about
    1e-7 (|a|^2 + |b|^2), so rows with a large common offset are best centred first.

    Example:
      >>> squared_distances(jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
      [[25.0, 1.0]]
    """
    # In TF32, the default of GPUs, the product would lose what the difference needs.
    product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None] - 2 * product


def class_log_probabilities(
    votes: jax.Array, present: jax.Array, log_smoothing: jax.Array
) -> jax.Array:
    """Log-shares of votes `(n, columns)`, after each present class has received some beforehand.

    Args:
      votes: `(n, columns)`, non-negative.
      present: `(columns,)` booleans, whether a class has examples. The others get the lowest finite
        logit.
      log_smoothing: The logarithm of the votes beforehand.

    Example:
      >>> votes, present = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([True, True, False])
      >>> jnp.exp(class_log_probabilities(votes, present, jnp.zeros(()))).tolist()[0]  # 3 and 1 of 4
      [0.75, 0.25, 0.0]
    """
    smoothed = jnp.where(present[None], votes + jnp.exp(log_smoothing), 0)
    total = jnp.sum(smoothed, axis=1, keepdims=True)
    share = smoothed / jnp.where(total > 0, total, 1)  # 0 where no class has an example
    return lowest_where_absent(jnp.log(jnp.where(present[None], share, 1)), present)


def lowest_where_absent(logits: jax.Array, present: jax.Array) -> jax.Array:
    """Logits `(n, columns)` with the lowest finite number for classes without examples."""
    return jnp.where(present[None], logits, jnp.finfo(logits.dtype).min)
