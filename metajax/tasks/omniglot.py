"""Handwritten characters of 50 alphabets, told apart after a few drawings of each."""

from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp

from metajax.data import omniglot as omniglot_data
from metajax.names import choose
from metajax.tasks.episodes import Labels, episodes
from metajax.types import Sample


def omniglot(
    subset: Literal["train", "val", "test"] = "train",
    *,
    way: int = 5,
    shot: int = 1,
    query_shot: int = 1,
    split: Literal["random", "vinyals", "lake"] = "random",
    split_seed: int = 0,
    rotations: Literal["episode", "class", "none"] = "episode",
    reflections: bool = False,
    distortion: float = 0.0,
    resample: omniglot_data.Resampling = "lanczos",
    query_labels: Labels = "episode",
    data: str | Path | None = None,
) -> Sample:
    """Way-shot episodes of Omniglot's characters; reads files now, and none when sampling.

    Args:
      subset: which of the three disjoint sets of characters.
      way: characters in an episode.
      shot: support drawings of each.
      query_shot: query drawings of each; `shot + query_shot` is 20 at most.
      split: "random" over all alphabets (1100, 100 and 423 characters), "vinyals" (1028, 172, 423)
        or "lake" (792, 172, 659); they differ in difficulty and must not be compared.
      split_seed: of the random split.
      rotations: by multiples of 90 degrees. "episode": one for each class in each episode, so that
        the rotations of a character never meet (MAML). "class": each is a class of its own, four
        times as many (Matching and Prototypical Networks). "none": characters as they are.
      reflections: a mirror image of every character is a character as well: one of the two for each
        class in each episode, or with "class" rotations one more class. An augmentation for training
        that the papers did not have.
      distortion: warp every drawing by an affine map whose matrix differs from the identity by up to
        this in each entry, and whose shift is up to this part of half a side. An augmentation for
        training that the papers did not have.
      resample: see `metajax.data.omniglot.load`.
      query_labels: see `episodes`.
      data: the folder that holds `omniglot/`; without it `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, 28, 28, 1)` in [0, 1], ink 1 on 0, and labels.

    Raises:
      FileNotFoundError, PermissionError: when the zips are not there or may not be read.
      ValueError: for a damaged zip, an unknown name, or more classes or drawings than there are.

    Reference: Finn, Abbeel and Levine, ICML 2017, section 5.2; Vinyals et al., NeurIPS 2016.
    https://arxiv.org/abs/1606.04080
    """
    choose("omniglot", "subset", subset, ("train", "val", "test"))
    choose("omniglot", "split", split, ("random", "vinyals", "lake"))
    choose("omniglot", "rotations", rotations, ("episode", "class", "none"))
    if not 0 <= distortion < 0.5:
        raise ValueError(f"omniglot: distortion={distortion}; it is at least 0 and below 0.5.")
    characters = omniglot_data.load(data, resample=resample)
    chosen = omniglot_data.split_names(characters.names, split, split_seed)[subset]
    images = jnp.asarray(characters.images[jnp.asarray(chosen)])[..., None]

    def views(x):
        """Drawings `(..., 28, 28, 1)` as every character that is made of them."""
        turned = [jnp.rot90(x, n, axes=(-3, -2)) for n in range(1 if rotations == "none" else 4)]
        return turned + [jnp.flip(view, -2) for view in turned] if reflections else turned

    if rotations == "class":
        images = jnp.concatenate(views(images))

    def transform(key, x):
        view_key, warp_key = jax.random.split(key)
        if rotations != "class":
            x = jnp.stack(views(x))
            x = x[jax.random.randint(view_key, (), 0, len(x))]
        x = x.astype(jnp.float32) / 255
        return _warp(warp_key, x, distortion) if distortion else x

    return episodes(
        images,
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=transform,
        query_labels=query_labels,
        name=f"omniglot {subset}",
    )


def _warp(key, drawings, amount):
    """Each of `(n, h, w, 1)` seen through its own random affine map; beyond the edge is paper."""
    n, h, w, _ = drawings.shape
    matrix_key, shift_key = jax.random.split(key)
    matrices = jax.random.uniform(matrix_key, (n, 2, 2), minval=-amount, maxval=amount)
    shifts = jax.random.uniform(shift_key, (n, 2, 1), minval=-amount, maxval=amount)
    rows, columns = jnp.meshgrid(jnp.linspace(-1, 1, h), jnp.linspace(-1, 1, w), indexing="ij")
    grid = jnp.stack([rows.ravel(), columns.ravel()])[None]
    places = grid + matrices @ grid + shifts  # (n, 2, h * w)

    def warp(drawing, place):
        places = [(place[0] + 1) * (h - 1) / 2, (place[1] + 1) * (w - 1) / 2]
        return jax.scipy.ndimage.map_coordinates(drawing[..., 0], places, order=1)

    return jax.vmap(warp)(drawings, places).reshape(drawings.shape)
