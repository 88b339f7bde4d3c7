"""Boxes in pictures: their overlap, the suppression of doubles, and COCO's average precision.

A box is `(y0, x0, y1, x1)` in pixels, from the edge of the first pixel inside to the edge behind the last.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

RECALLS = 101
"""COCO's number of recall points, 0, 1/100 ... 1."""

_POINTS = np.arange(RECALLS)
_STRICT = np.linspace(0, 1, RECALLS) > _POINTS / (RECALLS - 1)
"""The recall points that COCO's code rounds up, so that a recall of exactly 0.35 does not reach 0.35."""


class Boxes(NamedTuple):
    """The boxes of `n` pictures, as targets of examples.

    corners: `(n, most, 4)` float.
    mask: `(n, most)`, which of them exist; a picture may have none.
    """

    corners: Any
    mask: Any


class Detections(NamedTuple):
    """Boxes that were found in `n` pictures, in any order.

    corners: `(n, most, 4)` float.
    scores: `(n, most)`; a detection of score 0 or less does not exist.
    """

    corners: Any
    scores: Any


def area(corners: jax.Array) -> jax.Array:
    """Areas of boxes `(..., 4)`; 0 for one whose end is before its start.

    Example:
      >>> area(jnp.array([[0, 0, 2, 3], [2, 2, 1, 1]])).tolist()
      [6, 0]
    """
    sides = jnp.maximum(corners[..., 2:] - corners[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def iou(first: jax.Array, second: jax.Array) -> jax.Array:
    """Intersection over union of every pair of boxes.

    Args:
      first: `(n, 4)`.
      second: `(m, 4)`.

    Returns:
      `(n, m)` in [0, 1]; 0 where both boxes have no area.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> left, both = jnp.array([[0.0, 0, 2, 2]]), jnp.array([[0.0, 0, 2, 4], [2, 2, 3, 3]])
      >>> mj.boxes.iou(left, both).tolist()
      [[0.5, 0.0]]
    """
    low = jnp.maximum(first[:, None, :2], second[None, :, :2])
    high = jnp.minimum(first[:, None, 2:], second[None, :, 2:])
    common = area(jnp.concatenate([low, high], axis=-1))
    union = area(first)[:, None] + area(second)[None] - common
    return jnp.where(union > 0, common / jnp.where(union > 0, union, 1), 0)


def suppress(found: Detections, most: float = 0.5) -> Detections:
    """Greedy non-maximum suppression: drops a detection that overlaps a better one.

    Args:
      found: Of `n` pictures.
      most: The greatest intersection over union that two detections of a picture may have.

    Returns:
      The same detections, the best first; those that are dropped have score 0. A score of nan stays.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> corners = jnp.array([[[0.0, 0, 2, 2], [0, 0, 2, 2.5], [5, 5, 7, 7]]])
      >>> found = mj.boxes.Detections(corners, jnp.array([[0.8, 0.9, 0.3]]))
      >>> [round(float(score), 1) for score in mj.boxes.suppress(found).scores[0]]
      [0.9, 0.0, 0.3]

    Reference:
      Neubeck and Van Gool, ICPR 2006. https://doi.org/10.1109/ICPR.2006.479
    """

    def picture(corners, scores):
        order = jnp.argsort(-scores, stable=True)
        corners, scores = corners[order], scores[order]
        above = (iou(corners, corners) > most) & jnp.tri(len(scores), k=-1, dtype=bool)

        def step(kept, row):
            i, over = row
            return kept.at[i].set((scores[i] > 0) & ~jnp.any(over & kept)), None

        rows = (jnp.arange(len(scores)), above)
        kept, _ = jax.lax.scan(step, jnp.zeros(len(scores), bool), rows)
        return Detections(corners, jnp.where(kept | jnp.isnan(scores), scores, 0))

    return jax.vmap(picture)(*found)


def average_precision(found: Detections, boxes: Boxes, least: float = 0.5) -> jax.Array:
    """COCO's average precision (AP) of one class over pictures, inside `jit`.

    In each picture, detections take turns by score, and each takes the best free box that it overlaps by
    `least` or more. Precision is made falling in recall, and averaged over 101 recall points. Where
    detections are no more than COCO's limit of 100 in a picture, this is what pycocotools computes.

    Args:
      found: Detections of `n` pictures.
      boxes: The boxes of the same pictures.
      least: The least intersection over union of a hit: 0.5 for AP50, 0.75 for AP75.

    Returns:
      A scalar in [0, 1]; nan where no picture has a box, which COCO leaves out, and where a score is nan.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> corners = jnp.array([[[0.0, 0, 2, 2], [4, 4, 6, 6]]])
      >>> boxes = mj.boxes.Boxes(corners, jnp.ones((1, 2), bool))
      >>> found = mj.boxes.Detections(corners, jnp.array([[0.9, 0.0]]))  # one of the two
      >>> round(float(mj.boxes.average_precision(found, boxes)), 4)  # 51 of 101 recall points
      0.505

    Reference:
      Lin et al., ECCV 2014. https://arxiv.org/abs/1405.0312, and its code, cocoeval.py.
    """
    hit = jax.vmap(partial(_hits, least=least))(*found, *boxes).ravel()
    scores = found.scores.ravel()
    order = jnp.argsort(-scores, stable=True)
    hit, real = hit[order], scores[order] > 0
    true, false = jnp.cumsum(hit & real), jnp.cumsum(~hit & real)
    total = jnp.sum(boxes.mask)
    precision = true / jnp.maximum(true + false, 1)
    precision = jax.lax.cummax(precision, reverse=True)
    # Whole numbers, so that a recall is compared with a point without rounding.
    recall, point = (RECALLS - 1) * true[None], (jnp.asarray(_POINTS) * total)[:, None]
    reached = (recall > point) | ((recall == point) & ~jnp.asarray(_STRICT)[:, None])
    reached = reached & real[None]
    best = jnp.where(jnp.any(reached, axis=1), precision[jnp.argmax(reached, axis=1)], 0)
    return jnp.where((total > 0) & ~jnp.isnan(scores).any(), jnp.mean(best), jnp.nan)


def _hits(corners, scores, boxes, mask, *, least: float) -> jax.Array:
    """Which detections of a picture take a box."""
    if not len(mask):
        return jnp.zeros(len(scores), bool)
    overlap = jnp.where(mask[None], iou(corners, boxes), -1)
    order = jnp.argsort(-scores, stable=True)
    most = mask.shape[0]

    def step(free, i):
        left = jnp.where(free, overlap[i], -1)
        taken = most - 1 - jnp.argmax(left[::-1])  # of equal ones the last, as in COCO's code
        hit = (left[taken] >= least) & (scores[i] > 0)
        return free.at[taken].set(free[taken] & ~hit), hit

    _, hits = jax.lax.scan(step, jnp.ones(most, bool), order)
    return jnp.zeros(len(scores), bool).at[order].set(hits)
