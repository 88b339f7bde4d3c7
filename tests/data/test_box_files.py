"""Pictures with boxes: both forms are read alike, and what is wrong is named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metajax.data.annotated import Annotated, scaled
from metajax.data.box_files import read_boxes
from metajax.data.cut_out import cut_out
from metajax.recipes.vision.canvas import canvas

SIZES = {"a.png": (40, 30), "b.png": (24, 32)}  # width and height
BOXES = {"a.png": [("cat", 2, 3, 12, 23)], "b.png": [("dog", 0, 0, 24, 32), ("cat", 5, 6, 7, 8)]}


BOX, LABEL = np.array([[2, 4, 10, 12]], np.float32), np.zeros(1, int)


def _pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        Image.new("RGB", size, (10, 20, 30)).save(folder / name)
    return folder


def _voc(folder: Path, boxes=BOXES) -> Path:
    _pictures(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for file, own in boxes.items():
        things = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for name, x0, y0, x1, y1 in own
        )
        text = f"<annotation><filename>{file}</filename>{things}</annotation>"
        (folder / "Annotations" / f"{Path(file).stem}.xml").write_text(text)
    return folder


def _coco(folder: Path, boxes=BOXES, **change) -> Path:
    _pictures(folder / "images")
    kinds = {"cat": 7, "dog": 3}
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(boxes)],
        "categories": [{"id": i, "name": name} for name, i in kinds.items()],
        "annotations": [
            {"image_id": i, "category_id": kinds[name], "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for i, own in enumerate(boxes.values())
            for name, x0, y0, x1, y1 in own
        ],
        **change,
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("write", [_voc, _coco])
def test_both_forms_hold_the_same_boxes(write, tmp_path):
    found = read_boxes(write(tmp_path / "own"))
    assert found.names == ["cat", "dog"] and found.files == ["a.png", "b.png"]
    assert [picture.shape for picture in found.pictures] == [(30, 40, 3), (32, 24, 3)]
    assert found.pictures[0][0, 0].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(found.boxes[0], [[3, 2, 23, 12]])  # y0, x0, y1, x1
    np.testing.assert_array_equal(found.boxes[1], [[0, 0, 32, 24], [6, 5, 8, 7]])
    assert [own.tolist() for own in found.labels] == [[0], [1, 0]] and found.subsets == []


def test_large_pictures_are_scaled_with_their_boxes(tmp_path):
    found = read_boxes(_voc(tmp_path / "own"), longest=32)
    assert [picture.shape for picture in found.pictures] == [(24, 32, 3), (32, 24, 3)]
    np.testing.assert_allclose(found.boxes[0], 0.8 * np.array([[3, 2, 23, 12]]), rtol=1e-6)
    np.testing.assert_array_equal(found.boxes[1], [[0, 0, 32, 24], [6, 5, 8, 7]])
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    whole = canvas(
        Annotated([np.broadcast_to(grey, (16, 16, 3))], [BOX], [LABEL], ["a"], ["a"], []), 8
    )
    small, boxes = scaled(grey, BOX, 8)
    both = canvas(
        Annotated([np.broadcast_to(small, (8, 8, 3))], [boxes], [LABEL], ["a"], ["a"], []), 8
    )
    np.testing.assert_array_equal(whole.colours, both.colours)
    np.testing.assert_array_equal(whole.boxes[0], both.boxes[0])


def test_subsets_are_those_of_the_lists(tmp_path):
    folder = _voc(tmp_path)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (folder / "ImageSets" / "Main" / "test.txt").write_text("b\n")
    assert read_boxes(folder).subsets == ["train", "test"]


@pytest.mark.parametrize("write", [_voc, _coco])
@pytest.mark.parametrize(
    "box, message",
    [
        ((2, 3, 2, 23), "the box x 2 to 2, y 3 to 23 in"),
        ((2, 3, 12, 99), "is outside of a.png, which has 40 x 30 pixels"),
        ((-9, 3, 12, 20), "is outside of a.png, which has 40 x 30 pixels"),
    ],
)
def test_boxes_that_cannot_be_are_named(write, box, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_boxes(write(tmp_path / "own", {"a.png": [("cat", *box)]}))


def test_a_box_of_no_area_is_left_out_where_asked(tmp_path):
    folder = _voc(tmp_path, {"a.png": [("cat", 2, 3, 2, 23), ("cat", 2, 3, 4, 5)]})
    assert len(read_boxes(folder, skip_empty=True).boxes[0]) == 1


def _missing(folder):
    (folder / "images" / "a.png").unlink()


def _deep(folder):
    Image.fromarray(np.zeros((30, 40), np.uint16)).save(folder / "images" / "a.png")


def _printed(folder):
    (folder / "images" / "a.png").unlink()
    Image.new("CMYK", (40, 30)).save(folder / "images" / "a.png", format="TIFF")


def _cut(folder):
    whole = (folder / "images" / "a.png").read_bytes()
    (folder / "images" / "a.png").write_bytes(whole[:40])


@pytest.mark.parametrize(
    "damage, kind, message",
    [
        (_missing, FileNotFoundError, "boxes.json names a.png, which is neither in"),
        (_deep, ValueError, "a.png has more than 8 bits per channel"),
        (_printed, ValueError, "a.png is a CMYK picture"),
        (_cut, ValueError, "a.png cannot be decoded as a picture"),
    ],
)
def test_pictures_that_cannot_be_read_are_named(damage, kind, message, tmp_path):
    folder = _coco(tmp_path)
    damage(folder)
    with pytest.raises(kind, match=re.escape(message)):
        read_boxes(folder)


def test_files_in_neither_form_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="boxes: there is no folder"):
        read_boxes(tmp_path / "none")
    with pytest.raises(ValueError, match="holds no box"):
        read_boxes(_pictures(tmp_path / "plain"))
    folder = _coco(
        tmp_path / "odd", annotations=[{"image_id": 0, "category_id": 99, "bbox": [1, 2]}]
    )
    with pytest.raises(ValueError, match="is not in the form of COCO"):
        read_boxes(folder)
    (folder / "boxes.json").write_text("{")
    with pytest.raises(ValueError, match=r"boxes\.json is no JSON"):
        read_boxes(folder)
    folder = _voc(tmp_path / "broken")
    (folder / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match="is not in the form of Pascal VOC"):
        read_boxes(folder)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_in_boxes_is_cut_out_as_squares(channels):
    picture = np.zeros((20, 30, channels), np.uint8)
    picture[4:12, 6:10], picture[0:8, 22:30], picture[12:20, 20:28] = 100, 200, 50
    boxes = np.array([[4, 6, 12, 10], [0, 22, 8, 30], [12, 20, 20, 28]], np.float32)
    found = Annotated([picture], [boxes], [np.array([0, 1, 1])], ["tall", "square"], ["0.png"], [])
    pictures = cut_out(found, 8)
    assert pictures.names == ["tall", "square"]
    assert [own.shape for own in pictures.classes] == [(1, 8, 8, 3), (2, 8, 8, 3)]
    assert (pictures.classes[1][0] == 200).all() and (pictures.classes[1][1] == 50).all()
    tall = pictures.classes[0][0, :, :, 0]  # 8 x 4 pixels in the middle of 8 x 8
    assert (tall[:, 2:6] == 100).all() and (tall[:, [0, 1, 6, 7]] == 0).all()
