"""Families of functions of one variable: lines, polynomials, waves, or a mixture of them."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from metajax.names import choose

Family: TypeAlias = Callable[[jax.Array], Callable[[jax.Array], jax.Array]]
"""A key to a function of inputs `(n, 1)` and values `(n, 1)`."""

Subset = Literal["near", "far"]


def _parameters(key: jax.Array, shape: tuple[int, ...], subset: Subset) -> jax.Array:
    """Of either sign: up to 1, or "far" from 1 to 1.5."""
    choose("tasks", "subset", subset, ("near", "far"))
    low, high = (0.0, 1.0) if subset == "near" else (1.0, 1.5)
    size_key, sign_key = jax.random.split(key)
    sizes = jax.random.uniform(size_key, shape, minval=low, maxval=high)
    return jnp.where(jax.random.bernoulli(sign_key, 0.5, shape), sizes, -sizes)


def lines(slope: float = 3.0, intercept: float = 3.0, *, subset: Subset = "near") -> Family:
    """`a x + b`: `a` and `b` uniform up to these sizes, or "far", from 1 to 1.5 times as great.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = lines(slope=0.0, intercept=0.0)(jax.random.key(0))
      >>> f(jnp.ones((2, 1))).tolist()
      [[0.0], [0.0]]
    """

    def family(key):
        a, b = _parameters(key, (2,), subset)
        return lambda x: slope * a * x + intercept * b

    return family


def polynomials(degree: int, size: float = 3.0, *, subset: Subset = "near") -> Family:
    """Sums of Chebyshev polynomials of `x / 5` up to `degree`, each coefficient up to `size`.

    Raises:
      ValueError: for a negative degree.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = polynomials(2)(jax.random.key(0))
      >>> second = f(jnp.array([[-2.5], [0.0], [2.5]]))  # T2 is curved, and its differences constant
      >>> second.shape
      (3, 1)
    """
    if degree < 0:
        raise ValueError(f"polynomials: degree={degree}; it is 0 or more.")

    def family(key):
        coefficients = size * _parameters(key, (degree + 1,), subset)

        def f(x):
            previous, current = jnp.ones_like(x), x / 5
            total = coefficients[0] * previous
            for coefficient in coefficients[1:]:
                total = total + coefficient * current
                previous, current = current, 2 * (x / 5) * current - previous
            return total

        return f

    return family


def harmonics(terms: int, size: float = 3.0, *, subset: Subset = "near") -> Family:
    """Sums of `terms` sine waves of frequencies 0.5, 1, 1.5, ..., with random phase and size.

    Raises:
      ValueError: for no term.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = harmonics(3)(jax.random.key(0))
      >>> bool(jnp.all(jnp.abs(f(jnp.linspace(-5, 5, 50)[:, None])) <= 9))
      True
    """
    if terms < 1:
        raise ValueError(f"harmonics: terms={terms}; it is 1 or more.")

    def family(key):
        size_key, phase_key = jax.random.split(key)
        sizes = size * _parameters(size_key, (1, terms), subset)
        phases = jax.random.uniform(phase_key, (1, terms), maxval=2 * jnp.pi)
        frequencies = (jnp.arange(terms) + 1)[None] / 2
        return lambda x: jnp.sum(sizes * jnp.sin(x * frequencies + phases), axis=1, keepdims=True)

    return family


def mixture(families: Sequence[Family]) -> Family:
    """One of several families, each as likely.

    Raises:
      ValueError: for no family.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = mixture([lines(0.0, 0.0), lines(0.0, 0.0)])(jax.random.key(0))
      >>> f(jnp.ones((1, 1))).tolist()
      [[0.0]]
    """
    if not families:
        raise ValueError("mixture: there is no family; give 1 or more, such as [lines()].")

    def family(key):
        choice_key, key = jax.random.split(key)
        choice = jax.random.randint(choice_key, (), 0, len(families))
        branches = [lambda key, x, one=one: one(key)(x) for one in families]
        return lambda x: jax.lax.switch(choice, branches, key, x)

    return family
