"""Pictures with boxes on disk: a folder in the form of Pascal VOC or of COCO."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metajax import files
from metajax.data.annotated import Annotated, Listed, scaled
from metajax.data.coco import content_of, of_coco
from metajax.data.named_pictures import Below, files_below, visible, without_case
from metajax.data.picture import decode
from metajax.data.voc import of_voc

_SLACK = 1.0
"""Pixels that a box may reach beyond its picture, as rounded or 1-based corners do; it is cut."""


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
    or in `annotations`, whose names have train, val or test as a word where there are several, such as
    `instances_train2017`; boxes of crowds are left out.

    A picture lies in the folder or below it, where its path ends with the name in the file. Where several do,
    it is the one in a folder that says the subset, as `train2017` does for `instances_train2017`, or the one
    at the usual place. Hidden files are ignored. Suffixes are compared without case.

    Corners are taken as edges in pixels of the file, counted from 0: a box from xmin = 2 to xmax = 12 covers
    10 columns. VOC itself counts pixels from 1 and includes the last one, but many programs write edges, and
    no file says which. An edge may therefore be one pixel outside of the picture, and a box with xmin = xmax
    has no area. Boxes that are marked as difficult count as all others.

    Args:
      folder: The folder.
      where: The first word of error messages.
      skip_empty: Leave out boxes of no area instead of refusing them.
      longest: Scale pictures with a longer side down to it, and their boxes, so that many photographs fit
        into memory.

    Raises:
      FileNotFoundError: For a folder that does not exist, and pictures that are named but missing.
      ValueError: For files that are neither VOC nor COCO, or both; ids and pictures that are there twice, and
        names that fit several pictures; sizes that differ from the picture's; boxes outside of their picture
        or of no area; and pictures that cannot be decoded, or are 16-bit, CMYK, transparent or animated.
        Files are named.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {folder}.")
    found = sorted(_listed(where, folder), key=lambda picture: picture.path.name)
    _check_once(where, found)
    if not any(picture.boxes for picture in found):
        raise ValueError(
            f"{where}: {folder} holds no box. Give a folder with XML files of Pascal VOC, or JSON files of "
            "COCO with images, annotations and categories."
        )
    names = sorted({name for picture in found for name, _ in picture.boxes})
    pictures, boxes, labels = [], [], []
    for picture in found:
        pixels = decode(picture.path, where)
        _check_size(where, picture, *pixels.shape[:2])
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


def _corners(where: str, picture: Listed, boxes: list, shape: tuple[int, ...]) -> np.ndarray:
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


def _check_once(where: str, found: Sequence[Listed]) -> None:
    """Raises for a picture that is named twice: it would count twice, perhaps in two subsets."""
    first: dict[str, str] = {}
    for picture in found:
        path, source = os.path.realpath(picture.path), picture.source
        if first.get(path) == source:
            raise ValueError(
                f"{where}: {source} names {picture.path} twice. Keep one of its images, and give the boxes "
                "of the other its id."
            )
        if path in first:
            raise ValueError(
                f"{where}: {picture.path} is named by {first[path]} and by {source}. Keep one of these files "
                "and move the other away, or name the picture in one of them only."
            )
        first[path] = source


def _check_size(where: str, picture: Listed, height: int, width: int) -> None:
    """Raises for a picture that has not the size in which its boxes were drawn."""
    if picture.size is None or picture.size == (width, height):
        return
    change = "Use the picture that was annotated, or scale its boxes and correct the size."
    if picture.size == (height, width):
        change = (
            "Its EXIF orientation may have turned it; its boxes are then in pixels before it was turned. Save "
            "it turned and annotate it anew, or exchange width and height if its boxes fit."
        )
    raise ValueError(
        f"{where}: {picture.source} says that {picture.path.name} has {picture.size[0]:g} x "
        f"{picture.size[1]:g} pixels, but it has {width} x {height}. {change}"
    )


def _listed(where: str, folder: Path) -> list[Listed]:
    texts = [*visible(folder, "*.json"), *visible(folder, "annotations/*.json")]
    markup = sorted([*visible(folder, "Annotations/*.xml"), *visible(folder, "*.xml")])
    inside: dict[str, list[Path]] = {}
    for file in files_below(folder):
        inside.setdefault(without_case(file.name), []).append(file.relative_to(folder))
    whole, coco = Below(folder, inside), False
    found: list[Listed] = []
    for path in texts:
        with files.naming(path):
            content = content_of(where, path)
            if content is None:
                continue
            if markup:
                raise ValueError(
                    f"{where}: {folder} holds JSON of COCO, {path}, and XML of Pascal VOC, {markup[0]}. Keep "
                    "the files of one form and move the others away."
                )
            coco = True
            found += of_coco(where, whole, path, content)
    return found if coco else list(of_voc(where, whole, markup))
