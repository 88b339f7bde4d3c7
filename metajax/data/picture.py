"""One picture file, of any size, as an array."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from metajax.data.store import read_bytes

MODES = "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"
"""Pillow's modes that are read: 8 bits or fewer per channel, grey or red, green and blue."""
_MOST_PIXELS = 64_000_000
"""Pixels of the largest picture that is decoded: a small file may unpack to gigabytes."""
_STRIP = 1_000_000
"""Pixels that are converted at once, so that a large picture is in memory only twice."""
_TOO_LARGE = f"has more than {_MOST_PIXELS:,} pixels; scale it down first"


def decode(path: Path, where: str = "picture") -> np.ndarray:
    """Returns a picture `(h, w, 1)` or `(h, w, 3)` uint8; rotation by EXIF is applied.

    Args:
      path: A png, jpg, bmp, gif, webp or tif file.
      where: The first word of error messages.

    Raises:
      FileNotFoundError, PermissionError: If the file is missing or may not be read.
      ValueError: For what cannot be decoded or has more than 64 million pixels, and for CMYK, 16-bit,
        transparent or animated pictures; the message names the file.
    """
    from PIL import Image

    if not path.exists():
        raise FileNotFoundError(f"{where}: there is no picture {path}.")
    content = io.BytesIO(read_bytes(where, path))
    try:
        found = _pixels(Image.open(content))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        found = _TOO_LARGE
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise ValueError(
            f"{where}: {path} cannot be decoded as a picture; remove or replace it."
        ) from error
    if isinstance(found, str):
        raise ValueError(f"{where}: {path} {found}.")
    return found


def _pixels(picture: Any) -> np.ndarray | str:
    """The pixels `(h, w, c)` of a picture, or why it is not read."""
    from PIL import ImageOps

    refused = _refused(picture)
    if refused is not None:
        return refused
    ImageOps.exif_transpose(picture, in_place=True)
    mode = "L" if picture.mode in ("1", "L") else "RGB"
    width, height = picture.size
    pixels = np.empty((height, width, len(mode)), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(top + rows, height)))
        if picture.has_transparency_data and strip.convert("RGBA").getextrema()[3][0] < 255:
            return "has transparent pixels, whose colour is not defined; flatten it onto a background first"
        pixels[top : top + rows] = np.asarray(strip.convert(mode)).reshape(-1, width, len(mode))
    return pixels


def _refused(picture: Any) -> str | None:
    """Why a picture is not read, or None."""
    frames = getattr(picture, "n_frames", 1)
    if picture.width * picture.height > _MOST_PIXELS:
        return _TOO_LARGE
    if frames > 1:
        return f"has {frames} frames; save one of them as a picture"
    # Pillow cuts 16 bits of colours to the upper 8, which of 12-bit pictures leaves next to nothing.
    wide = any(";16" in str(tile[3]) for tile in picture.tile)
    if wide or picture.mode.startswith("I") or picture.mode == "F":
        return "has more than 8 bits per channel; save it with 8"
    if picture.mode not in MODES:
        return f"is a {picture.mode} picture; save it as RGB or grey"
    return None
