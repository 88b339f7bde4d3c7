"""Pack sheets of CIFAR-100 images into an archive of the layout its authors publish.

python benchmarks/cifar_from_sheets.py SHEETS FOLDER

SHEETS holds a `CLASS.jpg` of 24 x 25 tiles of 32 x 32 pixels for each class and
`splits/cifar-fs/*.json` with [superclass, class] pairs. FOLDER/cifar_fs/cifar-100-binary.tar.gz is
written, for `--data FOLDER`. JPEG loses something: say so beside any number measured on it.
"""

import argparse
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from metajax.data import cifar


def pack(sheets: Path, folder: Path, level: int = 1) -> Path:
    """Write the archive, packed as hard as level says; 500 images of a class are its train part."""
    pairs = [
        pair
        for path in sorted((sheets / "splits" / "cifar-fs").glob("*.json"))
        for pair in json.loads(path.read_text())
    ]
    group_of = {name: group for group, name in pairs}
    names, groups = sorted(group_of), sorted(set(group_of.values()))
    parts: dict[str, list[np.ndarray]] = {"train.bin": [], "test.bin": []}
    for i, name in enumerate(names):
        sheet = np.asarray(Image.open(sheets / f"{name}.jpg"))
        tiles = sheet.reshape(24, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4).reshape(600, 32, 32, 3)
        planes = tiles.transpose(0, 3, 1, 2).reshape(600, -1)
        labels = np.tile(np.array([groups.index(group_of[name]), i], np.uint8), (600, 1))
        records = np.concatenate([labels, planes], axis=1)
        parts["train.bin"].append(records[:500])
        parts["test.bin"].append(records[500:])
    files = {part: np.concatenate(rows).tobytes() for part, rows in parts.items()}
    files["fine_label_names.txt"] = "\n".join(names).encode()
    files["coarse_label_names.txt"] = "\n".join(groups).encode()
    path = folder / "cifar_fs" / cifar.ARCHIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=level) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(pack(arguments.sheets, arguments.folder))
