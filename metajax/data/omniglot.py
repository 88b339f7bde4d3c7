"""Omniglot as published: 1623 characters of 50 alphabets, each drawn once by 20 people.

Lake, Salakhutdinov and Tenenbaum, Science 350, 2015. https://github.com/brendenlake/omniglot, MIT.
"""

import hashlib
import io
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from metajax.data import store
from metajax.names import choose

_ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
_CHARACTERS = {"images_background": 964, "images_evaluation": 659}
DRAWINGS = 20
DOWNLOADS = (
    store.Download(
        "images_background.zip",
        f"{_ADDRESS}/images_background.zip",
        "md5:68d2efa1b9178cc56df9314c21c6e718",
    ),
    store.Download(
        "images_evaluation.zip",
        f"{_ADDRESS}/images_evaluation.zip",
        "md5:6b91aef0f799c5bb55b94e3f2daec811",
    ),
)

Resampling = Literal["lanczos", "nearest"]


class Characters(NamedTuple):
    """Drawings by character, the background set first, each set in alphabetical order.

    images: `(characters, 20, 28, 28)` uint8, ink 255 on 0.
    names: of each character, such as `images_background/Greek/character01`.
    """

    images: np.ndarray
    names: list[str]


def load(data: str | Path | None = None, *, resample: Resampling = "lanczos") -> Characters:
    """Read all drawings, reduced from 105x105 to 28x28; the first time into a file of the cache.

    Args:
      data: the folder that holds `omniglot/` with the two published zips; see `store.locate`.
      resample: "lanczos" turns the 1-bit drawings into greys first, so that lines keep their
        weight. "nearest" keeps them binary and breaks thin lines: it is what MAML and MAML++ trained
        on, for Pillow resamples 1-bit images so whatever filter is asked for.

    Raises:
      FileNotFoundError, PermissionError: when the zips are not there or may not be read.
      ValueError: when a zip is cut off, or holds something else.
    """
    if resample not in ("lanczos", "nearest"):
        raise ValueError(f"omniglot: resample={resample!r}; it is 'lanczos' or 'nearest'.")
    folder = store.locate("omniglot", [download.file for download in DOWNLOADS], data)
    zips = {part: folder / f"{part}.zip" for part in _CHARACTERS}
    digest = hashlib.sha256(f"28x28 {resample} v1".encode())
    for path in zips.values():
        try:
            digest.update(path.read_bytes())
        except PermissionError as error:
            raise PermissionError(
                f"omniglot: {path} may not be read by this user; change its permissions, or name "
                "another folder with --data."
            ) from error
    cached = store.cache_dir() / f"omniglot_28x28_{resample}.npz"
    found = _read_cached(cached, digest.hexdigest())
    if found is not None:
        return found
    decoded = [_decode(part, path, resample) for part, path in zips.items()]
    characters = Characters(
        np.concatenate([part.images for part in decoded]),
        [name for part in decoded for name in part.names],
    )
    _write_cached(cached, characters, digest.hexdigest())
    return characters


def split_names(
    names: list[str], split: Literal["random", "vinyals", "lake"], seed: int
) -> dict[str, list[int]]:
    """Indices of the characters of the train, val and test sets: three disjoint lists.

    random: 1100, 100 and 423 characters of all alphabets, by `seed` (MAML's counts; its own draw
      differs).
    vinyals: 1028, 172 and 423, in the order of the alphabets: the lists of Matching and Prototypical
      Networks. Four characters of Gurmukhi are in test and the others in train.
    lake: train on the background set, less the five alphabets that `vinyals` validates on (792 and
      172 characters), test on the 659 of the evaluation set.
    """
    order = list(range(len(names)))
    if split == "random":
        order = np.random.default_rng(seed).permutation(len(names)).tolist()
        return {"train": order[:1100], "val": order[1100:1200], "test": order[1200:]}
    held_out = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
    val = [i for i in order if names[i].split("/")[1] in held_out]
    learning = order[:1200] if split == "vinyals" else order[: _CHARACTERS["images_background"]]
    train = [i for i in learning if i not in set(val)]
    return {"train": train, "val": val, "test": order[len(learning) :]}


def split_sizes(split: Literal["random", "vinyals", "lake"]) -> dict[str, int]:
    """How many characters the train, val and test sets of a split have.

    Example:
      >>> split_sizes("random")
      {'train': 1100, 'val': 100, 'test': 423}
    """
    counts = {"random": (1100, 100), "vinyals": (1028, 172), "lake": (792, 172)}
    train, val = counts[choose("omniglot", "split", split, counts)]
    return {"train": train, "val": val, "test": sum(_CHARACTERS.values()) - train - val}


def _decode(part: str, path: Path, resample: Resampling) -> Characters:
    from PIL import Image

    remedy = f"delete it and run `metajax data omniglot`, or download {_ADDRESS}/{path.name}."
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"omniglot: {path} is {path.stat().st_size:,} bytes and not a whole zip file; {remedy}"
        ) from error
    with archive:
        drawings: dict[str, list[str]] = {}
        for member in sorted(archive.namelist()):
            if member.endswith(".png"):
                drawings.setdefault(member.rpartition("/")[0], []).append(member)
        needed = _CHARACTERS[part]
        whole = len(drawings) == needed and all(
            name.startswith(f"{part}/") and name.count("/") == 2 and len(members) == DRAWINGS
            for name, members in drawings.items()
        )
        if not whole:
            tops = sorted({name.split("/")[0] for name in archive.namelist()})[:3]
            raise ValueError(
                f"omniglot: {path} holds {sum(map(len, drawings.values())):,} drawings of "
                f"{len(drawings)} characters under {', '.join(tops) or 'nothing'}; needed are "
                f"{needed * DRAWINGS:,} drawings of {needed} characters as "
                f"{part}/Alphabet/characterNN/XXXX_YY.png. If it is another file renamed, {remedy}"
            )
        images = np.empty((needed, DRAWINGS, 28, 28), np.uint8)
        for i, members in enumerate(drawings.values()):
            for j, member in enumerate(members):
                try:
                    drawing = Image.open(io.BytesIO(archive.read(member)))
                    drawing.load()
                except (zipfile.BadZipFile, OSError) as error:
                    raise ValueError(
                        f"omniglot: {member} in {path} is damaged; {remedy}"
                    ) from error
                if resample == "lanczos":
                    drawing = drawing.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
                else:
                    drawing = drawing.resize((28, 28), Image.Resampling.NEAREST).convert("L")
                images[i, j] = 255 - np.asarray(drawing)  # the files have ink 0 on white
    return Characters(images, list(drawings))


def _read_cached(path: Path, checksum: str) -> Characters | None:
    """What was decoded before from the same zips; None if there is nothing, or not from these."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["checksum"]) != checksum:
                return None
            return Characters(arrays["images"], arrays["names"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there or damaged; either way it is decoded anew


def _write_cached(path: Path, characters: Characters, checksum: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez_compressed(
                file, images=characters.images, names=characters.names, checksum=checksum
            )
        Path(file.name).replace(path)  # whole or not at all, also with two processes at once
    except OSError as error:
        warnings.warn(
            f"omniglot: could not keep the decoded drawings in {path} ({error}); they are decoded "
            "again each time.",
            stacklevel=3,
        )
