"""Photographs of 100 kinds of things, 32 x 32 pixels, told apart after a few of each."""

from pathlib import Path

import jax
import jax.numpy as jnp

from metajax.data import cifar
from metajax.names import choose
from metajax.tasks.episodes import Labels, episodes
from metajax.types import Sample

MEAN = (0.5074, 0.4867, 0.4411)
"""Of each channel over all of CIFAR-100's images."""
DEVIATION = (0.2673, 0.2564, 0.2762)


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
      subset: which of the three disjoint sets of classes.
      way: classes in an episode.
      shot: support images of each.
      query_shot: query images of each; `shot + query_shot` is 600 at most.
      split: "cifar-fs" (64, 16 and 20 classes) or "fc100" (60, 20 and 20, by superclass).
      augment: mirror an image half of the time, and move it by up to 4 pixels; for training.
      query_labels: see `episodes`.
      data: the folder that holds `cifar_fs/` with CIFAR-100's binary archive; without it
        `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, 32, 32, 3)`, each channel of mean 0 and variance 1
      over the data set, and labels.

    Raises:
      FileNotFoundError, PermissionError: when the archive is not there or may not be read.
      ValueError: for a damaged archive, an unknown name, or more classes or images than there are.

    Reference: Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019, section 4.1.
    https://arxiv.org/abs/1805.08136
    """
    choose("cifar_fs", "subset", subset, ("train", "val", "test"))
    photographs = cifar.load(data)
    chosen = cifar.split_classes(photographs, split)[subset]

    def transform(key, x):
        if augment:
            x = jax.vmap(_moved)(jax.random.split(key, len(x)), x)
        centred = x.astype(jnp.float32) / 255 - jnp.array(MEAN).reshape(1, 1, 1, 3)
        return centred / jnp.array(DEVIATION).reshape(1, 1, 1, 3)

    return episodes(
        photographs.images[chosen],
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=transform,
        query_labels=query_labels,
        name=f"cifar_fs {subset}",
    )


def _moved(key: jax.Array, image: jax.Array, by: int = 4) -> jax.Array:
    mirror_key, place_key = jax.random.split(key)
    image = jnp.where(jax.random.bernoulli(mirror_key), image[:, ::-1], image)
    wide = jnp.pad(image, ((by, by), (by, by), (0, 0)), mode="reflect")
    row, column = jax.random.randint(place_key, (2,), 0, 2 * by + 1)
    return jax.lax.dynamic_slice(wide, (row, column, 0), image.shape)
