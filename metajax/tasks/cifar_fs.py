"""Few-shot classification of photographs of 100 kinds of things, 32 x 32 pixels."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from metajax.data import cifar
from metajax.names import choose
from metajax.tasks.episodes import Labels, episodes
from metajax.tasks.scaled import Scaled
from metajax.types import Sample

MEAN = (0.5074, 0.4867, 0.4411)
"""The mean of each channel over all of CIFAR-100's images."""
DEVIATION = (0.2673, 0.2564, 0.2762)
"""The standard deviation of each channel over all of CIFAR-100's images."""


def cifar_fs(
    subset: cifar.Subset = "train",
    *,
    way: int = 5,
    shot: int = 1,
    query_shot: int = 15,
    split: cifar.Split = "cifar-fs",
    augment: bool = False,
    query_labels: Labels = "episode",
    data: str | Path | None = None,
) -> Sample:
    """Way-shot episodes of CIFAR-FS or FC100; reads files now, and none when sampling.

    Args:
      subset: One of the three disjoint sets of classes.
      way: The number of classes in an episode.
      shot: The number of support images per class.
      query_shot: The number of query images per class; `shot + query_shot` is at most 600.
      split: "cifar-fs" (64, 16 and 20 classes) or "fc100" (60, 20 and 20, by superclass).
      augment: Mirror an image half of the time, and shift it by up to 4 pixels; for training.
      query_labels: As in `episodes`.
      data: The folder that holds `cifar_fs/` with CIFAR-100's binary archive; by default
        `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, 32, 32, 3)`, each channel of mean 0 and variance 1
      over the data set, and labels.

    Raises:
      FileNotFoundError, PermissionError: If the archive is missing or may not be read.
      ValueError: For a damaged archive, an unknown name, or more classes or images than there are.

    Reference:
      Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 4.1.
      https://arxiv.org/abs/1805.08136
    """
    choose("cifar_fs", "subset", subset, ("train", "val", "test"))
    choose("cifar_fs", "split", split, ("cifar-fs", "fc100"))
    photographs = cifar.load(data)
    chosen = cifar.split_classes(photographs, split)[subset]
    return episodes(
        photographs.images[chosen],
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=Photographs(augment),
        query_labels=query_labels,
        name=f"cifar_fs {subset}",
    )


@dataclass(frozen=True)
class Photographs:
    """Scales photographs, after mirroring and shifting each one where they are augmented."""

    augment: bool

    def __call__(self, key: jax.Array, x: jax.Array) -> jax.Array:
        """Maps photographs `(n, 32, 32, 3)` uint8 to floats."""
        if self.augment:
            x = jax.vmap(_shifted)(jax.random.split(key, len(x)), x)
        return Scaled(MEAN, DEVIATION)(key, x)


def _shifted(key: jax.Array, image: jax.Array, by: int = 4) -> jax.Array:
    mirror_key, place_key = jax.random.split(key)
    image = jnp.where(jax.random.bernoulli(mirror_key), image[:, ::-1], image)
    wide = jnp.pad(image, ((by, by), (by, by), (0, 0)), mode="reflect")
    row, column = jax.random.randint(place_key, (2,), 0, 2 * by + 1)
    return jax.lax.dynamic_slice(wide, (row, column, 0), image.shape)
