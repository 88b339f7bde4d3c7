"""Normalised correlation at several scales: the baseline of finding what an exemplar shows."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metajax.boxes import Detections, suppress
from metajax.learners.conditioned import cut_out
from metajax.masks import exists, filled
from metajax.types import Learner

PATCH = 16
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
        def of_box(patch, size, exist):
            def of_scale(scale):
                return _found(x, patch, size * scale)

            corners, scores = jax.lax.map(of_scale, jnp.array(scales))
            return corners, jnp.where(exist, scores, 0)

        corners, scores = jax.lax.map(lambda row: of_box(*row), tuple(state))
        corners = jnp.moveaxis(corners, 2, 0).reshape(len(x), -1, 4)
        scores = jnp.moveaxis(scores, 2, 0).reshape(len(x), -1)
        best, at = jax.lax.top_k(scores, min(4 * MOST, scores.shape[1]))
        corners = jnp.take_along_axis(corners, at[..., None], axis=1)
        found = suppress(Detections(corners, best), overlap)
        return Detections(found.corners[:, :MOST], found.scores[:, :MOST])

    return Learner(lambda key, x: (), adapt, predict)


def _found(x: jax.Array, patch: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The best places of a patch for boxes of a size: corners `(n, MOST, 4)` and correlations."""
    n, height, width, channels = x.shape
    factor = jnp.minimum(PATCH / jnp.max(size), 1.0)
    small = jax.vmap(
        lambda picture: jax.image.scale_and_translate(
            picture, picture.shape, (0, 1), jnp.full(2, factor), jnp.zeros(2), "linear"
        )
    )(x)
    window, strides = (1, PATCH, PATCH, 1), (1, 1, 1, 1)

    def total(values):
        values = values.sum(axis=-1, keepdims=True)
        return jax.lax.reduce_window(values, 0.0, jax.lax.add, window, strides, "VALID")[..., 0]

    product = jax.lax.conv_general_dilated(
        small, patch[..., None], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[..., 0]
    number = PATCH**2 * channels
    spread = jnp.maximum(total(small**2) - total(small) ** 2 / number, 0)
    likeness = product / jnp.sqrt(spread + 1e-2 * number / 256)
    peak = jax.lax.reduce_window(likeness, -jnp.inf, jax.lax.max, (1, 5, 5), (1, 1, 1), "SAME")
    likeness = jnp.where(likeness >= peak, jnp.maximum(likeness, 0), 0)
    scores, at = jax.lax.top_k(likeness.reshape(n, -1), MOST)
    across = likeness.shape[2]
    middle = (jnp.stack([at // across, at % across], axis=-1) + PATCH / 2) / factor
    half = size.reshape(1, 1, 2) / 2
    inside = jnp.all(middle < jnp.array([height, width]).reshape(1, 1, 2), axis=-1)
    return jnp.concatenate([middle - half, middle + half], axis=-1), jnp.where(inside, scores, 0)
