"""Writes the reduced copy of BCCD, boxes.csv and images.zip, in the layout of the published data set.

python benchmarks/bccd_from_copy.py FOLDER    reads FOLDER/bccd, writes FOLDER/bccd or --out

Boxes are in pixels of the pictures of the copy, 320 x 240; those of the published one have 640 x 480.
"""

import argparse
import csv
import zipfile
from pathlib import Path

import record


def convert(copy: Path, out: Path) -> None:
    """Writes Annotations, JPEGImages and ImageSets into a folder."""
    rows: dict[str, list[dict[str, str]]] = {}
    with (copy / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["image"], []).append(row)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (out / name).mkdir(parents=True, exist_ok=True)
    subsets: dict[str, list[str]] = {}
    with zipfile.ZipFile(copy / "images.zip") as archive:
        for image, boxes in rows.items():
            stem = Path(image).stem
            (out / "JPEGImages" / image).write_bytes(archive.read(image))
            things = "".join(map(_object, boxes))
            text = f"<annotation><filename>{image}</filename>{things}</annotation>\n"
            (out / "Annotations" / f"{stem}.xml").write_text(text)
            subsets.setdefault(boxes[0]["split"], []).append(stem)
    for subset, stems in subsets.items():
        lines = "\n".join(sorted(stems))
        (out / "ImageSets" / "Main" / f"{subset}.txt").write_text(f"{lines}\n")


def _object(box: dict[str, str]) -> str:
    edges = "".join(f"<{e}>{box[e]}</{e}>" for e in ("xmin", "ymin", "xmax", "ymax"))
    return f"<object><name>{box['label']}</name><bndbox>{edges}</bndbox></object>"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder that holds the copy, as bccd/")
    parser.add_argument("--out", type=Path, default=record.HERE.parent / "runs" / "bccd")
    arguments = parser.parse_args()
    convert(arguments.folder / "bccd", arguments.out)
    print(arguments.out)
