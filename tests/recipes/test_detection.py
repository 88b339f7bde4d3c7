"""Few-shot detection from the command line: trained, tested, adapted to pictures, and drawn."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import metajax as mj
from metajax import recipes
from metajax.boxes import Boxes
from metajax.data.annotated import Annotated
from metajax.recipes.vision import photographs
from metajax.recipes.vision.blobs import blobs
from metajax.recipes.vision.canvas import canvas
from metajax.recipes.vision.correlation import correlation
from metajax.recipes.vision.detect import _in_pixels
from metajax.recipes.vision.detection import Detection
from metajax.recipes.vision.detection_elsewhere import elsewhere


def _sheet(seed, number=2, colour=(200, 30, 30)):
    """A grey picture with squares of a colour, and their boxes `y0, x0, y1, x1`."""
    rng = np.random.default_rng(seed)
    picture = np.full((60, 80, 3), 180, np.uint8) + rng.integers(0, 20, (60, 80, 3)).astype(
        np.uint8
    )
    corners = []
    for i in range(number):
        y, x = rng.integers(2, 40), 4 + 38 * i + rng.integers(0, 16)
        picture[y : y + 14, x : x + 14] = colour
        corners.append((y, x, y + 14, x + 14))
    return picture, np.array(corners, np.float32)


SHEETS = [_sheet(seed) for seed in range(6)]
FOUND = Annotated(
    [picture for picture, _ in SHEETS],
    [boxes for _, boxes in SHEETS],
    [np.zeros(2, int)] * 6,
    ["square"],
    [f"{i}.png" for i in range(6)],
    ["train", "train", "val", "val", "test", "test"],
)


def test_correlation_finds_a_copy_of_the_exemplar(key):
    picture = np.zeros((1, 48, 48, 1), np.float32)
    shape = np.random.default_rng(0).random((16, 16)) > 0.5
    picture[0, 4:20, 6:22, 0], picture[0, 28:44, 30:46, 0] = shape, shape
    boxes = Boxes(jnp.array([[[4.0, 6, 20, 22]]]), jnp.ones((1, 1), bool))
    learner = correlation(scales=(1.0,))
    adapted = learner.adapt((), mj.Examples(jnp.asarray(picture), boxes), key)
    found = jax.jit(learner.predict)(adapted, jnp.asarray(picture))
    both = {tuple(np.rint(corners).astype(int).tolist()) for corners in found.corners[0, :2]}
    assert both == {(4, 6, 20, 22), (28, 30, 44, 46)}
    assert found.scores[0, 1] > 0.9 > found.scores[0, 2]


@pytest.mark.parametrize("size", [8, 12, 20])
def test_correlation_finds_objects_of_any_size(size, key):
    rng = np.random.default_rng(size)
    picture = 0.1 * rng.random((1, 48, 48, 1)).astype(np.float32)
    picture[0, 10 : 10 + size, 13 : 13 + size, 0] = rng.random((size, size)) > 0.5
    corners = jnp.array([[[10.0, 13, 10 + size, 13 + size]]])
    learner = correlation()
    support = mj.Examples(jnp.asarray(picture), Boxes(corners, jnp.ones((1, 1), bool)))
    found = jax.jit(learner.predict)(learner.adapt((), support, key), support.x)
    assert mj.boxes.iou(found.corners[0, :1], corners[0]).item() > 0.8


def test_a_detector_that_has_diverged_scores_nan():
    boxes = Boxes(jnp.array([[[7.0, 7, 29, 29]]]), jnp.ones((1, 1), bool))
    metric = mj.average_precision([0.5, 0.75])
    maps = jnp.full((1, 8, 8, 5), -9.0).at[:, 4, 4].set(jnp.array([9.0, 0, 0, 0, 0]))
    assert metric.average(metric(maps, boxes), None).tolist() == [1.0, 1.0]
    for place in (..., (0, 4, 4, 1)):
        diverged = maps.at[place].set(jnp.nan)
        assert np.isnan(metric.average(metric(diverged, boxes), None)).all()
    none = Boxes(jnp.zeros((1, 0, 4)), jnp.zeros((1, 0), bool))
    assert np.isnan(metric.average(metric(maps, none), None)).all()


def test_blobs_find_the_colour_of_the_support():
    (given, boxes), (asked, expected) = SHEETS[:2]
    (found,) = blobs([given / 255], [boxes], [asked / 255])
    order = np.argsort(found.corners[:2, 1])
    np.testing.assert_allclose(found.corners[:2][order], expected, atol=2)
    assert len(blobs([given / 255], [np.zeros((0, 4), np.float32)], [asked / 255])[0].scores) == 0


def test_what_is_beside_the_picture_on_its_canvas_is_left_out():
    picture = np.zeros((160, 120, 3), np.uint8)
    corners = np.array([[10.0, 130, 30, 150], [10, 100, 30, 130]])
    found = _in_pixels(picture, 1, corners, np.array([0.9, 0.8]), np.zeros((40, 40)), 0.3)
    assert found.corners.tolist() == [[10, 100, 30, 120]] and found.scores.tolist() == [0.8]


def test_photographs_become_scenes_by_their_support_alone():
    c = canvas(FOUND, side=40)
    assert c.colours.shape == (6, 32, 40, 3)  # 60 x 80 pixels are 30 x 40, filled up to 32
    np.testing.assert_allclose(c.boxes[0], FOUND.boxes[0] / 2)
    support = photographs.drawn(c, 0, 1, seed=3)
    more = photographs.drawn(c, 0, 2, seed=3)
    np.testing.assert_array_equal(support.colours[0], more.colours[0])
    read = photographs.reading(support)
    assert read.ink[0] > max(read.ink[1:])  # squares are red
    assert read.reduced == 1  # and small
    grey = photographs.inputs(c.colours, read)
    y0, x0, y1, x1 = np.rint(c.boxes[0][0]).astype(int)
    assert grey[0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > 0.8 > 0.3 > np.median(grey[0])
    whole = canvas(FOUND._replace(subsets=[]))
    assert [len(whole.subsets[name]) for name in ("train", "val", "test")] == [3, 1, 2]


@pytest.mark.parametrize(
    "subsets, expected",
    [
        (["test", "train", "val", "train", "val", "train"], ([1, 3, 5], [2, 4], [0])),
        (["train", "train", "test", "train", "test", "test"], ([0, 1], [3], [2, 4, 5])),
        (["val", "train", "train", "val", "train", "val"], ([1, 2], [4], [0, 3, 5])),
        ([""] * 6, None),
    ],
)
def test_a_published_split_is_kept(subsets, expected):
    found = canvas(FOUND._replace(subsets=subsets), side=8).subsets
    drawn = canvas(FOUND._replace(subsets=[]), side=8).subsets
    for i, name in enumerate(("train", "val", "test")):
        np.testing.assert_array_equal(found[name], expected[i] if expected else drawn[name])


@pytest.mark.parametrize(
    "subsets, sizes",
    [
        (["train", "train", "val", "val", "test", ""], "2 in train, 2 in val, 1 in test"),
        (["train"] * 6, "6 in train, 0 in val, 0 in test"),
        (["val", "test"] * 3, "0 in train, 3 in val, 3 in test"),
    ],
)
def test_a_part_of_a_split_is_refused(subsets, sizes):
    with pytest.raises(ValueError, match=f"canvas: of 6 pictures, {sizes}. Every picture must be"):
        canvas(FOUND._replace(subsets=subsets), side=8)


def test_mirror_images_keep_what_is_in_their_boxes():
    x = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6, 1)
    corners = np.array([[[0, 1, 2, 4], [3, 0, 4, 6]], [[1, 2, 3, 5], [0, 0, 0, 0]]], np.float32)
    mask = np.array([[True, True], [True, False]])
    found = photographs.mirrored(mj.Examples(x, mj.boxes.Boxes(corners, mask)))

    def inside(examples, i, j):
        y0, x0, y1, x1 = examples.y.corners[i, j].astype(int)
        return sorted(examples.x[i, y0:y1, x0:x1, 0].ravel())

    given = mj.Examples(x, mj.boxes.Boxes(corners, mask))
    assert len({pixels.tobytes() for pixels in found.x}) == 8
    for i, j in zip(*np.nonzero(found.y.mask), strict=True):
        assert inside(found, i, j) == inside(given, i % 2, j)


@pytest.mark.parametrize(
    "side, factor", [(5, 1), (30, 1), (31, 2), (47, 2), (100, 4), (150, 8), (400, 8)]
)
def test_large_objects_are_read_no_larger_than_characters_of_scenes(side, factor):
    pictures = np.random.default_rng(0).uniform(0.1, 0.2, (2, 408, 440, 3)).astype(np.float32)
    box = np.array([[1, 1, 1 + side, 1 + side]], np.float32)
    pictures[:, 1 : 1 + side, 1 : 1 + side] = 0.9
    support = photographs.Part(pictures, [box, box])
    read = photographs.reading(support)
    assert read.reduced == factor
    found = photographs.examples(support, read, most=3)
    assert all(n % 8 == 0 and n >= side / factor for n in found.x.shape[1:3])
    y0, x0, y1, x1 = found.y.corners[0, 0]
    np.testing.assert_allclose(factor * (y1 - y0), side)
    inside = found.x[0, int(y0) + 1 : int(y1), int(x0) + 1 : int(x1), 0]
    assert inside.min() > 0.5 > found.x[0].mean() or side == 400


def test_reduced_pictures_are_means_of_squares():
    colours = np.random.default_rng(0).random((1, 6, 5, 3)).astype(np.float32)
    first = photographs.Reading(np.array([1.0, 0, 0]), 2)
    found = photographs.inputs(colours, first)[0, :, :, 0]
    means = (
        np.pad(colours[0, :, :, 0], [(0, 0), (0, 1)], mode="edge").reshape(3, 2, 3, 2).mean((1, 3))
    )
    paper, ink = np.quantile(means, [0.5, 0.99])
    assert found.shape == (8, 8)
    np.testing.assert_allclose(
        found[:3, :3], np.clip(0.1 + 0.8 * (means - paper) / (ink - paper), 0, 1), atol=1e-5
    )
    np.testing.assert_allclose(found[3:], 0.1)


def test_how_to_adapt_is_chosen_by_ap50_and_near_ties_by_ap75(monkeypatch):
    from metajax.recipes.vision import adapting

    near, far = adapting.How(1, False), adapting.How(3, True)
    found = {near: np.zeros((6, 2)), far: np.zeros((6, 2))}
    found[near][1], found[near][3] = (79.5, 10.0), (80.0, 5.0)
    found[far][5] = 78.0, 40.0  # more than a point below the best AP50
    monkeypatch.setattr(adapting, "scores", lambda row, how, *rest: found[how])
    learner = mj.protonet(mj.pixels)
    row = adapting.Row(dict.fromkeys((near, far), learner), lambda seed: None)
    assert adapting.chosen(row, canvas(FOUND), 0, 1) == adapting.Chosen(adapting.STEPS[1], near)


def test_objects_are_bright_in_the_colour_that_tells_them_apart():
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0.3, 0.5, (2, 40, 40, 3)).astype(np.float32)
    box = np.array([[10.0, 10, 20, 20]])
    brightness = np.array([0.299, 0.587, 0.114])

    def seen(change):
        colours = pictures.copy()
        change(colours[:, 10:20, 10:20])
        support = photographs.Part(colours, [box, box])
        direction = photographs.ink(support)
        found = photographs.inputs(colours, photographs.Reading(direction, 1))[..., 0]
        return found[:, 10:20, 10:20].mean() - np.delete(found, range(10, 20), 1).mean(), direction

    def bluer_and_as_bright(square):
        square += np.array([-0.3, 0.0, 0.3 * 0.299 / 0.114]) * 0.5

    for change in (bluer_and_as_bright, lambda square: square.__isub__(0.25)):
        apart, _ = seen(change)
        assert apart > 0.4
    _, direction = seen(lambda square: None)  # no colour tells them apart
    np.testing.assert_allclose(abs(direction), brightness / np.linalg.norm(brightness))
    whole = photographs.Part(pictures[:1], [np.array([[0.0, 0, 40, 40]])])
    np.testing.assert_allclose(photographs.ink(whole), brightness / np.linalg.norm(brightness))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_steps": 2}, "detection: num_steps=2 has no effect with learner='conditioned'"),
        ({"exemplars": (1, 6)}, "detection: exemplars=(1, 6) must be two numbers of at most 5."),
        ({"learner": "mamml"}, "detection: learner='mamml'"),
        ({"width": 20}, "detector: width=20 must be a multiple of 16"),
    ],
)
def test_settings_that_do_not_go_together_are_named(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        recipes.build(Detection(**change))


def _voc(folder: Path) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    for i, (picture, boxes) in enumerate(SHEETS):
        Image.fromarray(picture).save(folder / f"{i}.png")
        things = "".join(
            f"<object><name>square</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for y0, x0, y1, x1 in boxes
        )
        text = f"<annotation><filename>{i}.png</filename>{things}</annotation>"
        (folder / "Annotations" / f"{i}.xml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a run of two steps, and the run."""
    from metajax.recipes import run

    folder = tmp_path_factory.mktemp("detection") / "run"
    settings = Detection(width=16, queries=1, meta_batch=1, outer_steps=2, exemplars=(1, 1))
    experiment = replace(recipes.build(settings), validation_tasks=2)
    run.train(experiment, settings, folder, report_every=2)
    return folder, mj.restore(folder)


def test_a_run_adapts_to_a_folder_and_finds_its_boxes(made, tmp_path, monkeypatch, capsys):
    from metajax.cli.main import main
    from metajax.recipes.vision import adapting, boxes_report

    monkeypatch.setattr(adapting, "STEPS", (0, 2))
    monkeypatch.setattr(adapting, "TIMES", (3,))
    monkeypatch.setattr(boxes_report, "DRAWS", 2)
    folder = _voc(tmp_path / "sheets")
    run_dir, run = made
    found = elsewhere(run.experiment, str(folder), shots=None)
    assert found.test_name == "sheets"
    assert found.judge is not None
    report = found.judge(run.meta_params, 1)
    rows = report.tables[0].rows
    assert set(rows) == {"conditioned", "conditioned, no step", "from scratch", "blobs"}
    assert rows["blobs"][0][0] > 90

    out, picture = tmp_path / "found.png", folder / "5.png"
    words = ["detect", run_dir, "--support", folder, "--image", picture, "--out", out]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--num-steps", "2", "--least", "0.01"])
    assert not ended.value.code and out.stat().st_size > 10_000
    assert "the drawing is" in capsys.readouterr().out


def test_boxes_of_large_things_are_in_pixels_of_the_picture(made):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (320, 320, 3)).astype(np.uint8)
    picture[40:260, 60:280] = 250  # 110 pixels once the picture is scaled to 160
    box = np.array([[40.0, 60, 260, 280]], np.float32)
    support = Annotated([picture], [box], [np.zeros(1, int)], ["sheet"], ["0.png"], [])
    (found,) = mj.detect(made[1], support, [picture], num_steps=0, least=0.0)
    assert found.heat.shape == (10, 10)  # 160 pixels, reduced by 4, in cells of 4
    assert found.cell * 10 == 320
    assert found.corners.max() > 160 and found.corners.min() >= 0


def test_data_that_do_not_fit_a_detector_are_named(made, tmp_path):
    e = made[1].experiment
    with pytest.raises(ValueError, match="on='bcd' is neither a data set with boxes nor a folder"):
        elsewhere(e, "bcd")
    folder = _voc(tmp_path / "few")
    from metajax.recipes.experiment import Shots

    with pytest.raises(ValueError, match="class 'square' is in 3 train pictures, but 9 are needed"):
        elsewhere(e, str(folder), shots=Shots(9, 1))
    with pytest.raises(ValueError, match="detect: the support has boxes of a, b"):
        mj.detect(made[1], FOUND._replace(names=["a", "b"]), [SHEETS[0][0]])
