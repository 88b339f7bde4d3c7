"""Files: whole or not at all, read within bounds, and named in every error."""

import csv
import gzip
import os
import resource
import signal
from contextlib import contextmanager

import pytest

from metajax import files


@contextmanager
def no_file_beyond(size):
    """As a full disk: writing beyond this size raises OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_is_the_old_or_the_new_one(tmp_path):
    path = tmp_path / "a"
    files.write_text(path, "old")
    with pytest.raises(KeyError), files.whole(path) as file:
        file.write(b"half")
        raise KeyError
    with (
        no_file_beyond(4),
        pytest.raises(OSError, match=r"a could not be written: .*unchanged"),
    ):
        files.write_text(path, "much too long")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "inner" / "file")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "inner" / "file").read_text() == "new"


def test_content_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda number: calls.append(os.fstat(number).st_mode >> 12))
    files.write_text(tmp_path / "a", "new")
    assert calls == [0o10, 0o4]  # a file, then its folder


def test_a_line_after_one_that_was_cut_off_is_a_line(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"whole\nha")
    files.append_line(path, "next")
    assert path.read_bytes() == b"whole\nha\nnext\n"
    with no_file_beyond(20), pytest.raises(OSError, match="lines could not be written"):
        files.append_line(path, "longer than there is room")
    assert path.read_bytes() == b"whole\nha\nnext\n"


def test_parts_of_a_gzip_file_are_one_and_bombs_are_refused():
    assert files.gunzip(gzip.compress(b"a") + gzip.compress(b"b") + bytes(9)) == b"ab"
    for wrong in (b"", b"text", gzip.compress(b"a" * 999)[:-1], gzip.compress(b"a") + b"rest"):
        with pytest.raises(files.DamagedError, match="not a whole gzip file"):
            files.gunzip(wrong)
    with pytest.raises(files.DamagedError, match="unpacks to more than 67,108,864 bytes"):
        files.gunzip(gzip.compress(bytes(files.LEAST_LIMIT + 1), 1))


def test_what_would_block_or_never_end_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(bytes(10))
    for name in ("pipe", "loop", "zeros", "."):
        with pytest.raises(files.DamagedError, match="is not a regular file"):
            files.read(tmp_path / name)
    with pytest.raises(files.DamagedError, match="large has more than 9 bytes"):
        files.read(tmp_path / "large", 9)
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "absent")


def test_a_device_or_pipe_is_never_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, tmp_path):
        with pytest.raises(OSError, match="could not be written: it is not a regular file"):
            files.write_text(path, "text")
    assert pipe.is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize(
    "error", [csv.Error("x"), RecursionError("x"), MemoryError(), KeyError("x")]
)
def test_whatever_a_reader_raises_names_the_file(error, tmp_path):
    with (
        pytest.raises(files.DamagedError, match=f"mine.csv cannot be read .{type(error).__name__}"),
        files.naming(tmp_path / "mine.csv"),
    ):
        raise error
    with pytest.raises(KeyError), files.naming(tmp_path / "mine.csv"):
        raise KeyError("mine.csv: line 3")
