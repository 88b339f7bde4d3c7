"""Scenes against what is asked of them: their numbers, and boxes that hold their targets."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.boxes import area
from metajax.tasks.scenes import ink_boxes

FULL = np.full((3, 6, 8, 8), 255, np.uint8)  # whole squares of ink
DRAWN = jax.jit(
    jax.vmap(mj.tasks.scenes(FULL, exemplars=(1, 3), distractors=2, queries=2, side=48))
)


def test_boxes_hold_the_ink_of_as_many_targets_as_asked(key):
    support, query = DRAWN(jax.random.split(key, 30))
    assert set(np.asarray(query.y.mask.sum(axis=2)).ravel()) == {1, 2, 3}
    assert set(np.asarray(support.mask.sum(axis=1))) == {1, 2, 3}
    assert support.y.mask.sum(axis=2).tolist() == np.ones((30, 3), int).tolist()
    corners = np.asarray(query.y.corners)
    assert corners.min() >= -1e-3 and corners.max() <= 48 + 1e-3
    # A drawing of 28 pixels in a scene of 96 is scaled by 0.7 to 1.15, and stretched by up to 8 %.
    sides = np.asarray(corners[..., 2:] - corners[..., :2])[np.asarray(query.y.mask)]
    assert sides.min() > 14 * 0.7 * 0.92 and sides.max() < 14 * 1.15 * 1.09
    picture = np.asarray(query.x)[..., 0]
    assert picture.min() >= 0 and picture.max() <= 1
    for t, q, b in np.argwhere(np.asarray(query.y.mask)):
        y0, x0, y1, x1 = corners[t, q, b]
        inside = picture[t, q, int(y0) + 2 : int(y1) - 1, int(x0) + 2 : int(x1) - 1]
        assert inside.min() > 0.5  # ink of tone 0.6 or more on noisy paper


def test_characters_turn_with_their_boxes(key):
    # A bar of ink is as high as half the drawing and as wide as the whole; turned, the other way round.
    bars = np.zeros((2, 4, 8, 8), np.uint8)
    bars[..., :4, :] = 255
    assert ink_boxes(bars)[0, 0].tolist() == [0, 0, 4, 8]
    sample = mj.tasks.scenes(bars, distractors=1, queries=1, side=48)
    query = jax.jit(jax.vmap(sample))(jax.random.split(key, 20)).query
    sides = np.asarray(query.y.corners[:, 0, 0, 2:] - query.y.corners[:, 0, 0, :2])
    wide = sides[:, 1] > sides[:, 0]
    assert 0 < wide.sum() < 20
    np.testing.assert_array_less(1.6, sides.max(axis=1) / sides.min(axis=1))
    assert area(jnp.asarray(query.y.corners)).min() > 0


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"drawings": FULL / 255},
            "scenes: drawings are float64 of shape (3, 6, 8, 8); give uint8",
        ),
        ({"drawings": FULL[:2]}, "scenes: there are 2 characters, but 3 are needed."),
        ({"drawings": FULL[:, :3]}, "scenes: there are 3 hands, but 4 are needed."),
        ({"drawings": 0 * FULL}, "scenes: drawing 0 of character 0 has no ink above 90 of 255"),
        ({"targets": (2, 1)}, "scenes: targets=(2, 1) must not fall"),
        ({"targets": (1, 4)}, "scenes: targets=(1, 4) must not fall, and be at most 3."),
        ({"objects": (3, 10)}, "scenes: objects=(3, 10) must not fall, and be at most 9."),
        ({"side": 50}, "scenes: side=50 must be a multiple of 8."),
        ({"exemplars": 0}, "scenes: exemplars=0 must be an integer of at least 1"),
    ],
)
def test_what_does_not_go_together_is_named(change, message):
    settings = {"drawings": FULL, "distractors": 2, **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        mj.tasks.scenes(settings.pop("drawings"), **settings)
