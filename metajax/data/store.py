"""Where data sets live: a folder the user names, `METAJAX_DATA`, or the user cache."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Download(NamedTuple):
    """A published file, by address and checksum (`md5:...` or `sha256:...`)."""

    file: str
    url: str
    checksum: str


def cache_dir() -> Path:
    """The folder for downloads and decoded arrays: metajax in the user's cache."""
    import pooch

    return Path(pooch.os_cache("metajax"))


def locate(name: str, files: Sequence[str], data: str | Path | None = None) -> Path:
    """The folder `name` that holds all of `files`.

    Args:
      name: of the data set, and of its folder.
      files: what must be in the folder.
      data: the folder above, and then the only place that is looked at. Without it these are
        `METAJAX_DATA`, if set, and the user cache.

    Raises:
      FileNotFoundError: naming the places, what is missing, and how to get it.
      PermissionError: for a folder that may not be read.
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
            held = {path.name for path in folder.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            missing.append(f"{folder} (no such folder)")
            continue
        except PermissionError as error:
            raise PermissionError(
                f"{name}: {folder} may not be read by this user; change its permissions, or name "
                "another folder with --data."
            ) from error
        absent = [file for file in files if file not in held]
        if not absent:
            return folder
        missing.append(f"{folder} (no {', no '.join(absent)})")
    raise FileNotFoundError(
        f"{name}: looked in {' and '.join(missing)}; run `metajax data {name}` to download it, or "
        f"name the folder that holds {name}/ with --data or METAJAX_DATA."
    )


def fetch(name: str, downloads: Sequence[Download]) -> Path:
    """Download what is not yet in the user cache, verify all of it, and return the folder.

    Raises:
      ConnectionError: when a file cannot be downloaded.
      ValueError: when a file does not have the published checksum; it is not kept.
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
                f"{name}: what came from {download.url} does not have the published checksum "
                f"{download.checksum}; it was not kept. Run again, and if it stays so, report it."
            ) from error
    return folder
