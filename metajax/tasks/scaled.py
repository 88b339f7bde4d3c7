"""Pictures as numbers for a network: scaled to [0, 1], then by mean and deviation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metajax.trees import as_pytree


@dataclass(frozen=True)
class Scaled:
    """Maps pictures `(n, h, w, c)` to `(x - mean) / deviation`, with `x` in [0, 1].

    mean, deviation: One number per channel, or one for all; None leaves [0, 1] as it is.

    Example:
      >>> pixels = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
      >>> Scaled((0.5,), (0.25,))(jax.random.key(0), pixels).ravel().tolist()
      [-2.0, 2.0]
    """

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Ignores the key."""
        del key
        x = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x
        if self.mean is not None:
            x = x - jnp.array(self.mean).reshape(1, 1, 1, -1)
        if self.deviation is not None:
            x = x / jnp.array(self.deviation).reshape(1, 1, 1, -1)
        return x


@dataclass(frozen=True)
class Chain:
    """Applies one transform after another, each with a key of its own."""

    def __call__(self, transforms: tuple[Any, ...], key: jax.Array, x: Any) -> Any:
        """Maps the examples of one class."""
        for own, transform in zip(jax.random.split(key, len(transforms)), transforms, strict=True):
            x = transform(own, x)
        return x


def chain(*transforms: Any) -> Any:
    """Returns the composition of transforms as a pytree; equal parts make equal compositions."""
    return jax.tree_util.Partial(Chain(), tuple(map(as_pytree, transforms)))
