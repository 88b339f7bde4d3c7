"""Other views of pictures, to train on: rotations, mirror images, and small affine maps."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from metajax.tasks.scaled import Scaled


@dataclass(frozen=True)
class Views:
    """The classes that are made of one: rotations and mirror images of its pictures."""

    turned: bool = False
    mirrored: bool = False

    def all(self, x: jax.Array) -> list[jax.Array]:
        """Every view of pictures `(..., h, w, c)`."""
        turned = [jnp.rot90(x, n, axes=(-3, -2)) for n in range(4 if self.turned else 1)]
        return turned + [jnp.flip(view, -2) for view in turned] if self.mirrored else turned

    def one(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """All pictures `(n, h, w, c)` of a class in one view, drawn at random."""
        views = self.all(x)
        if len(views) == 1:
            return x
        return jnp.stack(views)[jax.random.randint(key, (), 0, len(views))]


@dataclass(frozen=True)
class Viewed:
    """Shows all pictures of a class in one view, as floats, and warps each.

    beyond: As in `warp`.
    """

    views: Views
    distortion: float
    beyond: Literal["constant", "nearest"] = "nearest"

    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Maps pictures `(n, h, w, c)` of floats, or of uint8, which become numbers in [0, 1]."""
        view_key, warp_key = jax.random.split(key)
        x = Scaled()(key, self.views.one(view_key, x))
        return warp(warp_key, x, self.distortion, self.beyond) if self.distortion else x


def warp(
    key: jax.Array,
    pictures: jax.Array,
    amount: float,
    beyond: Literal["constant", "nearest"] = "constant",
) -> jax.Array:
    """Returns pictures `(n, h, w, c)`, each under a random affine map of its own.

    Args:
      key: A PRNG key.
      pictures: Floats.
      amount: By how much each entry of the matrix differs from the identity at most, and the shift as a
        share of half a side.
      beyond: What is beyond the edge: 0, or the nearest pixel.
    """
    n, h, w, _ = pictures.shape
    matrix_key, shift_key = jax.random.split(key)
    matrices = jax.random.uniform(matrix_key, (n, 2, 2), minval=-amount, maxval=amount)
    shifts = jax.random.uniform(shift_key, (n, 2, 1), minval=-amount, maxval=amount)
    rows, columns = jnp.meshgrid(jnp.linspace(-1, 1, h), jnp.linspace(-1, 1, w), indexing="ij")
    grid = jnp.stack([rows.ravel(), columns.ravel()])[None]
    places = grid + matrices @ grid + shifts  # (n, 2, h * w)

    def of_picture(picture, place):
        places = [(place[0] + 1) * (h - 1) / 2, (place[1] + 1) * (w - 1) / 2]

        def of_channel(channel):
            return jax.scipy.ndimage.map_coordinates(channel, places, order=1, mode=beyond)

        return jax.vmap(of_channel, in_axes=-1, out_axes=-1)(picture)

    return jax.vmap(of_picture)(pictures, places).reshape(pictures.shape)
