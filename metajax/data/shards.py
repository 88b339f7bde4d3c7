"""Rows of arrays in files, for data larger than memory: written once, read row by row."""

import json
import math
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metajax import checks, files

INDEX = "index.json"
"""What the folder holds; written last, so that a folder without it was cut off."""


def write(
    folder: str | Path, batches: Iterable[Mapping[str, Any]], *, rows_per_file: int = 100_000
) -> int:
    """Writes rows into `.npy` files of a new folder, which any program that reads NumPy's format can use.

    Args:
      folder: Empty or new.
      batches: Dicts of the same names to arrays `(n, ...)`; `n` may differ from batch to batch.
      rows_per_file: The number of rows in a file. A batch and so many rows are in memory at once.

    Returns:
      The number of rows.

    Raises:
      FileExistsError: For a folder that is not empty.
      ValueError: For batches of different names, shapes or dtypes, for objects, and for no rows.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as place:
      ...     number = write(place, [{"x": np.arange(6).reshape(3, 2)}], rows_per_file=2)
      ...     with Shards(place) as shards:
      ...         number, shards["x"][np.array([2, 0])].tolist()
      (3, [[4, 5], [0, 1]])
    """
    rows_per_file = checks.count("write", "rows_per_file", rows_per_file)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name another folder.")
    columns: dict[str, Any] = {}
    pending: list[dict[str, np.ndarray]] = []
    counts: list[int] = []

    def flush(last: bool) -> None:
        while pending and (last or _length(pending) >= rows_per_file):
            joined = {name: np.concatenate([batch[name] for batch in pending]) for name in columns}
            pending.clear()
            first = {name: column[:rows_per_file] for name, column in joined.items()}
            for name, column in first.items():
                with files.whole(folder / _file(name, len(counts))) as file:
                    np.save(file, np.ascontiguousarray(column), allow_pickle=False)
            counts.append(len(next(iter(first.values()))))
            rest = {name: column[rows_per_file:] for name, column in joined.items()}
            if len(next(iter(rest.values()))):
                pending.append(rest)

    for i, batch in enumerate(batches):
        found = {name: np.asarray(column) for name, column in batch.items()}
        _check(i, found, columns)
        pending.append(found)
        flush(last=False)
    flush(last=True)
    if not counts:
        raise ValueError("write: there are no rows.")
    files.write_json(folder / INDEX, {"columns": columns, "counts": counts})
    return sum(counts)


def _length(pending: list[dict[str, np.ndarray]]) -> int:
    return sum(len(next(iter(batch.values()))) for batch in pending)


def _file(name: str, shard: int) -> str:
    return f"{name}-{shard:05}.npy"


def _check(i: int, batch: dict[str, np.ndarray], columns: dict[str, Any]) -> None:
    """Checks a batch against those before it, and takes the first as the example."""
    kinds = {name: {"shape": list(c.shape[1:]), "dtype": c.dtype.str} for name, c in batch.items()}
    lengths = {len(column) if column.ndim else None for column in batch.values()}
    if not batch or len(lengths) != 1 or None in lengths:
        shapes = {name: column.shape for name, column in batch.items()}
        raise ValueError(f"write: batch {i} has shapes {shapes}; all need the same first axis.")
    if any(column.dtype.hasobject for column in batch.values()):
        raise ValueError(f"write: batch {i} holds Python objects; give arrays of numbers.")
    if columns and kinds != columns:
        raise ValueError(f"write: batch {i} holds {kinds}, but those before it {columns}.")
    if not all(name.isidentifier() for name in batch):
        raise ValueError(f"write: the names {sorted(batch)} must be words, such as x and y.")
    columns.update(kinds)


class Column:
    """One array of a folder of shards: `column[rows]` reads rows `(k, ...)` for integers `(k,)`.

    It holds open files and no rows, may be read from many threads, and may be sent to other processes.
    """

    def __init__(
        self, folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, counts: list[int]
    ):
        self._paths = [folder / _file(name, shard) for shard in range(len(counts))]
        self.shape, self.dtype = (sum(counts), *shape), dtype
        self._counts, self._ends = counts, np.cumsum(counts)
        self._bytes = dtype.itemsize * math.prod(shape)
        self._open: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self):
        """Is sent without its open files."""
        folder, name = self._paths[0].parent, self._paths[0].name.rsplit("-", 1)[0]
        return type(self), (folder, name, self.shape[1:], self.dtype, self._counts)

    def __getitem__(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu" or (
            rows.size and not 0 <= rows.min() <= rows.max() < len(self)
        ):
            raise IndexError(
                f"{self._paths[0].parent}: rows must be integers of 0 to {len(self) - 1}, but they are "
                f"{rows.dtype} from {rows.min() if rows.size else '-'} to {rows.max() if rows.size else '-'}."
            )
        found = np.empty((rows.size, *self.shape[1:]), self.dtype)
        shards = np.searchsorted(self._ends, rows.ravel(), side="right")
        for i, (row, shard) in enumerate(zip(rows.ravel().tolist(), shards.tolist(), strict=True)):
            self._read(shard, row - int(self._ends[shard]) + self._counts[shard], found[i : i + 1])
        return found.reshape(*rows.shape, *self.shape[1:])

    def _read(self, shard: int, row: int, into: np.ndarray) -> None:
        descriptor, begin = self._opened(shard)
        read = os.pread(descriptor, self._bytes, begin + row * self._bytes)
        if len(read) != self._bytes:
            raise files.DamagedError(
                f"{self._paths[shard]} ends in the middle of row {row}; write the folder again."
            )
        into[...] = np.frombuffer(read, self.dtype).reshape(into.shape)

    def _opened(self, shard: int) -> tuple[int, int]:
        """The descriptor of a file, and where its rows begin."""
        with self._lock:
            if shard not in self._open:
                with self._paths[shard].open("rb") as file:
                    with files.naming(self._paths[shard]):
                        version = np.lib.format.read_magic(file)
                        header = (
                            np.lib.format.read_array_header_1_0(file)
                            if version == (1, 0)
                            else np.lib.format.read_array_header_2_0(file)
                        )
                        expected = ((self._counts[shard], *self.shape[1:]), False, self.dtype)
                        if header != expected:
                            raise files.DamagedError(
                                f"it holds {header}, but {INDEX} names {expected}."
                            )
                    self._open[shard] = os.dup(file.fileno()), file.tell()
            return self._open[shard]

    def close(self) -> None:
        """Closes its files; they open again when they are read."""
        with self._lock:
            for descriptor, _ in self._open.values():
                os.close(descriptor)
            self._open.clear()

    def __del__(self):
        if hasattr(self, "_lock"):
            self.close()


class Shards(Mapping[str, Column]):
    """The arrays of a folder that `write` wrote, by name; a context that closes their files.

    Raises:
      FileNotFoundError: For a folder without shards, or one of which a part is missing.
      DamagedError: For an index that is not as it was written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as place:
      ...     _ = write(place, [{"x": np.ones((3, 2), np.float32), "y": np.arange(3)}])
      ...     with Shards(place) as shards:
      ...         sorted(shards), shards["x"].shape, shards["y"][np.array([2])].tolist()
      (['x', 'y'], (3, 2), [2])
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(
                f"{folder} has no {INDEX}: it was not written by shards.write, or writing was cut off."
            )
        try:
            found = json.loads(files.read(folder / INDEX))
            counts = [checks.count("index", "counts", count) for count in found["counts"]]
            kinds = {
                name: (tuple(kind["shape"]), np.dtype(kind["dtype"]))
                for name, kind in found["columns"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise files.DamagedError(f"{folder / INDEX} is damaged: {error}.") from error
        for name in kinds:
            for shard in range(len(counts)):
                if not files.is_regular(folder / _file(name, shard)):
                    raise FileNotFoundError(f"{folder / _file(name, shard)} is missing.")
        self._columns = {name: Column(folder, name, *kind, counts) for name, kind in kinds.items()}

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def __iter__(self):
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *error: object) -> None:
        for column in self._columns.values():
            column.close()
