"""Few-shot classification of handwritten characters of 50 alphabets."""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from metajax.data import omniglot as omniglot_data
from metajax.names import choose
from metajax.tasks.episodes import Labels, episodes
from metajax.tasks.views import Viewed, Views
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
      subset: One of the three disjoint sets of characters.
      way: The number of characters in an episode.
      shot: The number of support drawings per character.
      query_shot: The number of query drawings per character; `shot + query_shot` is at most 20.
      split: "random" over all alphabets (1100, 100 and 423 characters), "vinyals" (1028, 172, 423)
        or "lake" (792, 172, 659). They differ in difficulty and must not be compared.
      split_seed: The seed of the random split.
      rotations: Rotations by multiples of 90 degrees. "episode" draws one per class in each episode,
        so that the rotations of a character never meet (MAML). "class" makes each one a class of its
        own, four times as many (Matching and Prototypical Networks). "none" leaves characters as
        they are.
      reflections: Whether a mirror image of a character is a character as well: drawn per class in
        each episode, or with "class" rotations one more class. The papers do not have this
        augmentation.
      distortion: Warps every drawing by an affine map whose matrix differs from the identity by up
        to this in each entry, and whose shift is up to this share of half a side. The papers do not
        have this augmentation.
      resample: As in `metajax.data.omniglot.load`.
      query_labels: As in `episodes`.
      data: The folder that holds `omniglot/`; by default `METAJAX_DATA`, then the user cache.

    Returns:
      `sample(key) -> Task` of images `(way * shot, 28, 28, 1)` in [0, 1], ink 1 on 0, and labels.

    Raises:
      FileNotFoundError, PermissionError: If the zips are missing or may not be read.
      ValueError: For a damaged zip, an unknown name, or more classes or drawings than there are.

    Reference:
      Finn, Abbeel and Levine, ICML 2017, section 5.2; Vinyals et al., NeurIPS 2016.
      https://arxiv.org/abs/1606.04080
    """
    choose("omniglot", "subset", subset, ("train", "val", "test"))
    choose("omniglot", "split", split, ("random", "vinyals", "lake"))
    choose("omniglot", "rotations", rotations, ("episode", "class", "none"))
    if not 0 <= distortion < 0.5:
        raise ValueError(f"omniglot: distortion={distortion} must be at least 0 and below 0.5.")
    characters = omniglot_data.load(data, resample=resample)
    chosen = omniglot_data.split_names(characters.names, split, split_seed)[subset]
    images = jnp.asarray(characters.images[jnp.asarray(chosen)])[..., None]
    views = Views(turned=rotations != "none", mirrored=reflections)
    if rotations == "class":
        images, views = jnp.concatenate(views.all(images)), Views()
    return episodes(
        images,
        way=way,
        shot=shot,
        query_shot=query_shot,
        transform=Viewed(views, float(distortion), "constant"),
        query_labels=query_labels,
        name=f"omniglot {subset}",
    )
