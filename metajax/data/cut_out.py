"""What is in the boxes of pictures, as pictures of each class."""

import numpy as np

from metajax.data.annotated import Annotated
from metajax.data.store import Pictures


def cut_out(found: Annotated, side: int) -> Pictures:
    """Returns what is in each box as a picture of its class.

    Args:
      found: Pictures with boxes.
      side: Of the pictures that are returned, in pixels. Each is a square around its box, whose side is the
        longer one of the box; at an edge it is moved into the picture.
    """
    from PIL import Image

    classes: list[list[np.ndarray]] = [[] for _ in found.names]
    for picture, boxes, labels in zip(found.pictures, found.boxes, found.labels, strict=True):
        colours = np.broadcast_to(picture, (*picture.shape[:2], 3))
        image = Image.fromarray(np.ascontiguousarray(colours))
        edges = np.array(picture.shape[:2], float)
        for corners, label in zip(boxes.reshape(-1, 2, 2).astype(float), labels, strict=True):
            square = min(np.max(corners[1] - corners[0]), *edges)
            low = np.clip(corners.mean(axis=0) - square / 2, 0, edges - square)
            region = (low[1], low[0], low[1] + square, low[0] + square)
            small = image.resize((side, side), Image.Resampling.LANCZOS, box=region)
            classes[label].append(np.asarray(small))
    return Pictures([np.stack(own) for own in classes], list(found.names))
