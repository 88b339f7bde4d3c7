"""Arrays in one NumPy archive: written whole or not at all, checked when read, nothing executed."""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from metajax import files

_NUMBERS = "biufcV"  # V: the types that ml_dtypes adds to NumPy's, such as bfloat16


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a header and arrays, whose names hold a "/".

    Each array has a SHA-256 over its name, dtype, shape and bytes in the header, and the header has one
    of its own. The archive's CRC-32 misses arrays that change places.

    Raises:
      TypeError: For a header that JSON does not hold.
      OSError: If the file cannot be written.
    """
    # NumPy's format knows its own types; bfloat16 is written as the integers it is made of.
    plain: dict[str, Any] = {name: _plain(array) for name, array in arrays.items()}
    sums = {name: _sum(name, array) for name, array in plain.items()}
    text = json.dumps({**header, "sha256": sums})
    seal = hashlib.sha256(text.encode()).hexdigest()
    with files.whole(path) as file:
        np.savez(file, header=np.array(text), seal=np.array(seal), **plain)


def read_header(path: Path, form: str, version: int, writer: str) -> dict[str, Any]:
    """The header of a file.

    Args:
      path: The file.
      form: What `header["format"]` must be.
      version: The newest `header["version"]` that can be read.
      writer: The function that writes such files, for the messages.

    Raises:
      FileNotFoundError: If there is no such file.
      DamagedError: For a file that is damaged or something else.
      ValueError: For one that has a newer version.
    """
    if not files.is_regular(path):
        raise FileNotFoundError(f"{path}: there is no such file; give one that {writer} wrote.")
    with _damage(path, writer), zipfile.ZipFile(path) as archive:
        text = str(_member(archive, "header"))
        header = json.loads(text)
        if header["format"] != form:
            raise ValueError(f"its format is {header['format']!r}")
        found = int(header["version"])
        if found <= version:
            _check_seal(archive, text, header)
    if found > version:
        raise ValueError(
            f"{path} has version {found}, but this metajax reads up to {version}; upgrade metajax."
        )
    return header


def _check_seal(archive: zipfile.ZipFile, text: str, header: Mapping[str, Any]) -> None:
    """Checks the header by its own checksum; files of metajax 0.2 have none.

    Raises:
      ValueError: If it is not the one that was written.
    """
    if "sha256" not in header and "seal.npy" not in archive.namelist():
        return
    if str(_member(archive, "seal")) != hashlib.sha256(text.encode()).hexdigest():
        raise ValueError("its header is not the one that was written")
    if not isinstance(header["sha256"], dict):
        raise ValueError("its header holds no checksums")


def read_arrays(
    path: Path,
    described: Mapping[str, tuple[Iterable[int], str]],
    writer: str,
    sums: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Arrays of a file by name, every byte of them checked.

    Args:
      path: The file.
      described: The shape and the dtype of each array to read, from the header.
      writer: The function that writes such files, for the messages.
      sums: `header["sha256"]`; None for files of metajax 0.2, which have the archive's CRC-32 alone.

    Raises:
      DamagedError: For a file that is damaged.
    """
    arrays = {}
    with _damage(path, writer), zipfile.ZipFile(path) as archive:
        # Entries that share their bytes would unpack to more than the file holds.
        sizes = [archive.getinfo(f"{name}.npy").file_size for name in described]
        if sum(sizes) > path.stat().st_size:
            raise ValueError("its arrays are larger than the file")
        for name, (shape, dtype) in described.items():
            kind = jnp.dtype(dtype)
            if kind.kind not in _NUMBERS or not kind.itemsize:
                raise ValueError(f"{name} has dtype {dtype}")
            plain = _member(archive, name)
            if sums is not None and sums[name] != _sum(name, plain):
                raise ValueError(f"{name} does not have the SHA-256 that was written")
            arrays[name] = plain.view(kind)
            if arrays[name].shape != tuple(shape):
                raise ValueError(f"{name} is {arrays[name].shape}, but its header says {shape}")
    return arrays


@contextlib.contextmanager
def _damage(path: Path, writer: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a damaged archive raises a dozen kinds, of zipfile, NumPy and json
        size = path.stat().st_size if path.exists() else 0
        raise files.DamagedError(
            f"{path} is {size:,} bytes and not a whole file that {writer} wrote "
            f"({type(error).__name__}: {error}); write it again."
        ) from error


def _sum(name: str, array: np.ndarray) -> str:
    """SHA-256 of an array, and of what it is."""
    found = hashlib.sha256(f"{name} {array.dtype.str} {array.shape} ".encode())
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


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
