"""Sine waves of random amplitude and phase: the regression task of every quick test."""

import math

import jax
import jax.numpy as jnp

from metajax.types import Examples, Sample, Task


def sinusoid(
    shot: int = 10,
    query_shot: int = 10,
    *,
    amplitude: tuple[float, float] = (0.1, 5.0),
    phase: tuple[float, float] = (0.0, math.pi),
    x: tuple[float, float] = (-5.0, 5.0),
) -> Sample:
    """MAML's regression tasks, `y = A sin(x - phase)` without noise.

    Args:
      shot: support examples.
      query_shot: query examples, drawn anew from the same interval.
      amplitude: `A` is uniform on it.
      phase: in radians, uniform on it.
      x: inputs are uniform on it.

    Returns:
      `sample(key) -> Task` with `x` and `y` of shape `(shot, 1)` and `(query_shot, 1)`. On these
      defaults predicting 0 has a mean squared error of 4.25, and the best predictor that does not
      adapt 3.01.

    Raises:
      ValueError: for fewer than one example, or an empty interval.

    Example:
      >>> import jax, metajax as mj
      >>> sample = mj.tasks.sinusoid(shot=5)
      >>> sample(jax.random.key(0)).support.x.shape
      (5, 1)

    Reference: Finn, Abbeel and Levine, ICML 2017, section 5.1; its code, data_generator.py.
    https://arxiv.org/abs/1703.03400
    """
    if shot < 1 or query_shot < 1:
        raise ValueError(f"sinusoid: shot={shot} and query_shot={query_shot}; each is 1 or more.")
    for name, (low, high) in {"amplitude": amplitude, "phase": phase, "x": x}.items():
        if low > high:
            raise ValueError(f"sinusoid: {name}=({low}, {high}); give the smaller number first.")

    def sample(key: jax.Array) -> Task:
        amplitude_key, phase_key, x_key = jax.random.split(key, 3)
        a = jax.random.uniform(amplitude_key, minval=amplitude[0], maxval=amplitude[1])
        p = jax.random.uniform(phase_key, minval=phase[0], maxval=phase[1])
        inputs = jax.random.uniform(x_key, (shot + query_shot, 1), minval=x[0], maxval=x[1])
        targets = a * jnp.sin(inputs - p)
        return Task(
            support=Examples(inputs[:shot], targets[:shot]),
            query=Examples(inputs[shot:], targets[shot:]),
        )

    return sample
