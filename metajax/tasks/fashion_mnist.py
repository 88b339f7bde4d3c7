"""Pictures of clothes, with a new small training set in every task."""

from pathlib import Path

from metajax.data import fashion_mnist as data_set
from metajax.tasks.episodes import episodes
from metajax.tasks.mnist import Subset, check, shares
from metajax.tasks.scaled import Scaled
from metajax.types import Sample


def fashion_mnist(
    subset: Subset = "train",
    *,
    way: int = 10,
    shot: int = 20,
    query_shot: int = 20,
    size: int = 28,
    part: str = "t10k",
    data: str | Path | None = None,
) -> Sample:
    """Classification of clothes by a network that is trained on a few of each; reads files now.

    As `mnist`, these are problems for an optimiser.

    Args:
      subset: The first 70 %, the next 10 % or the last 20 % of each class's images in the file.
      way: The number of classes in a task.
      shot: The number of support images per class.
      query_shot: The number of query images per class.
      size: The side of an image: 28, or 14 or 7 by means over squares of pixels.
      part: As in `metajax.data.fashion_mnist.load`.
      data: The folder that holds `fashion_mnist/`; by default `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, size, size, 1)` in [0, 1], bright on dark, and
      labels.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a damaged file, another size, or more classes or images than there are.

    Reference:
      Xiao, Rasul and Vollgraf, 2017. https://arxiv.org/abs/1708.07747
    """
    check("fashion_mnist", subset, size)
    return episodes(
        shares(data_set.load(part, data), subset, size),
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=Scaled(),
        name=f"fashion_mnist {subset}",
    )
