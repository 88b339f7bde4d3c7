"""Arrays in one NumPy archive: written whole or not at all, checked when read, nothing executed."""

import contextlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import jax.numpy as jnp
import numpy as np

PART = ".part"
"""How the name of a file ends while it is written; after a kill it may stay."""

_NUMBERS = "biufcV"  # V: the types that ml_dtypes adds to NumPy's, such as bfloat16


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that replaces `path` once it is complete; a failure leaves `path` as it was.

    Raises:
      OSError: If it cannot be written, naming `path`.
    """
    path = path.resolve()
    part = path.parent / f".{uuid.uuid4().hex}{PART}"
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        _remove(part)
        raise OSError(
            f"{path} could not be written: {error.strerror or error}. What was there before is unchanged."
        ) from error
    except BaseException:
        _remove(part)
        raise


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to raise
        part.unlink()


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a header and arrays, whose names hold a "/".

    Raises:
      TypeError: For a header that JSON does not hold.
      OSError: If the file cannot be written.
    """
    # NumPy's format knows its own types; bfloat16 is written as the integers it is made of.
    plain: dict[str, Any] = {name: _plain(array) for name, array in arrays.items()}
    text = np.array(json.dumps(header))
    with whole(path) as file:
        np.savez(file, header=text, **plain)


def read_header(path: Path, form: str, version: int, writer: str) -> dict[str, Any]:
    """The header of a file.

    Args:
      path: The file.
      form: What `header["format"]` must be.
      version: The newest `header["version"]` that can be read.
      writer: The function that writes such files, for the messages.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a file that is damaged, is something else or has a newer version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; give one that {writer} wrote.")
    with _damage(path, writer), zipfile.ZipFile(path) as archive:
        header = json.loads(str(_member(archive, "header")))
        if header["format"] != form:
            raise ValueError(f"its format is {header['format']!r}")
        found = int(header["version"])
    if found > version:
        raise ValueError(
            f"{path} has version {found}, but this metajax reads up to {version}; upgrade metajax."
        )
    return header


def read_arrays(
    path: Path, described: Mapping[str, tuple[Iterable[int], str]], writer: str
) -> dict[str, np.ndarray]:
    """Arrays of a file by name, every byte of them checked by the archive's checksums.

    Args:
      path: The file.
      described: The shape and the dtype of each array to read, from the header.
      writer: The function that writes such files, for the messages.

    Raises:
      ValueError: For a file that is damaged.
    """
    arrays = {}
    with _damage(path, writer), zipfile.ZipFile(path) as archive:
        for name, (shape, dtype) in described.items():
            kind = jnp.dtype(dtype)
            if kind.kind not in _NUMBERS or not kind.itemsize:
                raise ValueError(f"{name} has dtype {dtype}")
            arrays[name] = _member(archive, name).view(kind)
            if arrays[name].shape != tuple(shape):
                raise ValueError(f"{name} is {arrays[name].shape}, but its header says {shape}")
    return arrays


@contextlib.contextmanager
def _damage(path: Path, writer: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged archive raises a dozen kinds, of zipfile, NumPy and json
        raise ValueError(
            f"{path} is {path.stat().st_size:,} bytes and not a whole file that {writer} wrote "
            f"({type(error).__name__}: {error}); write it again."
        ) from error


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array; nothing larger than the file itself is ever allocated."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(member)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        content = member.read()  # to the end, where the checksum is compared
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _plain(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "V":
        return array.view(f"u{array.dtype.itemsize}")
    return array
