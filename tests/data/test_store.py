"""Downloads, from a server of our own."""

import functools
import gzip
import hashlib
import http.server
import threading

import pytest

from metajax.data import DATASETS, store

CONTENT = b"drawings" * 1000


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves one file, counts how often it was asked for, and gives the client a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "images.zip").write_bytes(CONTENT)

    class Handler(http.server.SimpleHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            Handler.asked += 1
            super().do_GET()

        def log_message(self, format, *args):
            pass

    handler = functools.partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever).start()
        yield running, Handler
        running.shutdown()


def download(server, file="images.zip", content=CONTENT):
    url = f"http://127.0.0.1:{server[0].server_port}/{file}"
    return store.Download("images.zip", url, f"md5:{hashlib.md5(content).hexdigest()}")


def test_a_download_is_verified_and_kept(server):
    folder = store.fetch("glyphs", [download(server)])
    assert (folder / "images.zip").read_bytes() == CONTENT
    assert store.locate("glyphs", ["images.zip"]) == folder
    assert store.fetch("glyphs", [download(server)]) == folder
    assert server[1].asked == 1


def test_what_does_not_have_the_published_checksum_is_not_kept(server):
    with pytest.raises(ValueError, match="does not have the published checksum md5:"):
        store.fetch("glyphs", [download(server, content=b"something else")])
    assert not (store.cache_dir() / "glyphs" / "images.zip").exists()


def test_what_cannot_be_downloaded_names_the_address_and_the_way_around(server):
    with pytest.raises(
        ConnectionError, match=r"could not download http://.*/absent.zip .*save the"
    ):
        store.fetch("glyphs", [download(server, file="absent.zip")])


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_says_where_it_comes_from(name, tmp_path):
    data_set = DATASETS[name]
    assert data_set.name == name
    assert all((data_set.licence, data_set.citation, data_set.summary))
    for published in data_set.downloads:
        assert published.url.startswith("http")
        assert published.url.endswith(published.file)
        assert len(published.checksum.removeprefix("md5:")) == 32
    for placed in data_set.placed:
        assert placed.url.startswith("https://")
        assert len(placed.checksum.removeprefix("sha256:")) == 64
    if data_set.boxes is None:  # whose files are too many to name
        assert bool(data_set.downloads) != bool(data_set.placed)
    how = f"run `metajax data {name}` to download it" if data_set.downloads else "get it at https"
    with pytest.raises(FileNotFoundError, match=how):
        data_set.describe(tmp_path)
    kinds = (
        data_set.pictures,
        data_set.ratings,
        data_set.sentences,
        data_set.documents,
        data_set.translations,
        data_set.boxes,
    )
    read = next((kind for kind in kinds if kind), None)
    assert read is not None
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/{name} "):
        read(tmp_path)


@pytest.mark.parametrize("name", [name for name, data_set in DATASETS.items() if data_set.placed])
def test_a_packed_file_that_was_cut_off_is_named(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    placed = DATASETS[name].placed
    for file in placed:
        (folder / f"{file.file}.gz").write_bytes(gzip.compress(b"some text")[:-4])
    with pytest.raises(ValueError, match=f"{placed[0].file}.gz is damaged .*; copy it again"):
        store.other_than_measured(name, placed, tmp_path)
