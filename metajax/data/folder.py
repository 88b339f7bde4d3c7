"""A folder of class folders of pictures: the form in which most people keep their own data."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from metajax import checks
from metajax.data.resize import resized
from metajax.data.store import Pictures, read_bytes, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_MOST_PIXELS = 64_000_000
"""Pixels of the largest picture that is decoded: a small file may unpack to gigabytes."""
_SEVERAL = "I;16", "I;16B", "I;16L", "I;16N", "I", "F"
"""Pillow's modes with more than 8 bits per channel."""


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
    from PIL import Image, ImageOps

    content = io.BytesIO(read_bytes("folder", path))
    try:
        picture = Image.open(content)
        if picture.width * picture.height > _MOST_PIXELS:
            raise Image.DecompressionBombError
        _check_mode(path, picture.mode, getattr(picture, "n_frames", 1))
        picture = ImageOps.exif_transpose(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"folder: {path} has more than {_MOST_PIXELS:,} pixels; scale it down first."
        ) from error
    except _Unsupported as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise ValueError(
            f"folder: {path} cannot be decoded as a picture; remove or replace it."
        ) from error
    try:
        return _square(path, picture, size, channels)
    except ValueError as error:
        if path.name in str(error):
            raise
        raise ValueError(
            f"folder: {path} cannot be decoded as a picture; remove or replace it."
        ) from error


def _square(path: Path, picture: Any, size: int, channels: int) -> np.ndarray:
    if picture.has_transparency_data:
        if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
            raise ValueError(
                f"folder: {path} has transparent pixels, whose colour is not defined; flatten it onto a "
                "background first."
            )
        picture = picture.convert("RGB")
    grey = picture.mode in ("1", "L")
    pixels = np.asarray(picture.convert("L" if grey else "RGB"))
    return resized(pixels.reshape(1, *pixels.shape[:2], -1), size, channels)[0]


class _Unsupported(Exception):
    """A picture that is whole, but of a kind that is not read."""


def _check_mode(path: Path, mode: str, frames: int) -> None:
    if frames > 1:
        raise _Unsupported(f"folder: {path} has {frames} frames; save one of them as a picture.")
    if mode in _SEVERAL:
        raise _Unsupported(f"folder: {path} has more than 8 bits per channel; save it with 8.")
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"):
        raise _Unsupported(f"folder: {path} is a {mode} picture; save it as RGB or grey.")
