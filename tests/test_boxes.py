"""Boxes against arithmetic on paper, and average precision against COCO's own code."""

import contextlib
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.boxes import Boxes, Detections, average_precision, iou, suppress

PRECISION = jax.jit(average_precision)


def test_overlap_of_shifted_and_degenerate_boxes_by_hand():
    unit = jnp.array([[0.0, 0, 1, 1]])
    others = jnp.array([[0.0, 0.5, 1, 1.5], [0, 0, 2, 2], [3, 3, 4, 4], [0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(iou(unit, others)[0], [1 / 3, 1 / 4, 0, 0], rtol=1e-6)
    assert iou(others[3:], others[3:])[0, 0] == 0


def test_a_box_that_was_dropped_drops_no_other():
    # The second overlaps the first by 2/3 and the third by 2/3; the first and the third by 3/7 alone.
    corners = jnp.array([[[0.0, 0, 1, 10], [0, 2, 1, 12], [0, 4, 1, 14]]])
    found = suppress(Detections(corners, jnp.array([[0.9, 0.8, 0.7]])), 0.5)
    np.testing.assert_allclose(found.scores[0], [0.9, 0, 0.7], rtol=1e-6)


def test_precision_by_hand():
    # Ranked: hit, miss, hit, of 3 boxes. Precision 1 up to recall 1/3 and 2/3 up to 2/3: of the 101
    # points, 0 to 0.33 are 34 and 0.34 to 0.66 are 33.
    corners = jnp.array([[[0.0, 0, 9, 9], [0, 20, 9, 29], [0, 40, 9, 49]]])
    boxes = Boxes(corners, jnp.ones((1, 3), bool))
    found = corners.at[0, 1].add(100.0)
    scores = jnp.array([[0.9, 0.8, 0.7]])
    expected = (34 + 33 * 2 / 3) / 101
    assert PRECISION(Detections(found, scores), boxes, 0.5) == pytest.approx(expected, rel=1e-6)


def test_a_second_detection_takes_a_box_that_is_free():
    # Both overlap the first box best; the second one still finds the other box, which a rule that looks at
    # the best box alone would count as a miss.
    boxes = Boxes(jnp.array([[[0.0, 0, 10, 10], [0, 2, 10, 12]]]), jnp.ones((1, 2), bool))
    found = Detections(jnp.array([[[0.0, 0, 10, 10], [0, 0.9, 10, 10.9]]]), jnp.array([[0.9, 0.8]]))
    assert PRECISION(found, boxes, 0.5) == pytest.approx(1)


def test_pictures_without_boxes_have_no_precision_and_detections_there_are_wrong():
    boxes = Boxes(
        jnp.zeros((2, 1, 4)).at[0, 0].set(jnp.array([0.0, 0, 5, 5])), jnp.array([[True], [False]])
    )
    found = Detections(boxes.corners.at[1].set(boxes.corners[0]), jnp.array([[0.5], [0.9]]))
    assert PRECISION(found, boxes, 0.5) == pytest.approx(0.5)
    empty = boxes._replace(mask=jnp.zeros((2, 1), bool))
    assert jnp.isnan(PRECISION(found, empty, 0.5))


def _drawn(seed):
    """Boxes and noisy detections of 5 pictures on a grid, so that scores and overlaps are often equal."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (5, 6, 2))
    corners = np.concatenate([low, low + rng.integers(2, 9, (5, 6, 2))], axis=-1).astype(np.float32)
    mask = rng.random((5, 6)) < 0.7
    found = np.concatenate([corners, corners], axis=1) + rng.integers(-1, 2, (5, 12, 4))
    found[..., 2:] = np.maximum(found[..., 2:], found[..., :2] + 1)
    scores = np.round(rng.random((5, 12)), 1) * (rng.random((5, 12)) < 0.8)
    return Boxes(corners, mask), Detections(found.astype(np.float32), scores.astype(np.float32))


def _as_coco(boxes, found):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def row(corners):
        y0, x0, y1, x1 = map(float, corners)
        return {"category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}

    truth = [
        {**row(c), "id": 100 * i + j + 1, "image_id": i + 1, "iscrowd": 0}
        for i in range(len(boxes.mask))
        for j, c in enumerate(boxes.corners[i])
        if boxes.mask[i, j]
    ]
    guesses: Any = [
        {**row(c), "image_id": i + 1, "score": float(s)}
        for i in range(len(boxes.mask))
        for c, s in zip(found.corners[i], found.scores[i], strict=True)
        if s > 0
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco: Any = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(boxes.mask))],
            "categories": [{"id": 1}],
            "annotations": truth,
            "info": {},
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(guesses), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, 2]  # (thresholds, recall points)
    return precision[0].mean(), precision[5].mean()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_precision_is_that_of_pycocotools():
    pytest.importorskip(
        "pycocotools", reason="pycocotools is not installed; pip install pycocotools"
    )
    for seed in range(30):
        boxes, found = _drawn(seed)
        ours = [float(PRECISION(found, boxes, least)) for least in (0.5, 0.75)]
        np.testing.assert_allclose(ours, _as_coco(boxes, found), atol=1e-6)


def test_boxes_are_found_again_in_maps_that_are_made_of_them():
    # Maps that say what the loss asks for: logits of a centre, log sizes in 22 pixels, offsets in cells.
    corners = jnp.array([[[4.0, 6, 26, 17], [30, 30, 41, 52]]])
    boxes = Boxes(corners, jnp.ones((1, 2), bool))
    maps = jnp.zeros((1, 16, 16, 5)).at[..., 0].set(-9.0)
    for y0, x0, y1, x1 in corners[0].tolist():
        middle = (y0 + y1) / 8, (x0 + x1) / 8
        cell = int(middle[0]), int(middle[1])
        log = jnp.log(jnp.array([y1 - y0, x1 - x0]) / 22)
        place = jnp.array([m - c - 0.5 for m, c in zip(middle, cell, strict=True)])
        maps = maps.at[0, *cell].set(jnp.concatenate([jnp.array([9.0]), log, place]))
    found = jax.jit(mj.detections, static_argnums=1)(maps, 2)
    np.testing.assert_allclose(
        np.sort(found.corners[0], axis=0), np.sort(corners[0], axis=0), atol=1e-4
    )
    assert jax.jit(mj.detection_loss)(maps, boxes)[0] < 0.01
    metric = mj.average_precision((0.5, 0.75))
    both = jax.jit(lambda maps: metric.average(metric(maps, boxes), None))(maps)
    np.testing.assert_allclose(both, 1)


def test_the_loss_of_an_empty_picture_by_hand():
    # Every cell of probability 1/2 costs (1/2)^2 log 2.
    nothing = Boxes(jnp.zeros((1, 1, 4)), jnp.zeros((1, 1), bool))
    loss = mj.detection_loss(jnp.zeros((1, 2, 3, 5)), nothing)
    np.testing.assert_allclose(loss, [6 * np.log(2) / 4], rtol=1e-6)
    with pytest.raises(ValueError, match=r"average_precision: least=1\.5 must be above 0"):
        mj.average_precision(1.5)
