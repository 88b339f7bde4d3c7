"""Normalised correlation at several scales: the baseline of finding what an exemplar shows."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax.boxes import Detections, suppress
from metajax.learners.conditioned import cut_out
from metajax.masks import exists, filled
from metajax.types import Learner

PATCH = 16
LARGEST, STEPS = 8**0.5, 6
"""Patches are compared with pictures of many sizes, the largest enlarged so much, and so many for each halving,
so that in one of them any object from 6 pixels on has nearly the size of a patch."""
SCALES = (0.7, 0.84, 1.0, 1.19, 1.42)
"""Sizes of objects, in sizes of the exemplar."""
MOST = 12
OVERLAP = 0.3
"""The greatest overlap of two detections, as for objects that hardly touch."""


class CorrelationState(NamedTuple):
    """Patches `(boxes, PATCH, PATCH, c)` of mean 0 and norm 1, sizes of boxes `(boxes, 2)`, and their mask."""

    patches: jax.Array
    sizes: jax.Array
    mask: jax.Array


def correlation(scales: tuple[float, ...] = SCALES, overlap: float = OVERLAP) -> Learner:
    """Returns a learner that looks for the pixels of each support box, at several scales.

    Args:
      scales: Sizes of objects, in sizes of the exemplar.
      overlap: As in `mj.boxes.suppress`.

    Returns:
      A learner without meta-parameters for `Boxes`, which predicts `Detections`.
    """

    def adapt(meta_params, support, key):
        del meta_params, key
        given, existing = filled(support), exists(support)
        mask = (given.y.mask & existing[:, None]).ravel()
        whole = jnp.array([0.0, 0.0, PATCH, PATCH]).reshape(1, 1, 4)
        corners = jnp.where(given.y.mask[..., None], given.y.corners, whole)
        cut = partial(cut_out, side=PATCH, margin=1.0)
        patches = jax.vmap(jax.vmap(cut, in_axes=(None, 0)))(given.x, corners)
        patches = patches.reshape(-1, *patches.shape[2:])
        patches = patches - patches.mean(axis=(1, 2, 3), keepdims=True)
        norm = jnp.sqrt(jnp.sum(patches**2, axis=(1, 2, 3), keepdims=True))
        sizes = (corners[..., 2:] - corners[..., :2]).reshape(-1, 2)
        return CorrelationState(patches / (norm + 1e-6), sizes, mask)

    def predict(state, x):
        height, width = x.shape[1:3]
        factors, found = [], []
        for octave in _octaves(height, width):
            shape = [max(PATCH, math.ceil(octave * side)) for side in (height, width)]
            inside = octave * 2.0 ** -(np.arange(STEPS) / STEPS)
            of_size = partial(_peaks, x, state.patches, shape)
            found.append(jax.lax.map(of_size, jnp.array(inside, x.dtype)))
            factors.extend(inside)
        middles, likeness = (jnp.concatenate(part) for part in zip(*found, strict=True))
        sizes = state.sizes[:, None] * jnp.array(scales)[None, :, None]
        wanted = jnp.log(PATCH / jnp.max(sizes, axis=-1))
        level = jnp.argmin(
            jnp.abs(wanted[..., None] - jnp.log(jnp.array(factors))[None, None]), axis=-1
        )
        own = level, slice(None), jnp.arange(len(sizes))[:, None]
        middle, scores = middles[own], jnp.where(state.mask[:, None, None, None], likeness[own], 0)
        half = sizes[:, :, None, None] / 2
        corners = jnp.concatenate([middle - half, middle + half], axis=-1)
        corners = jnp.moveaxis(corners, 2, 0).reshape(len(x), -1, 4)
        best, at = jax.lax.top_k(
            jnp.moveaxis(scores, 2, 0).reshape(len(x), -1), min(4 * MOST, corners.shape[1])
        )
        corners = jnp.take_along_axis(corners, at[..., None], axis=1)
        found = suppress(Detections(corners, best), overlap)
        return Detections(found.corners[:, :MOST], found.scores[:, :MOST])

    return Learner(lambda key, x: (), adapt, predict)


def _octaves(height: int, width: int) -> list[float]:
    """How much pictures are scaled, half as much each time, down to where they hold one patch."""
    least = PATCH / min(height, width)
    return [LARGEST / 2**i for i in range(1 + max(0, math.ceil(math.log2(LARGEST / least))))]


def _peaks(
    x: jax.Array, patches: jax.Array, shape: list[int], factor: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The best places of each patch in pictures of one size: middles and correlations, `(n, boxes, MOST)`."""
    n, height, width, channels = x.shape
    scaled = jax.vmap(
        lambda picture: jax.image.scale_and_translate(
            picture, (*shape, channels), (0, 1), jnp.full(2, factor), jnp.zeros(2), "linear"
        )
    )(x)

    def total(values):
        return _windows(values.sum(axis=-1, keepdims=True), jax.lax.add, 0.0, PATCH, "VALID")

    product = jax.lax.conv_general_dilated(
        scaled, patches, (1, 1), "VALID", dimension_numbers=("NHWC", "OHWI", "NHWC")
    )
    number = PATCH**2 * channels
    spread = jnp.maximum(total(scaled**2) - total(scaled) ** 2 / number, 0)
    likeness = product / jnp.sqrt(spread + 1e-2 * number / 256)
    peak = _windows(likeness, jax.lax.max, -jnp.inf, 5, "SAME")
    likeness = jnp.moveaxis(jnp.where(likeness >= peak, jnp.maximum(likeness, 0), 0), 3, 1)
    across, places = likeness.shape[3], likeness.reshape(n, len(patches), -1)
    best, at = jax.lax.top_k(places, min(MOST, places.shape[-1]))
    best = jnp.pad(best, [(0, 0), (0, 0), (0, MOST - best.shape[-1])])
    at = jnp.pad(at, [(0, 0), (0, 0), (0, MOST - at.shape[-1])])
    middle = (jnp.stack([at // across, at % across], axis=-1) + PATCH / 2) / factor
    inside = jnp.all(middle < jnp.array([height, width]).reshape(1, 1, 1, 2), axis=-1)
    return middle, jnp.where(inside, best, 0)


def _windows(values: jax.Array, reduce, start: float, side: int, padding: str) -> jax.Array:
    """Reduces square windows of pictures `(n, h, w, c)`, along one axis after the other."""
    for window in ((1, side, 1, 1), (1, 1, side, 1)):
        values = jax.lax.reduce_window(values, start, reduce, window, (1, 1, 1, 1), padding)
    return values
