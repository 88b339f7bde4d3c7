"""Pictures from anywhere, preprocessed as a trained learner expects them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import metajax as mj
from metajax.data import Pictures
from metajax.tasks.images import polarity
from metajax.tasks.views import warp


def wrong(value: Any) -> Any:
    return value


ONE: Any = {"way": 2, "shot": 1, "query_shot": 1}
CROSS = np.zeros((12, 12), np.uint8)
CROSS[5:7, 2:10] = CROSS[2:10, 5:7] = 255
"""Bright ink on a dark ground."""
RING = np.zeros((12, 12), np.uint8)
RING[3:9, 3:9] = 255
RING[5:7, 5:7] = 0
DRAWINGS = [np.stack([CROSS] * 4), np.stack([RING] * 3)]
NAMED = Pictures([own[..., None] for own in DRAWINGS], ["cross", "ring"])


@pytest.fixture
def white_paper(tmp_path):
    """The same drawings as dark ink on white paper, in a folder."""
    for name, own in zip(("cross", "ring"), DRAWINGS, strict=True):
        (tmp_path / name).mkdir()
        for i, drawing in enumerate(own):
            Image.fromarray(255 - drawing).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_a_folder_of_dark_ink_becomes_what_a_learner_of_bright_ink_knows(white_paper, key):
    options: Any = {"size": 12, "ink": "bright", **ONE}
    from_folder = mj.tasks.images(white_paper, **options)(key)
    from_arrays = mj.tasks.images(DRAWINGS, **options)(key)
    known = mj.tasks.images(
        Pictures([d[..., None] for d in DRAWINGS], ["a", "b"], "bright"), **options
    )
    for part, other, third in zip(from_folder, from_arrays, known(key), strict=True):
        np.testing.assert_array_equal(part.x, other.x)
        np.testing.assert_array_equal(part.x, third.x)
        assert set(np.ravel(part.x).tolist()) == {0.0, 1.0}
    as_it_is = mj.tasks.images(str(white_paper), size=12, **ONE)(key)
    np.testing.assert_array_equal(as_it_is.support.x, 1 - from_folder.support.x)
    other_way = mj.tasks.images(DRAWINGS, **{**options, "ink": "dark"})(key)
    np.testing.assert_array_equal(other_way.query.x, 1 - from_folder.query.x)


def test_a_polarity_that_is_given_is_believed(key):
    # A frame of ink along the border looks dark to the rule, and is said to be bright.
    frames = np.full((3, 6, 6, 1), 255, np.uint8)
    frames[:, 1:-1, 1:-1] = 0
    assert polarity([frames]) == "dark"
    said = Pictures([frames, frames], ["a", "b"], "bright")
    task = mj.tasks.images(said, size=6, ink="bright", **ONE)(key)
    np.testing.assert_array_equal(task.support.x[0], frames[0] / 255)


@pytest.mark.parametrize("share, ink", [(0, "bright"), (1, "bright"), (9, "dark"), (10, "dark")])
def test_nine_of_ten_pictures_decide_the_polarity(share, ink):
    pictures = np.stack([255 - CROSS] * share + [CROSS] * (10 - share))[..., None]
    assert polarity([pictures[:5], pictures[5:]]) == ink


def test_an_unclear_polarity_is_refused_with_its_remedy():
    mixed = [np.stack([CROSS] * 8 + [255 - CROSS] * 2)] * 2
    with pytest.raises(
        ValueError, match=r"images: .* brighter than the whole in 20% .* Pictures\(..., ink="
    ):
        mj.tasks.images(mixed, size=12, ink="bright", **ONE)
    blank = [np.zeros((3, 4, 4), np.uint8)] * 2
    with pytest.raises(ValueError, match="in 0% of the pictures, and at least 90% must agree"):
        mj.tasks.images(blank, size=4, ink="dark", **ONE)


def test_scaling_by_hand(key):
    # 51 / 255 = 0.2: (0.2 - 0.1) / 0.5 = 0.2, (0.2 - 0.2) / 1 = 0 and (0.2 - 0.3) / 0.25 = -0.4.
    grey = [np.full((2, 5, 5), 51, np.uint8)] * 2
    sample = mj.tasks.images(
        grey, size=5, channels=3, mean=(0.1, 0.2, 0.3), deviation=(0.5, 1.0, 0.25), **ONE
    )
    x = sample(key).query.x
    assert x.shape == (2, 5, 5, 3)
    np.testing.assert_allclose(x[:, 0, 0], [[0.2, 0.0, -0.4]] * 2, atol=1e-6)
    assert sorted({leaf.dtype.name for leaf in jax.tree.leaves(sample)}) == ["int32", "uint8"]
    floats = mj.tasks.images([own / 255 for own in grey], size=5, mean=0.1, deviation=0.5, **ONE)
    np.testing.assert_allclose(floats(key).query.x, 0.2, atol=1e-6)


def test_a_transform_sees_scaled_pictures(key):
    sample = mj.tasks.images(DRAWINGS, size=12, mean=0.5, transform=lambda key, x: -x, **ONE)
    plain = mj.tasks.images(DRAWINGS, size=12, mean=0.5, **ONE)
    np.testing.assert_array_equal(sample(key).support.x, -plain(key).support.x)


def test_queries_may_be_labelled_by_class(key):
    sample = mj.tasks.images(DRAWINGS, size=12, query_labels="class", **ONE)
    task = sample(key)
    inked = np.asarray(task.query.x.sum(axis=(1, 2, 3)))
    expected = {int(DRAWINGS[c][0].astype(int).sum() / 255): c for c in (0, 1)}
    assert task.query.y.tolist() == [expected[round(float(ink))] for ink in inked]


REFUSED = {
    r"images: class 1 has shape \(12, 12\), but \(n, height, width\)": lambda: mj.tasks.images(
        [DRAWINGS[0], CROSS], **ONE
    ),
    r"class 0 has shape \(2, 4, 4, 4\), .* 1 or 3 channels": lambda: mj.tasks.images(
        [np.zeros((2, 4, 4, 4), np.uint8)] * 2, **ONE
    ),
    r"class 0 is float64 from 0.0 to 255.0; give uint8, or floats in \[0, 1\]": lambda: (
        mj.tasks.images([own.astype(float) for own in DRAWINGS], **ONE)
    ),
    "class 0 is float64 from nan to nan": lambda: mj.tasks.images(
        [np.full((3, 4, 4), np.nan)] * 2, **ONE
    ),
    "class 0 is int64": lambda: mj.tasks.images([own.astype(int) for own in DRAWINGS], **ONE),
    r"images: channels=2 must be 1 \(grey\) or 3": lambda: mj.tasks.images(
        DRAWINGS, channels=2, **ONE
    ),
    "images: size=0 must be an integer of at least 1": lambda: mj.tasks.images(
        DRAWINGS, size=0, **ONE
    ),
    r"mean=\(0.1, 0.2\) must be one number, or 1, one per channel": lambda: mj.tasks.images(
        DRAWINGS, mean=(0.1, 0.2), **ONE
    ),
    "mean=nan must be one number": lambda: mj.tasks.images(DRAWINGS, mean=np.nan, **ONE),
    "deviation=0.0 must be a number above 0": lambda: mj.tasks.images(
        DRAWINGS, deviation=0.0, **ONE
    ),
    "ink='black' is unknown": lambda: mj.tasks.images(DRAWINGS, ink=wrong("black"), **ONE),
    "mine: shot=3 and query_shot=1 need 4 examples per class, but there are 3": lambda: (
        mj.tasks.images(DRAWINGS, way=2, shot=3, query_shot=1, name="mine")
    ),
    "mine: shot=3 and query_shot=1 need 4 pictures of each class, but ring has 3. Use fewer": lambda: (
        mj.tasks.images(NAMED, way=2, shot=3, query_shot=1, name="mine")
    ),
    "but ring has 3, the fewest of 2 classes with too few": lambda: mj.tasks.images(
        NAMED, way=2, shot=3, query_shot=2
    ),
    "or leave the pictures as they are: ink=None, or --ink any": lambda: mj.tasks.images(
        [DRAWINGS[0], 255 - DRAWINGS[1]], ink="bright", **ONE
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_picture_is_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_a_warp_repeats_the_pixels_at_the_edge(key):
    # A picture of one colour stays so; beyond the edge of drawings there is paper, 0.
    colour = jnp.broadcast_to(jnp.array([0.2, 0.5, 1.0]).reshape(1, 1, 1, 3), (2, 8, 8, 3))
    np.testing.assert_allclose(warp(key, colour, 0.3, "nearest"), colour, atol=1e-6)
    assert float(warp(key, colour, 0.3).min()) == 0.0
