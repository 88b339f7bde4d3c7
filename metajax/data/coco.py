"""Pictures with boxes in the form of COCO: JSON of images, annotations and categories."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metajax.data.annotated import Listed, size_of
from metajax.data.named_pictures import Below, in_part, says, subset_of, the_one
from metajax.data.store import read_bytes


def content_of(where: str, path: Path) -> Mapping[str, Any] | None:
    """The content of a COCO file; None for other JSON."""
    try:
        content = json.loads(read_bytes(where, path))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: {path} is no JSON ({error}); replace it.") from error
    needed = {"images", "annotations", "categories"}
    return content if isinstance(content, dict) and needed <= set(content) else None


def of_coco(where: str, folder: Below, path: Path, content: Mapping[str, Any]) -> Iterator[Listed]:
    """Yields the pictures of one file, found anywhere below the folder; boxes of crowds are left out."""
    try:
        kinds = [(int(row["id"]), str(row["name"])) for row in content["categories"]]
        images = [(int(row["id"]), str(row["file_name"])) for row in content["images"]]
        sizes = [size_of(row.get("width"), row.get("height")) for row in content["images"]]
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
        found = _picture(where, folder, path, named)
        yield Listed(found, own[image], subset_of(path.stem), str(path), size)


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


def _picture(where: str, folder: Below, path: Path, named: str) -> Path:
    above, usual = Path(named).parent, Path("images")
    preferred = (
        lambda file: says(subset_of(path.stem), file),
        lambda file: in_part(path.stem, file),
        lambda file: file.parent == above,
        lambda file: file.parent in (usual, usual / above),
        lambda file: file.name == Path(named).name,
    )
    return the_one(where, folder, path, named, folder.ending(named), preferred)
