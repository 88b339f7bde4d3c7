"""Omniglot as published: 1623 characters of 50 alphabets, each drawn once by 20 people.

Lake, Salakhutdinov and Tenenbaum, Science 350, 2015. https://github.com/brendenlake/omniglot, MIT.
"""

import hashlib
import io
import warnings
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from metajax import archive as arrays
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

    images: `(characters, 20, 28, 28)` uint8, ink 255 on a ground of 0.
    names: The name of each character, such as `images_background/Greek/character01`.
    """

    images: np.ndarray
    names: list[str]


def load(data: store.Folder = None, *, resample: Resampling = "lanczos") -> Characters:
    """Reads all drawings, reduced from 105 x 105 to 28 x 28 pixels, and keeps them in the user cache.

    Args:
      data: The folder that holds `omniglot/` with the two published zips; see `store.locate`.
      resample: "lanczos" turns the 1-bit drawings into greys first, so that lines keep their
        weight. "nearest" keeps them binary and breaks thin lines: MAML and MAML++ trained on these,
        because Pillow resamples 1-bit images so, whatever filter is asked for.

    Raises:
      FileNotFoundError, PermissionError: If the zips are missing or may not be read.
      ValueError: If a zip is damaged, or another file.
    """
    choose("omniglot", "resample", resample, ("lanczos", "nearest"))
    folder = store.locate("omniglot", [download.file for download in DOWNLOADS], data)
    zips = {part: folder / f"{part}.zip" for part in _CHARACTERS}
    digest = hashlib.sha256(f"28x28 {resample} v1".encode())
    for path in zips.values():
        digest.update(store.read_bytes("omniglot", path))
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
    """Returns the indices of the characters of the train, val and test sets: three disjoint lists.

    Args:
      names: The names of all characters, as `load` returns them.
      split: "random" draws 1100, 100 and 423 characters of all alphabets by `seed`: MAML's counts,
        but not its draw. "vinyals" takes 1028, 172 and 423 in the order of the alphabets: the lists
        of Matching and Prototypical Networks, with four characters of Gurmukhi in test and the
        others in train. "lake" trains on the background set (792 characters), less the five
        alphabets that "vinyals" validates on (172), and tests on the 659 of the evaluation set.
      seed: The seed of the random split.
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
    """Returns the numbers of characters in the train, val and test sets of a split.

    Example:
      >>> split_sizes("random")
      {'train': 1100, 'val': 100, 'test': 423}
    """
    counts = {"random": (1100, 100), "vinyals": (1028, 172), "lake": (792, 172)}
    train, val = counts[choose("omniglot", "split", split, counts)]
    return {"train": train, "val": val, "test": sum(_CHARACTERS.values()) - train - val}


def _decode(part: str, path: Path, resample: Resampling) -> Characters:
    remedy = f"delete it and run `metajax data omniglot`, or download {_ADDRESS}/{path.name}."
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # of zipfile, struct, zlib or the system
        raise ValueError(
            f"omniglot: {path} is {path.stat().st_size:,} bytes and not a whole zip file; {remedy}"
        ) from error
    with archive:
        drawings = _drawings(part, path, archive, remedy)
        images = np.empty((len(drawings), DRAWINGS, 28, 28), np.uint8)
        for i, members in enumerate(drawings.values()):
            for j, member in enumerate(members):
                try:
                    images[i, j] = _reduced(archive, member, resample)
                except Exception as error:  # a dozen kinds of zipfile, zlib and Pillow
                    raise ValueError(
                        f"omniglot: {member} in {path} is damaged; {remedy}"
                    ) from error
    return Characters(images, list(drawings))


_LARGEST = 100_000
"""Bytes of the largest drawing that is unpacked; a published one has a few hundred."""


def _drawings(part: str, path: Path, archive: zipfile.ZipFile, remedy: str) -> dict[str, list[str]]:
    """The files of each character, in alphabetical order, if they are those that were published."""
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
            f"{len(drawings)} characters under {', '.join(tops) or 'nothing'}, but "
            f"{needed * DRAWINGS:,} drawings of {needed} characters are needed as "
            f"{part}/Alphabet/characterNN/XXXX_YY.png. If it is another file renamed, {remedy}"
        )
    return drawings


def _reduced(archive: zipfile.ZipFile, member: str, resample: Resampling) -> np.ndarray:
    from PIL import Image

    if archive.getinfo(member).file_size > _LARGEST:
        raise ValueError(f"{member} is larger than any published drawing")
    drawing = Image.open(io.BytesIO(archive.read(member)))
    if drawing.size != (105, 105):
        raise ValueError(f"{member} has {drawing.size} pixels")
    if resample == "lanczos":
        drawing = drawing.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
    else:
        drawing = drawing.resize((28, 28), Image.Resampling.NEAREST).convert("L")
    return 255 - np.asarray(drawing)  # the files have ink 0 on white


_CACHE = "metajax omniglot", 1, "metajax.data.omniglot"
"""The format of the cache, its version, and what writes it."""


def _read_cached(path: Path, checksum: str) -> Characters | None:
    """The drawings decoded before from the same zips; None if there are none, or they are damaged."""
    number = sum(_CHARACTERS.values())
    try:
        header = arrays.read_header(path, *_CACHE)
        names = header["names"]
        if header["checksum"] != checksum or len(names) != number:
            return None
        described = {"drawings/images": ((number, DRAWINGS, 28, 28), "uint8")}
        found = arrays.read_arrays(path, described, _CACHE[2], header["sha256"])
    except Exception:  # Whatever the damage is, the drawings are decoded anew.
        return None
    return Characters(found["drawings/images"], [str(name) for name in names])


def _write_cached(path: Path, characters: Characters, checksum: str) -> None:
    form, version, _ = _CACHE
    header = {"format": form, "version": version, "checksum": checksum, "names": characters.names}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays.write(path, header, {"drawings/images": characters.images})
    except OSError as error:
        warnings.warn(
            f"omniglot: could not keep the decoded drawings in {path} ({error}), so they will be "
            "decoded again each time.",
            stacklevel=3,
        )


def _describe(data: store.Folder) -> str:
    return f"{len(load(data).names)} characters of {DRAWINGS} drawings"


def _pictures(data: store.Folder) -> store.Pictures:
    characters = load(data)
    return store.Pictures(list(characters.images[..., None]), characters.names, "bright")


DATASET = store.Dataset(
    name="omniglot",
    downloads=DOWNLOADS,
    describe=_describe,
    licence="MIT licence",
    citation="Lake et al. 2015",
    recipe="omniglot",
    pictures=_pictures,
    summary="1623 characters, 20 drawings each",
)
