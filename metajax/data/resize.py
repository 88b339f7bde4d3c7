"""Pictures brought to one size and number of channels, on the host."""

import numpy as np

LUMINANCE = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in a grey (ITU-R BT.601)."""
_AT_ONCE = 1_000_000
"""Pixels that are turned grey at once."""


def resized(pictures: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Returns pictures as squares of `size` pixels with `channels` channels, of the same dtype.

    A picture that is not square is cropped to the square in its centre. Resizing is antialiased
    (Lanczos, each channel by itself). A grey is the luminance of the colours; colours from a grey
    are three equal channels.

    Args:
      pictures: `(n, height, width, 1 or 3)`, uint8 or float32.
      size: The side of the result.
      channels: 1 or 3.

    Returns:
      `(n, size, size, channels)`.

    Example:
      >>> wide = np.tile(np.arange(4, dtype=np.uint8), (2, 1))[None, ..., None]  # (1, 2, 4, 1)
      >>> resized(wide, 2, 3)[0, 0].tolist()
      [[1, 1, 1], [2, 2, 2]]
    """
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pictures = pictures[:, top : top + side, left : left + side]
    if channels == 1 and pictures.shape[-1] == 3:
        pictures = _grey(pictures)
    if side != size:
        shape = (len(pictures), size, size, pictures.shape[-1])
        planes = np.moveaxis(pictures, -1, 1).reshape(-1, side, side)
        small = np.array([_plane(plane, size) for plane in planes], pictures.dtype)
        pictures = np.moveaxis(small.reshape(shape[0], shape[3], size, size), 1, -1)
    return np.ascontiguousarray(np.broadcast_to(pictures, (*pictures.shape[:3], channels)))


def _grey(pictures: np.ndarray) -> np.ndarray:
    """The luminance of colours `(n, h, w, 3)`, a few rows at a time: float64 takes eight times the memory."""
    found = np.empty((*pictures.shape[:3], 1), pictures.dtype)
    rows = max(1, _AT_ONCE // max(1, len(pictures) * pictures.shape[2]))
    for top in range(0, pictures.shape[1], rows):
        grey = pictures[:, top : top + rows].astype(np.float64) @ np.array(LUMINANCE)
        grey = np.rint(grey) if pictures.dtype == np.uint8 else grey
        found[:, top : top + rows, :, 0] = grey
    return found


def _plane(plane: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    found = Image.fromarray(plane).resize((size, size), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(found), 0, None if plane.dtype == np.uint8 else 1)
