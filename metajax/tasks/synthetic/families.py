"""Families of functions of one variable: lines, polynomials, waves, or a mixture of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from metajax import checks
from metajax.names import choose
from metajax.trees import as_pytree

Function: TypeAlias = Callable[[jax.Array], jax.Array]
"""Inputs `(n, 1)` to values `(n, 1)`."""

Family: TypeAlias = Callable[[jax.Array], Function]
"""A key to a function."""

Subset = Literal["near", "far"]


def lines(slope: float = 3.0, intercept: float = 3.0, *, subset: Subset = "near") -> Family:
    """The lines `a x + b` with `|a|` and `|b|` uniform up to `slope` and `intercept`.

    Args:
      slope: The largest slope.
      intercept: The largest intercept.
      subset: "near" for sizes from 0 to 1 times the largest, "far" for 1 to 1.5 times.

    Raises:
      ValueError: For a negative size, or an unknown subset.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = lines(slope=0.0, intercept=0.0)(jax.random.key(0))
      >>> f(jnp.ones((2, 1))).tolist()
      [[0.0], [0.0]]
    """
    checks.positive("lines", "slope", slope, least=0)
    checks.positive("lines", "intercept", intercept, least=0)
    return Lines(float(slope), float(intercept), _subset("lines", subset))


@dataclass(frozen=True)
class Lines:
    """The settings of `lines`, called with a key."""

    slope: float
    intercept: float
    subset: Subset

    def __call__(self, key: jax.Array) -> Function:
        """Draws a line."""
        a, b = _parameters(key, (2,), self.subset)
        return lambda x: self.slope * a * x + self.intercept * b


def polynomials(degree: int, size: float = 3.0, *, subset: Subset = "near") -> Family:
    """Sums of the Chebyshev polynomials of `x / 5` up to `degree`.

    Args:
      degree: The highest degree.
      size: The largest coefficient.
      subset: As in `lines`.

    Raises:
      ValueError: For a negative degree or size, or an unknown subset.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = polynomials(2)(jax.random.key(0))
      >>> f(jnp.array([[-2.5], [0.0], [2.5]])).shape
      (3, 1)
    """
    degree = checks.count("polynomials", "degree", degree, least=0)
    checks.positive("polynomials", "size", size, least=0)
    return Polynomials(degree, float(size), _subset("polynomials", subset))


@dataclass(frozen=True)
class Polynomials:
    """The settings of `polynomials`, called with a key."""

    degree: int
    size: float
    subset: Subset

    def __call__(self, key: jax.Array) -> Function:
        """Draws a polynomial."""
        coefficients = self.size * _parameters(key, (self.degree + 1,), self.subset)

        def f(x):
            previous, current = jnp.ones_like(x), x / 5
            total = coefficients[0] * previous
            for coefficient in coefficients[1:]:
                total = total + coefficient * current
                previous, current = current, 2 * (x / 5) * current - previous
            return total

        return f


def harmonics(terms: int, size: float = 3.0, *, subset: Subset = "near") -> Family:
    """Sums of sine waves of the frequencies 0.5, 1, 1.5, ... with random phases and amplitudes.

    Args:
      terms: The number of waves.
      size: The largest amplitude.
      subset: As in `lines`.

    Raises:
      ValueError: For fewer than one wave, a negative size, or an unknown subset.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = harmonics(3)(jax.random.key(0))
      >>> bool(jnp.all(jnp.abs(f(jnp.linspace(-5, 5, 50)[:, None])) <= 9))
      True
    """
    terms = checks.count("harmonics", "terms", terms)
    checks.positive("harmonics", "size", size, least=0)
    return Harmonics(terms, float(size), _subset("harmonics", subset))


@dataclass(frozen=True)
class Harmonics:
    """The settings of `harmonics`, called with a key."""

    terms: int
    size: float
    subset: Subset

    def __call__(self, key: jax.Array) -> Function:
        """Draws a sum of waves."""
        size_key, phase_key = jax.random.split(key)
        sizes = self.size * _parameters(size_key, (1, self.terms), self.subset)
        phases = jax.random.uniform(phase_key, (1, self.terms), maxval=2 * jnp.pi)
        frequencies = (jnp.arange(self.terms) + 1)[None] / 2
        return lambda x: jnp.sum(sizes * jnp.sin(x * frequencies + phases), axis=1, keepdims=True)


def mixture(families: Sequence[Family]) -> Family:
    """Draws a function from one of several families, all equally likely.

    Raises:
      ValueError: For no family.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> f = mixture([lines(0.0, 0.0), lines(0.0, 0.0)])(jax.random.key(0))
      >>> f(jnp.ones((1, 1))).tolist()
      [[0.0]]
    """
    if not families:
        raise ValueError("mixture: give at least one family, such as [lines()].")
    return jax.tree_util.Partial(Mixture(), tuple(map(as_pytree, families)))


@dataclass(frozen=True)
class Mixture:
    """The program of `mixture`, called with the families and a key."""

    def __call__(self, families: tuple[Family, ...], key: jax.Array) -> Function:
        """Draws a function."""
        choice_key, function_key = jax.random.split(key)
        choice = jax.random.randint(choice_key, (), 0, len(families))
        branches = [lambda key, x, one=one: one(key)(x) for one in families]
        return lambda x: jax.lax.switch(choice, branches, function_key, x)


def _subset(where: str, subset: Subset) -> Subset:
    choose(where, "subset", subset, ("near", "far"))
    return subset


def _parameters(key: jax.Array, shape: tuple[int, ...], subset: Subset) -> jax.Array:
    """Parameters of either sign: of size up to 1, or "far", from 1 to 1.5."""
    low, high = (0.0, 1.0) if subset == "near" else (1.0, 1.5)
    size_key, sign_key = jax.random.split(key)
    sizes = jax.random.uniform(size_key, shape, minval=low, maxval=high)
    return jnp.where(jax.random.bernoulli(sign_key, 0.5, shape), sizes, -sizes)
