"""What a data set is, and where its files live: `METAJAX_DATA`, the user cache, or a named folder."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from metajax import files
from metajax.data.annotated import Annotated
from metajax.data.documents import Corpus
from metajax.data.ratings import Ratings
from metajax.data.sentences import Sentences
from metajax.data.translations import Translations

Folder: TypeAlias = str | Path | None
"""The folder that holds the folders of the data sets. None: `METAJAX_DATA`, then the user cache."""

Ink: TypeAlias = Literal["bright", "dark"]
"""Whether strokes are brighter or darker than the ground they are drawn on."""


class Download(NamedTuple):
    """A published file, by address and checksum (`md5:...` or `sha256:...`)."""

    file: str
    url: str
    checksum: str


class Pictures(NamedTuple):
    """Pictures by class.

    classes: One array per class, `(n, height, width, channels)` uint8 with 1 or 3 channels.
    names: The names of the classes.
    ink: The polarity of drawings; None for photographs, or where it is not known.
    """

    classes: list[np.ndarray]
    names: list[str]
    ink: Ink | None = None


class Dataset(NamedTuple):
    """A published data set: one row of `metajax.data.DATASETS`.

    name: What a user types, and the name of the folder of its files.
    downloads: The published files; none where they are to be placed by hand.
    describe: The data folder to one line that counts what the files there hold; reads them.
    licence: The licence as its authors state it.
    citation: Authors and year.
    recipe: The arguments of `metajax train` that use it; empty where no recipe trains on it.
    pictures: The data folder to all its pictures by class; None for other kinds of data.
    summary: One line that says what it holds, without reading files.
    ratings: The data folder to its ratings; None for other kinds of data.
    sentences: The data folder to its labelled sentences; None for other kinds of data.
    documents: The data folder to its documents with summaries; None for other kinds of data.
    translations: The data folder to its pairs of sentences; None for other kinds of data.
    boxes: The data folder to its pictures with boxes; None for other kinds of data.
    placed: Files that are placed by hand, with the address to get them at. Nobody publishes a checksum of
      them; theirs is the SHA-256, unpacked, of the copy that docs/results were measured on.
    """

    name: str
    downloads: tuple[Download, ...]
    describe: Callable[[Folder], str]
    licence: str
    citation: str
    recipe: str
    pictures: Callable[[Folder], Pictures] | None
    summary: str
    ratings: Callable[[Folder], Ratings] | None = None
    sentences: Callable[[Folder], Sentences] | None = None
    documents: Callable[[Folder], Corpus] | None = None
    translations: Callable[[Folder], Translations] | None = None
    boxes: Callable[[Folder], Annotated] | None = None
    placed: tuple[Download, ...] = ()


def cache_dir() -> Path:
    """Returns the folder for downloads and decoded arrays: metajax in the user's cache."""
    import pooch

    return Path(pooch.os_cache("metajax"))


def locate(
    name: str, needed: Sequence[str], data: Folder = None, *, address: str | None = None
) -> Path:
    """Returns the folder `name` that holds all of the files `needed`.

    Args:
      name: The name of the data set, and of its folder.
      needed: The files that must be in the folder, as they are or packed as `.gz`.
      data: The folder above it, which is then the only place searched. None searches
        `METAJAX_DATA`, if set, and the user cache.
      address: Where to get files that `metajax data` does not download.

    Raises:
      FileNotFoundError: Naming the places searched, what is missing, and how to get it.
      PermissionError: For a folder that this user may not read.
    """
    if data is not None:
        places = [Path(data)]
    else:
        named = os.environ.get("METAJAX_DATA")
        places = [Path(named)] if named else []
        places.append(cache_dir())
    missing = []
    for place in places:
        folder = place.expanduser() / name
        try:
            found = {path.name.removesuffix(".gz") for path in folder.iterdir()}
            found |= {path.name for path in folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            missing.append(f"{folder} (no such folder)")
            continue
        except PermissionError as error:
            raise unreadable(name, folder) from error
        absent = [file for file in needed if file not in found]
        if not absent:
            return folder
        missing.append(f"{folder} (no {', no '.join(absent)})")
    how = f"run `metajax data {name}` to download it" if address is None else f"get it at {address}"
    raise FileNotFoundError(
        f"{name}: looked in {' and '.join(missing)}; {how}, or name the folder that holds "
        f"{name}/ with --data or METAJAX_DATA."
    )


def unreadable(name: str, path: Path) -> PermissionError:
    """Returns the error for a file or folder that this user may not read."""
    return PermissionError(
        f"{name}: {path} may not be read by this user; change its permissions, or name another "
        "folder with --data."
    )


def read_bytes(name: str, path: Path) -> bytes:
    """Returns the content of a regular file.

    Raises:
      PermissionError: For a file that this user may not read.
      ValueError: For what is no regular file, such as a pipe, which would block.
    """
    if not files.is_regular(path):
        raise ValueError(f"{name}: {path} is not a regular file; replace it by the published file.")
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise unreadable(name, path) from error


def read_placed(name: str, folder: Path, file: str) -> bytes:
    """Returns the content of a file that was placed by hand, as it is or packed as `.gz`.

    Raises:
      PermissionError: For a file that this user may not read.
      ValueError: For what is no regular file, or not a whole gzip file.
    """
    path, packed = folder / file, folder / f"{file}.gz"
    if path.exists():
        return read_bytes(name, path)
    content = read_bytes(name, packed)
    try:
        return files.gunzip(content)
    except files.DamagedError as error:
        raise ValueError(f"{name}: {packed} is damaged ({error}); copy it again.") from error


def other_than_measured(name: str, placed: Sequence[Download], data: Folder = None) -> list[str]:
    """Returns the files, placed by hand, that differ from those that docs/results were measured on.

    Args:
      name: The name of the data set.
      placed: Its files.
      data: The folder above it; see `locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ValueError: For a damaged file.
    """
    folder = locate(name, [file.file for file in placed], data)
    found = []
    for file in placed:
        content = read_placed(name, folder, file.file)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != file.checksum:
            found.append(file.file)
    return found


def fetch(name: str, downloads: Sequence[Download]) -> Path:
    """Downloads what is not yet in the user cache, verifies all of it, and returns the folder.

    Raises:
      ConnectionError: If a file cannot be downloaded.
      ValueError: If a file does not have the published checksum, in which case it is not kept.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # progress is for the caller to show
    folder = cache_dir() / name
    for download in downloads:
        try:
            pooch.retrieve(
                download.url, known_hash=download.checksum, fname=download.file, path=folder
            )
        except requests.RequestException as error:
            raise ConnectionError(
                f"{name}: could not download {download.url} ({type(error).__name__}); check the "
                f"connection and run again, or save the file as {folder / download.file} yourself."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{name}: the file from {download.url} does not have the published checksum "
                f"{download.checksum} and was not kept. Run again; if it fails again, report it."
            ) from error
    return folder
