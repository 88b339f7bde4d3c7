"""Pictures with boxes on disk: a folder in the form of Pascal VOC or of COCO."""

import glob
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metajax import files
from metajax.data.annotated import Annotated, scaled
from metajax.data.folder import SUFFIXES
from metajax.data.picture import decode
from metajax.data.store import read_bytes

_SLACK = 1.0
"""Pixels that a box may reach beyond its picture, as rounded or 1-based corners do; it is cut."""
_SUBSETS = ("train", "val", "test")


class _Picture(NamedTuple):
    """A picture before it is read; its boxes are `(class, y0, x0, y1, x1)`, with where each is written."""

    path: Path
    boxes: list[tuple[str, tuple[float, ...]]]
    subset: str
    source: str


def read_boxes(
    folder: str | Path,
    *,
    where: str = "boxes",
    skip_empty: bool = False,
    longest: int | None = None,
) -> Annotated:
    """Reads pictures with boxes from a folder in the form of Pascal VOC or of COCO.

    VOC: `Annotations/*.xml` or XML files beside the pictures, pictures in `JPEGImages` or beside, and
    `ImageSets/Main/train.txt`, `val.txt` and `test.txt`, where there are any. COCO: JSON files in the folder
    or in `annotations`, whose names say train, val or test where there are several; boxes of crowds are left
    out, and pictures lie in the folder or in a folder below it.

    Args:
      folder: The folder.
      where: The first word of error messages.
      skip_empty: Leave out boxes of no area instead of refusing them.
      longest: Scale pictures with a longer side down to it, and their boxes, so that many photographs fit
        into memory.

    Raises:
      FileNotFoundError: For a folder that does not exist, and pictures that are named but missing.
      ValueError: For files that are neither VOC nor COCO, boxes outside of their picture or of no area, and
        pictures that cannot be decoded, or are 16-bit, CMYK, transparent or animated; files are named.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {folder}.")
    found = sorted(_listed(where, folder), key=lambda picture: picture.path.name)
    if not any(picture.boxes for picture in found):
        raise ValueError(
            f"{where}: {folder} holds no box. Give a folder with XML files of Pascal VOC, or JSON files of "
            "COCO with images, annotations and categories."
        )
    names = sorted({name for picture in found for name, _ in picture.boxes})
    pictures, boxes, labels = [], [], []
    for picture in found:
        pixels = decode(picture.path, where)
        kept = [
            (names.index(name), corners)
            for name, corners in picture.boxes
            if not (skip_empty and _is_empty(corners))
        ]
        corners = _corners(where, picture, [corners for _, corners in kept], pixels.shape)
        if longest is not None and max(pixels.shape[:2]) > longest:
            pixels, corners = scaled(pixels, corners, longest)
        pictures.append(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        boxes.append(corners)
        labels.append(np.array([label for label, _ in kept], int))
    named, subsets = [p.path.name for p in found], [p.subset for p in found]
    return Annotated(pictures, boxes, labels, names, named, subsets if any(subsets) else [])


def _is_empty(corners: tuple[float, ...]) -> bool:
    return corners[2] <= corners[0] or corners[3] <= corners[1]


def _corners(where: str, picture: _Picture, boxes: list, shape: tuple[int, ...]) -> np.ndarray:
    """Boxes `(number, 4)`, cut to the picture."""
    height, width = shape[:2]
    for corners in boxes:
        y0, x0, y1, x1 = corners
        box = f"the box x {x0:g} to {x1:g}, y {y0:g} to {y1:g} in {picture.source}"
        if not np.all(np.isfinite(corners)) or _is_empty(corners):
            raise ValueError(f"{where}: {box} has no area; remove it or correct its corners.")
        if min(y0, x0) < -_SLACK or y1 > height + _SLACK or x1 > width + _SLACK:
            raise ValueError(
                f"{where}: {box} is outside of {picture.path.name}, which has {width} x {height} pixels; "
                "correct its corners, which are in pixels of the file."
            )
    found = np.array(boxes, np.float32).reshape(-1, 4)
    return np.clip(found, 0, np.array([height, width, height, width], np.float32))


def _listed(where: str, folder: Path) -> list[_Picture]:
    texts = [*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))]
    found: list[_Picture] = []
    are_coco = False
    for path in texts:
        with files.naming(path):
            content = _coco(where, path)
            if content is not None:
                are_coco = True
                found += _of_coco(where, folder, path, content)
    return found if are_coco else list(_of_voc(where, folder))


def _coco(where: str, path: Path) -> Mapping[str, Any] | None:
    """The content of a COCO file; None for other JSON."""
    try:
        content = json.loads(read_bytes(where, path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: {path} is no JSON ({error}); replace it.") from error
    needed = {"images", "annotations", "categories"}
    return content if isinstance(content, dict) and needed <= set(content) else None


def _of_coco(
    where: str, folder: Path, path: Path, content: Mapping[str, Any]
) -> Iterator[_Picture]:
    try:
        names = {int(row["id"]): str(row["name"]) for row in content["categories"]}
        pictures = {int(row["id"]): str(row["file_name"]) for row in content["images"]}
        rows = [row for row in content["annotations"] if not row.get("iscrowd")]
        own: dict[int, list] = {image: [] for image in pictures}
        for row in rows:
            x, y, width, height = map(float, row["bbox"])
            own[int(row["image_id"])].append(
                (names[int(row["category_id"])], (y, x, y + height, x + width))
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{where}: {path} is not in the form of COCO ({type(error).__name__}: {error}). Each annotation "
            "needs bbox [x, y, width, height], and an image_id and a category_id that exist."
        ) from error
    subset = next((name for name in _SUBSETS if name in path.stem.lower()), "")
    for image, file in pictures.items():
        found = _picture(folder, Path(file).name, (file, f"images/{file}", f"{path.stem}/{file}"))
        if found is None:
            raise FileNotFoundError(
                f"{where}: {path} names {file}, which is neither in {folder} nor in a folder below it. Put "
                "the picture there, or remove it from the file."
            )
        yield _Picture(found, own[image], subset, str(path))


def _picture(folder: Path, name: str, likely: tuple[str, ...]) -> Path | None:
    """Where a picture is: at a likely place, or anywhere below the folder."""
    for place in likely:
        within = not Path(place).is_absolute() and ".." not in Path(place).parts
        if within and (folder / place).is_file():
            return folder / place
    return next(iter(sorted(folder.rglob(glob.escape(name)))), None) if name else None


def _of_voc(where: str, folder: Path) -> Iterator[_Picture]:
    subsets = {}
    for subset in _SUBSETS:
        listed = folder / "ImageSets" / "Main" / f"{subset}.txt"
        if listed.is_file():
            with files.naming(listed):
                lines = read_bytes(where, listed).decode("utf-8").splitlines()
            subsets |= {line.split()[0]: subset for line in lines if line.strip()}
    for path in sorted([*folder.glob("Annotations/*.xml"), *folder.glob("*.xml")]):
        with files.naming(path):
            file, boxes = _voc_file(where, path)
        likely = [
            f"{place}{stem}{suffix}"
            for stem in (file.name, path.stem)
            for place in ("JPEGImages/", "")
            for suffix in ("", *SUFFIXES)
        ]
        found = _picture(folder, file.name, tuple(likely))
        if found is None:
            raise FileNotFoundError(
                f"{where}: {path} names {file.name}, which is neither in {folder} nor in a folder below it. "
                "Put the picture there, or remove the file."
            )
        yield _Picture(found, boxes, subsets.get(path.stem, ""), str(path))


def _voc_file(where: str, path: Path) -> tuple[Path, list[tuple[str, tuple[float, ...]]]]:
    """The picture that a file names, and its boxes."""
    try:
        root = ElementTree.fromstring(read_bytes(where, path))
        boxes = [_voc_box(thing) for thing in root.iter("object")]
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{where}: {path} is not in the form of Pascal VOC ({error}). Each object needs a name, and a "
            "bndbox of xmin, ymin, xmax and ymax."
        ) from error
    return Path(root.findtext("filename") or path.stem), boxes


def _voc_box(thing: ElementTree.Element) -> tuple[str, tuple[float, ...]]:
    box, name = thing.find("bndbox"), thing.findtext("name")
    if box is None or not name:
        raise ValueError("an object has no name or no bndbox")
    corners = (float(str(box.findtext(edge))) for edge in ("ymin", "xmin", "ymax", "xmax"))
    return name, tuple(corners)
