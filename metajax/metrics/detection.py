"""How a detector is trained and judged: the loss of its maps, the boxes in them, and their precision.

Maps are `(n, h, w, 5)`, for cells of `STRIDE` pixels a side: the logit of a centre, the logarithms of height
and width in `UNIT` pixels, and the place of the centre from the middle of the cell, in cells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metajax.boxes import Boxes, Detections, suppress
from metajax.boxes import average_precision as precision

STRIDE = 4
UNIT = 22.0
_LEAST_SIDE = 1.0
"""Pixels; no box is smaller to the loss, whose logarithms would be unbounded."""


def detection_loss(maps: jax.Array, boxes: Boxes) -> jax.Array:
    """CenterNet's loss: a focal loss of centres, and the errors of size and place at each centre.

    Args:
      maps: `(n, h, w, 5)`, as `detector` predicts them.
      boxes: Of the same pictures.

    Returns:
      `(n,)`, a sum over the cells of a picture, by the number of its boxes.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> boxes = mj.boxes.Boxes(jnp.array([[[8.0, 8, 30, 30]]]), jnp.ones((1, 1), bool))
      >>> sure = jnp.zeros((1, 8, 8, 5)).at[..., 0].set(-9).at[0, 4, 4].set(jnp.array([9, 0, 0, 0.25, 0.25]))
      >>> bool(mj.detection_loss(sure, boxes)[0] < 1e-3)
      True

    Reference:
      Zhou, Wang and Krähenbühl, 2019, section 3. https://arxiv.org/abs/1904.07850
    """
    height, width = maps.shape[1:3]
    corners = boxes.corners / STRIDE
    middle = (corners[..., :2] + corners[..., 2:]) / 2
    sides = jnp.maximum(corners[..., 2:] - corners[..., :2], _LEAST_SIDE / STRIDE)
    at_y, at_x = (_cell(middle[..., axis], n) for axis, n in enumerate((height, width)))
    rows, columns = jax.nn.one_hot(at_y, height), jax.nn.one_hot(at_x, width)
    exist = boxes.mask[..., None, None]
    here = jnp.where(exist, rows[..., None] * columns[..., None, :], 0)  # (n, most, h, w)
    bumps = [_bump(middle, sides, axis, n) for axis, n in enumerate((height, width))]
    near = jnp.where(exist, bumps[0][..., None] * bumps[1][..., None, :], 0)
    target = jnp.maximum(jnp.max(near, axis=1), jnp.max(here, axis=1))
    focal = jnp.sum(_focal(maps[..., 0], target), axis=(1, 2))
    found = jnp.einsum("nmhw,nhwc->nmc", here, maps[..., 1:])
    cell = jnp.stack([at_y, at_x], axis=-1) + 0.5
    wanted = jnp.concatenate([jnp.log(sides * STRIDE / UNIT), middle - cell], axis=-1)
    apart = jnp.where(boxes.mask[..., None], jnp.abs(found - wanted), 0)
    number = jnp.maximum(jnp.sum(boxes.mask, axis=1), 1)
    return (focal + jnp.sum(apart, axis=(1, 2))) / number


def _cell(place: jax.Array, number: int) -> jax.Array:
    return jnp.clip(jnp.floor(place).astype(jnp.int32), 0, number - 1)


def _bump(middle: jax.Array, sides: jax.Array, axis: int, number: int) -> jax.Array:
    """A Gaussian along one axis, a sixth of the side wide, `(n, most, number)`."""
    apart = (jnp.arange(number) + 0.5).reshape(1, 1, -1) - middle[..., axis, None]
    return jnp.exp(-((6 * apart / sides[..., axis, None]) ** 2) / 2)


def _focal(logits: jax.Array, target: jax.Array) -> jax.Array:
    """The focal loss of cells, milder on those beside a centre."""
    p = jax.nn.sigmoid(logits)
    centre = -((1 - p) ** 2) * jax.nn.log_sigmoid(logits)
    elsewhere = -((1 - target) ** 4) * p**2 * jax.nn.log_sigmoid(-logits)
    return jnp.where(target >= 1, centre, elsewhere)


def detections(maps: jax.Array, most: int = 12, overlap: float = 0.5) -> Detections:
    """The boxes at the peaks of maps, without doubles.

    Args:
      maps: `(n, h, w, 5)`, as `detector` predicts them.
      most: The greatest number of boxes in a picture.
      overlap: As in `mj.boxes.suppress`.

    Returns:
      `Detections` of `most` boxes in each picture, scored by the probability of a centre; nan where maps are.

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> maps = jnp.zeros((1, 8, 8, 5)).at[..., 0].set(-9.0).at[0, 4, 4, 0].set(2.0)
      >>> found = mj.detections(maps, most=1)
      >>> found.corners[0, 0].tolist(), round(float(found.scores[0, 0]), 2)
      ([7.0, 7.0, 29.0, 29.0], 0.88)

    Reference:
      Zhou, Wang and Krähenbühl, 2019, section 4. https://arxiv.org/abs/1904.07850
    """
    n, height, width, _ = maps.shape
    most = min(most, height * width)
    p = jax.nn.sigmoid(maps[..., 0])
    peak = jax.lax.reduce_window(p, -jnp.inf, jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME")
    # A nan stays one, in place of a score of 0, so that a detector that has diverged is not without boxes.
    scores, at = jax.lax.top_k(jnp.where((p >= peak) | jnp.isnan(p), p, 0).reshape(n, -1), most)
    rest = jnp.take_along_axis(maps[..., 1:].reshape(n, -1, 4), at[..., None], axis=1)
    cell = jnp.stack([at // width, at % width], axis=-1) + 0.5
    middle, half = (cell + rest[..., 2:]) * STRIDE, jnp.exp(rest[..., :2]) * UNIT / 2
    corners = jnp.concatenate([middle - half, middle + half], axis=-1)
    scores = jnp.where(jnp.isnan(corners).any(axis=-1), jnp.nan, scores)
    return suppress(Detections(corners, scores), overlap)


def average_precision(
    least: float | Sequence[float] = 0.5, *, find: Callable[[Any], Detections] = detections
) -> Any:
    """A metric for `evaluate`: COCO's average precision over the queries of a task.

    Args:
      least: The least intersection over union of a hit, 0.5 for AP50; or several, which give a value each.
      find: Predictions to detections; by default those at the peaks of maps.

    Returns:
      A metric of predictions and `Boxes`, whose `average` is the value of the task. A masked query has
      neither detections nor boxes.

    Raises:
      ValueError: For a `least` that is not in (0, 1].

    Example:
      >>> import jax.numpy as jnp, metajax as mj
      >>> maps = jnp.full((2, 8, 8, 5), -9.0).at[:, 4, 4].set(jnp.array([9.0, 0, 0, 0, 0]))
      >>> boxes = mj.boxes.Boxes(jnp.array([[[7.0, 7, 29, 29]], [[0, 0, 22, 22]]]), jnp.ones((2, 1), bool))
      >>> metric = mj.average_precision((0.5, 0.75))
      >>> metric.average(metric(maps, boxes), jnp.array([True, False])).tolist()
      [1.0, 1.0]

    Reference:
      Lin et al., ECCV 2014. https://arxiv.org/abs/1405.0312
    """
    several = tuple(least) if isinstance(least, Sequence) else (least,)
    for number in several:
        if not 0 < number <= 1:
            raise ValueError(f"average_precision: least={number:g} must be above 0 and at most 1.")
    return AveragePrecision(several if isinstance(least, Sequence) else several[0], find)


@dataclass(frozen=True)
class AveragePrecision:
    """The metric that `average_precision` returns."""

    least: float | tuple[float, ...]
    find: Callable[[Any], Detections]

    def __call__(self, predictions: Any, targets: Boxes) -> jax.Array:
        """Detections and boxes of every query as rows of corners, score and kind, `(n, rows, 6)`."""
        found = self.find(predictions)
        parts = (found.corners, found.scores), (targets.corners, targets.mask)
        rows = [
            jnp.concatenate(
                [corners, jnp.stack([value, jnp.full(value.shape, float(kind))], axis=-1)], axis=-1
            )
            for kind, (corners, value) in enumerate(parts)
        ]
        return jnp.concatenate(rows, axis=1)

    def average(self, values: jax.Array, mask: jax.Array | None) -> jax.Array:
        """The value of a task, from the rows of its queries."""
        corners, value, kind = values[..., :4], values[..., 4], values[..., 5]
        if mask is not None:
            value = jnp.where(mask[:, None], value, 0)
        found = Detections(corners, jnp.where(kind == 0, value, 0))
        boxes = Boxes(corners, (kind == 1) & (value > 0))
        if isinstance(self.least, tuple):
            return jnp.stack([precision(found, boxes, least) for least in self.least])
        return precision(found, boxes, self.least)
