"""Files that are written whole or not at all, and read within bounds."""

import contextlib
import errno
import json
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PART = ".part"
"""How the name of a file ends while it is written; after a kill it may stay."""

LEAST_LIMIT = 64 << 20
"""Bytes that any packed file may unpack to."""

MOST_RATIO = 100
"""How many times its own size a larger packed file may unpack to; text and pictures reach 20."""


class DamagedError(ValueError):
    """A file is not as it was written: cut off, changed or replaced by something else."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that replaces `path` once it is complete; a failure leaves `path` as it was.

    The content and then the folder are flushed to the disk, so that a power failure leaves the old file
    or the new one.

    Raises:
      OSError: If it cannot be written, naming `path`.
    """
    part = None
    try:
        path = path.resolve()  # what a link leads to is replaced, and the link stays
        if path.exists() and not path.is_file():  # a device would be replaced by a file
            raise OSError(errno.EINVAL, "it is not a regular file")
        part = path.parent / f".{uuid.uuid4().hex}{PART}"
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        _remove(part)
        raise type(error)(
            f"{path} could not be written: {error.strerror or error}. What was there before is unchanged."
        ) from error
    except BaseException:
        _remove(part)
        raise


def flush_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some disks flush none
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _remove(part: Path | None) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to raise
        if part is not None:
            part.unlink()


def check_place(path: Path) -> None:
    """Checks that a file can be written at a path, before what it will hold is computed.

    Raises:
      FileNotFoundError: If its folder does not exist.
      IsADirectoryError: If the path is a folder.
    """
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written, because there is no folder {path.parent}. Make it, or name another."
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it.")


def has_lone_surrogate(text: str) -> bool:
    r"""Whether a text has half of a character, as JSON may hold one, which no file in UTF-8 can.

    Example:
      >>> has_lone_surrogate("\ud83d"), has_lone_surrogate("a")
      (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all; see `whole`."""
    with whole(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole or not at all; see `whole`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_figure(path: Path, figure: Any) -> None:
    """Writes a figure of matplotlib as PNG, whole or not at all; see `whole`."""
    with whole(path) as file:
        figure.savefig(file, dpi=150, format="png")


def append_line(path: Path, line: str) -> None:
    """Appends a line; a line that was cut off before it is ended first, and stays a line of its own.

    Raises:
      OSError: If it cannot be written, naming `path`; nothing of the line is then left.
    """
    try:
        with path.open("ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            content = f"{line}\n".encode()
            if size:
                file.seek(size - 1)
                content = content if file.read(1) == b"\n" else b"\n" + content
            try:
                while content:  # a full disk may take a part
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise type(error)(
            f"{path} could not be written: {error.strerror or error}. What was there before is unchanged."
        ) from error


def is_regular(path: Path) -> bool:
    """Whether a path leads to a regular file; a pipe or a device would block, or never end."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a loop of links, a name that is too long or holds a NUL
        return False


def read(path: Path, most: int = LEAST_LIMIT) -> bytes:
    """Returns the content of a small regular file.

    Raises:
      FileNotFoundError: If there is nothing.
      DamagedError: For what is no regular file, may not be read, or is larger than `most` bytes.
    """
    if not is_regular(path):
        if not os.path.lexists(path):
            raise FileNotFoundError(f"{path}: there is no such file.")
        raise DamagedError(f"{path} is not a regular file.")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > most:
        raise DamagedError(f"{path} has more than {most:,} bytes, which no such file has.")
    return content


def gunzip(packed: bytes) -> bytes:
    """Returns what gzip packed, and never more than a whole file of this size may hold.

    Raises:
      DamagedError: For what is cut off, damaged, or unpacks to more than `LEAST_LIMIT` bytes and
        `MOST_RATIO` times its size.

    Example:
      >>> import gzip
      >>> gunzip(gzip.compress(b"text"))
      b'text'
    """
    left, parts, room = packed, [], max(LEAST_LIMIT, MOST_RATIO * len(packed))
    while left.strip(b"\0"):  # a file may hold several parts, and zeros at its end
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(left, room + 1)
        except zlib.error as error:
            raise DamagedError(f"not a whole gzip file: {error}") from error
        room -= len(part)
        if room < 0:
            raise DamagedError(
                f"it unpacks to more than {max(LEAST_LIMIT, MOST_RATIO * len(packed)):,} bytes"
            )
        if not unpacker.eof:
            raise DamagedError("not a whole gzip file: it is cut off")
        parts.append(part)
        left = unpacker.unused_data
    if not parts:
        raise DamagedError("not a whole gzip file: it is empty")
    return b"".join(parts)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names a file in whatever error its reader raises, within the context.

    Readers refuse what they know with a sentence of their own, which passes. What a damaged file raises
    besides, of csv, zlib, Pillow or json, becomes a `DamagedError`.

    Example:
      >>> with naming(Path("mine.csv")):
      ...     {}["label"]
      Traceback (most recent call last):
      metajax.files.DamagedError: mine.csv cannot be read (KeyError: 'label'); get or write it again.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, ModuleNotFoundError):
        raise
    except Exception as error:
        if path.name in str(error):
            raise
        raise DamagedError(
            f"{path} cannot be read ({type(error).__name__}: {error!s:.200}); get or write it again."
        ) from error
