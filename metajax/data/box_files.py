"""Pictures with boxes on disk: a folder in the form of Pascal VOC or of COCO."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_SUBSETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The words of a name that say a subset."""


class _Picture(NamedTuple):
    """A picture before it is read; its boxes are `(class, y0, x0, y1, x1)`, with where each is written."""

    path: Path
    boxes: list[tuple[str, tuple[float, ...]]]
    subset: str
    source: str
    size: tuple[float, float] | None  # width and height, where the source says them


class _Folder(NamedTuple):
    """A folder, and the files below it, relative to it, by their name with its suffix in lower case."""

    path: Path
    files: dict[str, list[Path]]

    def ending(self, named: str, *suffixes: str) -> list[Path]:
        """The files whose path ends as a name does, or the longest end of an absolute name."""
        path = Path(os.path.normpath(named))
        parts = [part for part in path.parts if part not in ("..", path.anchor)]
        for start in range(len(parts) if path.is_absolute() else min(1, len(parts))):
            *above, name = parts[start:]
            found = [
                file
                for suffix in suffixes or ("",)
                for file in self.files.get(_without_case(name + suffix), ())
                if file.parts[-len(above) - 1 : -1] == tuple(above)
            ]
            if found:
                return found
        return []


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


def _check_once(where: str, found: Sequence[_Picture]) -> None:
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


def _check_size(where: str, picture: _Picture, height: int, width: int) -> None:
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


def _listed(where: str, folder: Path) -> list[_Picture]:
    texts = [*_visible(folder, "*.json"), *_visible(folder, "annotations/*.json")]
    markup = sorted([*_visible(folder, "Annotations/*.xml"), *_visible(folder, "*.xml")])
    inside: dict[str, list[Path]] = {}
    for file in _below(folder):
        inside.setdefault(_without_case(file.name), []).append(file.relative_to(folder))
    whole, coco = _Folder(folder, inside), False
    found: list[_Picture] = []
    for path in texts:
        with files.naming(path):
            content = _coco(where, path)
            if content is None:
                continue
            if markup:
                raise ValueError(
                    f"{where}: {folder} holds JSON of COCO, {path}, and XML of Pascal VOC, {markup[0]}. Keep "
                    "the files of one form and move the others away."
                )
            coco = True
            found += _of_coco(where, whole, path, content)
    return found if coco else list(_of_voc(where, whole, markup))


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Files in order; hidden ones, such as the `._NAME` of macOS, are left out."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _below(folder: Path, within: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files in and below a folder but hidden ones; a link to a folder that it is in is not followed."""
    real = os.path.realpath(folder)
    if real in within:
        return
    for path in _visible(folder, "*"):
        if path.is_dir():
            yield from _below(path, within | {real})
        else:
            yield path


def _without_case(name: str) -> str:
    """A name with its suffix in lower case."""
    return Path(name).stem + Path(name).suffix.lower()


def _subset(name: str) -> str:
    """The subset that the words of a name say, as in `instances_train2017`; none for `latest`."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    said = {_SUBSETS[word] for word in words if word in _SUBSETS}
    return said.pop() if len(said) == 1 else ""


def _says(subset: str, file: Path) -> bool:
    """Whether a folder above a file says a subset."""
    return bool(subset) and subset in map(_subset, file.parts[:-1])


def _in_part(stem: str, file: Path) -> bool:
    """Whether the name of a folder above a file is a part of a stem, as `val2017` is of `instances_val2017`."""
    names = ["_".join(re.findall(r"[^\W_]+", name.lower())) for name in (stem, *file.parts[:-1])]
    return any(name and f"_{name}_" in f"_{names[0]}_" for name in names[1:])


def _picture(
    where: str,
    folder: _Folder,
    source: Path,
    named: str,
    matches: list[Path],
    preferred: Sequence[Callable[[Path], bool]],
) -> Path:
    """The one picture that is meant; of several, those that are preferred, one test after the other."""
    if not matches:
        raise FileNotFoundError(
            f"{where}: {source} names {named}, which is neither in {folder.path} nor in a folder below it. "
            "Put the picture there, or remove its annotation."
        )
    for test in preferred if len(matches) > 1 else ():
        matches = [file for file in matches if test(file)] or matches
    places = [folder.path / file for file in matches]
    first, *others = {os.path.realpath(place): place for place in places}.values()
    if others:
        raise ValueError(
            f"{where}: {source} names {named}, which may be {first} or {others[0]}. Write the folder of the "
            "picture before its name, or move the other picture away."
        )
    return first


def _coco(where: str, path: Path) -> Mapping[str, Any] | None:
    """The content of a COCO file; None for other JSON."""
    try:
        content = json.loads(read_bytes(where, path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: {path} is no JSON ({error}); replace it.") from error
    needed = {"images", "annotations", "categories"}
    return content if isinstance(content, dict) and needed <= set(content) else None


def _of_coco(
    where: str, folder: _Folder, path: Path, content: Mapping[str, Any]
) -> Iterator[_Picture]:
    try:
        kinds = [(int(row["id"]), str(row["name"])) for row in content["categories"]]
        images = [(int(row["id"]), str(row["file_name"])) for row in content["images"]]
        sizes = [_size(row.get("width"), row.get("height")) for row in content["images"]]
        rows = [row for row in content["annotations"] if not row.get("iscrowd")]
        names = dict(kinds)
        own: dict[int, list] = {image: [] for image, _ in images}
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
    _check_ids(f"{where}: {path}", "categories", kinds)
    _check_ids(f"{where}: {path}", "images", images)
    for (image, named), size in zip(images, sizes, strict=True):
        found = _coco_picture(where, folder, path, named)
        yield _Picture(found, own[image], _subset(path.stem), str(path), size)


def _check_ids(where: str, kind: str, rows: Sequence[tuple[int, str]]) -> None:
    """Raises for two rows of one id: boxes would move from one to the other."""
    first: dict[int, str] = {}
    for number, name in rows:
        if number in first:
            raise ValueError(
                f"{where} has two {kind} with id {number}, {first[number]} and {name}. Give each an id of its "
                "own, also in the annotations."
            )
        first[number] = name


def _coco_picture(where: str, folder: _Folder, path: Path, named: str) -> Path:
    above, usual = Path(named).parent, Path("images")
    preferred = (
        lambda file: _says(_subset(path.stem), file),
        lambda file: _in_part(path.stem, file),
        lambda file: file.parent == above,
        lambda file: file.parent in (usual, usual / above),
        lambda file: file.name == Path(named).name,
    )
    return _picture(where, folder, path, named, folder.ending(named), preferred)


def _size(width: Any, height: Any) -> tuple[float, float] | None:
    """A size in pixels; None where it is missing, 0 or no number."""
    try:
        size = float(width), float(height)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if all(edge > 0 for edge in size) else None


def _of_voc(where: str, folder: _Folder, texts: Sequence[Path]) -> Iterator[_Picture]:
    subsets = _voc_subsets(where, folder.path / "ImageSets" / "Main")
    for path in texts:
        with files.naming(path):
            named, boxes, size = _voc_file(where, path)
        subset = subsets.get(path.stem, "")
        found = _voc_picture(where, folder, path, named, subset)
        yield _Picture(found, boxes, subset, str(path), size)


def _voc_subsets(where: str, folder: Path) -> dict[str, str]:
    """The subset of each name in `train.txt`, `val.txt` and `test.txt`."""
    subsets: dict[str, str] = {}
    for subset in ("train", "val", "test"):
        listed = folder / f"{subset}.txt"
        if not listed.is_file():
            continue
        with files.naming(listed):
            lines = read_bytes(where, listed).decode("utf-8").splitlines()
        for name in (line.split()[0] for line in lines if line.strip()):
            before = subsets.setdefault(name, subset)
            if before != subset:
                raise ValueError(
                    f"{where}: {listed} names {name}, which is in {before}.txt, too. Remove it from one of "
                    "them."
                )
    return subsets


def _voc_picture(where: str, folder: _Folder, path: Path, named: str, subset: str) -> Path:
    """The picture with the name in an XML file, or with the name of the file itself."""
    own = folder.ending(named, "", *SUFFIXES)
    others = folder.ending(path.stem, "", *SUFFIXES)
    above = Path(named).parent
    usual = [Path(place) / part for place in ("JPEGImages", "") for part in (above, "")]
    preferred = (
        lambda file: file.parent in usual,
        lambda file: file in own,
        lambda file: file.parts[0] == "JPEGImages",
        lambda file: _says(subset, file),
        lambda file: file.name == Path(named).name,
    )
    return _picture(where, folder, path, named, [*own, *others], preferred)


def _voc_file(where: str, path: Path) -> tuple[str, list, tuple[float, float] | None]:
    """The picture that a file names, its boxes, and its size."""
    try:
        root = ElementTree.fromstring(read_bytes(where, path))
        boxes = [_voc_box(thing) for thing in root.iter("object")]
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{where}: {path} is not in the form of Pascal VOC ({error}). Each object needs a name, and a "
            "bndbox of xmin, ymin, xmax and ymax."
        ) from error
    size = _size(root.findtext("size/width"), root.findtext("size/height"))
    return root.findtext("filename") or path.stem, boxes, size


def _voc_box(thing: ElementTree.Element) -> tuple[str, tuple[float, ...]]:
    box, name = thing.find("bndbox"), thing.findtext("name")
    if box is None or not name:
        raise ValueError("an object has no name or no bndbox")
    corners = (float(str(box.findtext(edge))) for edge in ("ymin", "xmin", "ymax", "xmax"))
    return name, tuple(corners)
