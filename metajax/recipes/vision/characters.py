"""Drawings of characters that scenes are composed of: Omniglot's, or invented ones."""

from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from metajax.data import omniglot
from metajax.tasks.scenes import INK, ink_boxes
from metajax.tasks.synthetic.glyphs import glyphs

Characters: TypeAlias = Literal["glyphs", "omniglot"]
Subset: TypeAlias = Literal["train", "val", "test"]

SPLIT = "lake"
_INVENTED = {"train": 200, "val": 40, "test": 60}
_HANDS = 12
_AT_ONCE = 20
_LEAST_SIDE = 6
"""Pixels; invented characters of a dot or a short line are left out."""


def characters(source: Characters, subset: Subset, data: str | Path | None = None) -> np.ndarray:
    """Returns drawings `(characters, hands, 28, 28)` uint8, ink 255 on 0.

    Args:
      source: Omniglot's characters by its own split, drawn by 20 hands; or invented ones, which need no data.
      subset: Three disjoint sets of characters.
      data: The folder of the data sets.

    Raises:
      FileNotFoundError, PermissionError, ValueError: As `metajax.data.omniglot.load`.
    """
    if source == "glyphs":
        return _invented(subset)
    found = omniglot.load(data)
    chosen = omniglot.split_names(found.names, SPLIT, 0)[subset]
    return np.asarray(found.images)[np.asarray(chosen)]


@cache
def _invented(subset: Subset) -> np.ndarray:
    key = jax.random.fold_in(jax.random.key(28), tuple(_INVENTED).index(subset))
    keys = jax.random.split(key, _INVENTED[subset] // _AT_ONCE)
    drawn = np.concatenate([np.asarray(_drawn(key)) for key in keys])
    corners = ink_boxes(drawn)
    sides = (corners[..., 2:] - corners[..., :2]).max(axis=-1).min(axis=-1)
    inked = np.any(drawn > INK, axis=(2, 3))
    return drawn[(sides >= _LEAST_SIDE) & np.all(inked, axis=1)]


@jax.jit
def _drawn(key: jax.Array) -> jax.Array:
    """Drawings of some characters, uint8; all are drawn by one small program."""
    (x, _, _), _ = glyphs(_AT_ONCE, _HANDS, 1)(key)
    ink = x.reshape(_AT_ONCE, _HANDS, *x.shape[1:3])
    return jnp.rint(255 * ink).astype(jnp.uint8)
