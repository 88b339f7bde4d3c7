"""Linear heads in closed form."""

import jax
import jax.numpy as jnp


def ridge_regression(features: jax.Array, targets: jax.Array, ridge: jax.Array) -> jax.Array:
    """Returns `X' (X X' + ridge I)^-1 Y`, the weights of ridge regression.

    By Woodbury's identity there are as many equations as examples, not as features. A row of zeros
    weighs nothing.

    Args:
      features: `X`, `(n, d)`.
      targets: `Y`, `(n, columns)`.
      ridge: The regularisation, a scalar above 0.

    Returns:
      Weights `(d, columns)`.

    Example:
      >>> ridge_regression(jnp.eye(2), jnp.array([[4.0], [8.0]]), jnp.array(3.0)).tolist()
      [[1.0], [2.0]]
    """
    gram = features @ features.T + ridge * jnp.eye(len(features), dtype=features.dtype)
    return features.T @ jax.scipy.linalg.solve(gram, targets, assume_a="pos")
