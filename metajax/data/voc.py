"""Pictures with boxes in the form of Pascal VOC: an XML file for each."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

from metajax import files
from metajax.data.annotated import Listed, size_of
from metajax.data.folder import SUFFIXES
from metajax.data.named_pictures import Below, says, the_one
from metajax.data.store import read_bytes


def of_voc(where: str, folder: Below, texts: Sequence[Path]) -> Iterator[Listed]:
    """Yields the pictures of a folder, named by XML files and found anywhere below it."""
    subsets = _subsets(where, folder.path / "ImageSets" / "Main")
    for path in texts:
        with files.naming(path):
            named, boxes, size = _voc_file(where, path)
        subset = subsets.get(path.stem, "")
        found = _picture(where, folder, path, named, subset)
        yield Listed(found, boxes, subset, str(path), size)


def _subsets(where: str, folder: Path) -> dict[str, str]:
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


def _picture(where: str, folder: Below, path: Path, named: str, subset: str) -> Path:
    """The picture with the name in an XML file, or with the name of the file itself."""
    own = folder.ending(named, "", *SUFFIXES)
    others = folder.ending(path.stem, "", *SUFFIXES)
    above = Path(named).parent
    usual = [Path(place) / part for place in ("JPEGImages", "") for part in (above, "")]
    preferred = (
        lambda file: file.parent in usual,
        lambda file: file in own,
        lambda file: file.parts[0] == "JPEGImages",
        lambda file: says(subset, file),
        lambda file: file.name == Path(named).name,
    )
    return the_one(where, folder, path, named, [*own, *others], preferred)


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
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    return root.findtext("filename") or path.stem, boxes, size


def _voc_box(thing: ElementTree.Element) -> tuple[str, tuple[float, ...]]:
    box, name = thing.find("bndbox"), thing.findtext("name")
    if box is None or not name:
        raise ValueError("an object has no name or no bndbox")
    corners = (float(str(box.findtext(edge))) for edge in ("ymin", "xmin", "ymax", "xmax"))
    return name, tuple(corners)
