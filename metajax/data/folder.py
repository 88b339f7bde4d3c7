"""A folder of class folders of pictures: the form in which most people keep their own data."""

from pathlib import Path

import numpy as np

from metajax import checks
from metajax.data.picture import decode
from metajax.data.resize import resized
from metajax.data.store import Pictures, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def read(folder: str | Path, *, size: int = 28, channels: int = 1) -> Pictures:
    """Reads `folder/CLASS/PICTURE`, each picture as a square of `size` pixels.

    Classes and pictures come in alphabetical order. Hidden files and files of other kinds are
    ignored. Rotation by EXIF is applied, palettes become colours, and `resized` says how a picture
    becomes a square.

    Args:
      folder: A folder with one folder per class, and png, jpg, bmp, gif, webp or tif files in these.
      size: The side of the pictures that are returned, in pixels.
      channels: 1 for grey, 3 for colours.

    Returns:
      The pictures, uint8, and the names of the class folders; the polarity of ink is not known.

    Raises:
      FileNotFoundError: If `folder` does not exist.
      PermissionError: If a folder or file may not be read.
      ValueError: For fewer than two classes, a class without pictures, a picture that cannot be
        decoded or has more than 64 million pixels, and for CMYK, 16-bit, transparent or animated
        pictures; the message names the file.
    """
    where, folder = "folder", Path(folder).expanduser()
    size = checks.count(where, "size", size)
    check_channels(where, channels)
    if not folder.exists():
        raise FileNotFoundError(f"{where}: there is no folder {folder}.")
    if not folder.is_dir():
        raise ValueError(f"{where}: {folder} is a file; give a folder with one folder per class.")
    entries = _listed(where, folder)
    found = [path for path in entries if path.is_dir()]
    if len(found) < 2:
        loose = sum(map(_is_picture, entries))
        holds = f"{loose} pictures and " if loose else ""
        raise ValueError(
            f"{where}: {folder} holds {holds}{len(found)} class folders, but at least 2 are needed. "
            "Put the pictures of each class into a folder of its own, named after the class."
        )
    files = {path.name: _pictures_of(where, path) for path in found}
    classes = [np.stack([_decoded(path, size, channels) for path in own]) for own in files.values()]
    return Pictures(classes, list(files), None)


def check_channels(where: str, channels: int) -> None:
    """Raises ValueError unless `channels` is 1 or 3."""
    if channels not in (1, 3):
        raise ValueError(f"{where}: channels={channels!r} must be 1 (grey) or 3 (colours).")


def _listed(where: str, folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError as error:
        raise unreadable(where, folder) from error


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _pictures_of(where: str, folder: Path) -> list[Path]:
    entries = _listed(where, folder)
    found = [path for path in entries if _is_picture(path)]
    if not found:
        inner = [path.name for path in entries if path.is_dir()]
        remedy = (
            f"Its {len(inner)} folders look like classes: give {folder} itself."
            if inner
            else f"Remove it, or add files that end in {', '.join(SUFFIXES)}."
        )
        raise ValueError(f"{where}: the class folder {folder} holds no pictures. {remedy}")
    return found


def _decoded(path: Path, size: int, channels: int) -> np.ndarray:
    """One picture `(size, size, channels)`."""
    return resized(decode(path, "folder")[None], size, channels)[0]
