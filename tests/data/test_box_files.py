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


def _grey(path: Path, brightness: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (brightness,) * 3).save(path)


def _json(path: Path, *named: str, **change) -> None:
    """A COCO file whose image `i` has one box, `i + 1` columns wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": i, "file_name": file} for i, file in enumerate(named)],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [
            {"image_id": i, "category_id": 0, "bbox": [0, 0, i + 1, 2]} for i in range(len(named))
        ],
    }
    path.write_text(json.dumps(content | change))


def _xml(path: Path, file: str, more: str = "", marks: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    box = "<xmin>0</xmin><ymin>0</ymin><xmax>4</xmax><ymax>2</ymax>"
    thing = f"<object><name>cat</name>{marks}<bndbox>{box}</bndbox></object>"
    path.write_text(f"<annotation><filename>{file}</filename>{more}{thing}</annotation>")


def _brightness(found: Annotated) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in found.pictures]


@pytest.mark.parametrize("place", ["", "images/", "data/2017/"])
def test_a_picture_is_in_the_folder_of_its_subset(place, tmp_path):
    for year in ("2014", "2017"):
        _grey(tmp_path / f"{place}train{year}" / "1.png", 10 + int(year) % 7)
        _grey(tmp_path / f"{place}val{year}" / "1.png", 20 + int(year) % 7)
    for subset in ("val", "train"):
        _json(tmp_path / "annotations" / f"instances_{subset}2017.json", "1.png")
    found = read_boxes(tmp_path)
    assert dict(zip(found.subsets, _brightness(found), strict=True)) == {"train": 11, "val": 21}


def test_the_whole_name_of_a_picture_counts(tmp_path):
    coco, voc = tmp_path / "coco", tmp_path / "voc"
    for folder in (coco, voc):
        _grey(folder / "data" / "left" / "1.png", 1)
        _grey(folder / "data" / "right" / "1.png", 2)
    _json(coco / "boxes.json", "right/1.png", "left/1.png")
    found = read_boxes(coco)
    assert _brightness(found) == [2, 1] and [own[0, 3] for own in found.boxes] == [1, 2]
    _json(coco / "boxes.json", "/home/mine/right/1.png", "../left/1.png")  # as on another machine
    assert _brightness(read_boxes(coco)) == [2, 1]
    _xml(voc / "a.xml", "right/1.png")
    _xml(voc / "b.xml", "left/1.png")
    assert _brightness(read_boxes(voc)) == [2, 1]
    (coco / "data" / "left" / "1.png").unlink()
    _json(coco / "boxes.json", "left/1.png")
    with pytest.raises(FileNotFoundError, match=re.escape("names left/1.png, which is neither")):
        read_boxes(coco)


@pytest.mark.parametrize("place", ["images", "JPEGImages"])
def test_the_usual_place_of_a_picture_is_preferred(place, tmp_path):
    _grey(tmp_path / place / "1.png", 1)
    _grey(tmp_path / "SegmentationClass" / "1.png", 2)
    if place == "images":
        _json(tmp_path / "boxes.json", "1.png")
    else:
        _xml(tmp_path / "Annotations" / "1.xml", "1.png")
    assert _brightness(read_boxes(tmp_path)) == [1]


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_a_name_of_several_pictures_is_refused(form, tmp_path):
    _grey(tmp_path / "a" / "1.png", 1)
    _grey(tmp_path / "b" / "1.png", 2)
    if form == "coco":
        _json(tmp_path / "boxes.json", "1.png")
    else:
        _xml(tmp_path / "1.xml", "1.png")
    both = f"names 1.png, which may be {tmp_path / 'a' / '1.png'} or {tmp_path / 'b' / '1.png'}. Write the"
    with pytest.raises(ValueError, match=re.escape(both)):
        read_boxes(tmp_path)
    (tmp_path / "b" / "1.png").unlink()
    (tmp_path / "b" / "1.png").symlink_to(tmp_path / "a" / "1.png")  # one picture after all
    (tmp_path / "b" / "again").symlink_to(tmp_path)
    assert _brightness(read_boxes(tmp_path)) == [1]


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    calls = []
    for name in ("glob", "rglob", "iterdir"):
        own = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda *a, own=own: calls.append(a) or own(*a))
    for number in (2, 9):
        files = [f"{i}.png" for i in range(number)]
        for file in files:
            _grey(tmp_path / "deep" / file, 1)
        _json(tmp_path / "boxes.json", *files)
        assert len(read_boxes(tmp_path).files) == number
    assert len(calls) % 2 == 0 and calls[: len(calls) // 2] == calls[len(calls) // 2 :]


def _two_images(folder):
    images = [{"id": 3, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}]
    _json(folder / "boxes.json", images=images)


def _two_kinds(folder):
    kinds = [{"id": 0, "name": "cat"}, {"id": 0, "name": "dog"}]
    _json(folder / "boxes.json", "a.png", categories=kinds)


def _two_files(folder):
    _json(folder / "annotations" / "instances_train.json", "a.png")
    _json(folder / "annotations" / "person_keypoints_train.json", "a.png")


def _two_subsets(folder):
    _json(folder / "train.json", "a.png")
    _json(folder / "val.json", "a.png")


def _two_forms(folder):
    _json(folder / "boxes.json", "a.png")
    _xml(folder / "b.xml", "b.png")


def _two_markups(folder):
    _xml(folder / "a.xml", "a.png")
    _xml(folder / "c.xml", "a.png")


def _two_lists(folder):
    _xml(folder / "a.xml", "a.png")
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for subset in ("train", "val"):
        (folder / "ImageSets" / "Main" / f"{subset}.txt").write_text("a 1\n")


@pytest.mark.parametrize(
    "write, message",
    [
        (_two_images, "boxes.json has two images with id 3, a.png and b.png. Give each an id"),
        (_two_kinds, "boxes.json has two categories with id 0, cat and dog. Give each an id"),
        (
            lambda folder: _json(folder / "boxes.json", "a.png", "./a.png"),
            "a.png twice. Keep one of",
        ),
        (
            _two_files,
            "instances_train.json and by {}/annotations/person_keypoints_train.json. Keep one",
        ),
        (
            _two_subsets,
            "a.png is named by {}/train.json and by {}/val.json. Keep one of these files",
        ),
        (
            _two_forms,
            "holds JSON of COCO, {}/boxes.json, and XML of Pascal VOC, {}/b.xml. Keep the",
        ),
        (_two_markups, "a.png is named by {}/a.xml and by {}/c.xml. Keep one of these files"),
        (_two_lists, "val.txt names a, which is in train.txt, too. Remove it from one of them"),
    ],
)
def test_what_is_there_twice_is_refused(write, message, tmp_path):
    for file in ("a.png", "b.png"):
        _grey(tmp_path / file, 1)
    write(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message.replace("{}", str(tmp_path)))):
        read_boxes(tmp_path)


def _sized(form, folder, width, height):
    if form == "coco":
        image = {"id": 0, "file_name": "a.png", "width": width, "height": height}
        box = {"image_id": 0, "category_id": 0, "bbox": [0, 0, 4, 2]}
        _json(folder / "boxes.json", images=[image], annotations=[box])
    else:
        _xml(
            folder / "a.xml",
            "a.png",
            f"<size><width>{width}</width><height>{height}</height></size>",
        )


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_a_size_that_the_picture_does_not_have_is_refused(form, tmp_path):
    _grey(tmp_path / "a.png", 1)  # 8 x 6
    for size in ((8, 6), (0, 0), ("", None), (8, 0)):
        _sized(form, tmp_path, *size)
        np.testing.assert_array_equal(read_boxes(tmp_path).boxes[0], [[0, 0, 2, 4]])
    _sized(form, tmp_path, 16, 12)
    with pytest.raises(
        ValueError, match=r"says that a\.png has 16 x 12 pixels, but it has 8 x 6\. Use"
    ):
        read_boxes(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: to be turned by a quarter
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", exif=turned)
    _sized(form, tmp_path, 8, 6)
    message = "has 8 x 6 pixels, but it has 6 x 8. Its EXIF orientation may have turned it; its boxes are then"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_boxes(tmp_path)


def test_corners_are_edges_and_difficult_boxes_count(tmp_path):
    _grey(tmp_path / "a.png", 1)
    _xml(tmp_path / "a.xml", "a.png", marks="<difficult>1</difficult>")
    np.testing.assert_array_equal(read_boxes(tmp_path).boxes[0], [[0, 0, 2, 4]])


@pytest.mark.parametrize(
    "stem, subset",
    [
        ("instances_train2017", "train"),
        ("my-training.v2", "train"),
        ("valid", "val"),
        ("Validation_3", "val"),
        ("testing", "test"),
        ("latest", ""),
        ("trainval", ""),
        ("train_and_val", ""),
    ],
)
def test_subsets_are_whole_words_of_a_name(stem, subset, tmp_path):
    _grey(tmp_path / "a.png", 1)
    _json(tmp_path / f"{stem}.json", "a.png")
    assert read_boxes(tmp_path).subsets == ([subset] if subset else [])


@pytest.mark.parametrize("write, place", [(_voc, "Annotations/._a.xml"), (_coco, "._boxes.json")])
def test_hidden_files_are_ignored(write, place, tmp_path):
    folder = write(tmp_path / "own")
    (folder / place).write_bytes(b"\0\5\26\7Mac OS X")
    (folder / ".hidden").mkdir()
    Image.new("RGB", (1, 1)).save(folder / ".hidden" / "a.png")
    assert read_boxes(folder).files == ["a.png", "b.png"]


@pytest.mark.parametrize("form", ["coco", "voc"])
@pytest.mark.parametrize("place", ["", "JPEGImages", "deep"])
def test_suffixes_are_compared_without_case(form, place, tmp_path):
    _grey(tmp_path / place / "IMG.JPG", 7)
    if form == "coco":
        _json(tmp_path / "boxes.json", "IMG.jpg")
    else:
        _xml(tmp_path / "Annotations" / "1.xml", "IMG")
    found = read_boxes(tmp_path)
    assert found.files == ["IMG.JPG"] and _brightness(found) == [7]


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
