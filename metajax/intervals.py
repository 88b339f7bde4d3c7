"""Student's t: how many standard errors are half of a 95% interval of a mean."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def standard_errors(number: Any) -> np.ndarray:
    """Half the width of the 95% interval of the mean of `number` values, in standard errors.

    Args:
      number: How many values there are, one integer or an array of them; fewer than two have no interval,
        and give nan.

    Example:
      >>> standard_errors([1, 2, 10, 600]).round(2).tolist()
      [nan, 12.71, 2.26, 1.96]
    """
    from scipy.special import stdtrit  # takes a part of a second to load

    number = np.asarray(number)
    return stdtrit(np.where(number > 1, number - 1, np.nan), 0.975)


def traced_standard_errors(number: jax.Array, most: int) -> jax.Array:
    """`standard_errors` of a number that the running program counts, which is `most` at most.

    Example:
      >>> round(float(traced_standard_errors(jnp.array(10), most=20)), 2)
      2.26
    """
    return jnp.asarray(standard_errors(np.arange(most + 1)), float)[number]
