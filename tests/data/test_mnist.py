"""The IDX files of MNIST and Fashion-MNIST, on files of our own and on the real ones."""

import gzip
import importlib
import os
from typing import Any

import numpy as np
import pytest

import metajax as mj
from metajax import files
from metajax.data import DATASETS, fashion_mnist, idx, mnist

IMAGES = np.random.default_rng(0).integers(256, size=(40, 28, 28), dtype=np.uint8)
LABELS = np.arange(40).astype(np.uint8) % 2


def packed(array):
    lengths = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())


@pytest.fixture
def folder(tmp_path):
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t10k-images-idx3-ubyte.gz").write_bytes(packed(IMAGES))
        (tmp_path / name / "t10k-labels-idx1-ubyte.gz").write_bytes(packed(LABELS))
    return tmp_path


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_images_and_labels_are_read(module, folder):
    found = module.load(data=folder)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)


@pytest.mark.parametrize(
    "name, names", [("mnist", ["0", "1"]), ("fashion_mnist", ["T-shirt/top", "Trouser"])]
)
def test_a_data_set_gives_its_pictures_by_class(name, names, folder):
    data_set = DATASETS[name]
    assert data_set.pictures is not None
    pictures = data_set.pictures(folder)
    assert pictures.names == names
    assert pictures.ink == "bright"
    for label, own in enumerate(pictures.classes):
        np.testing.assert_array_equal(own[..., 0], IMAGES[label == LABELS])
    assert DATASETS[name].describe(folder).startswith("40 test")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_subsets_are_disjoint_and_images_shrink_by_means(name, folder, monkeypatch):
    source = importlib.import_module(f"metajax.tasks.{name}")
    monkeypatch.setattr(source, "episodes", lambda classes, **_: classes)

    def images(subset, size=28) -> Any:
        return getattr(source, name)(subset, size=size, data=folder)  # by class

    for digit in (0, 1):
        parts = [images(subset)[digit] for subset in ("train", "val", "test")]
        assert [len(part) for part in parts] == [14, 2, 4]
        np.testing.assert_array_equal(np.concatenate(parts)[..., 0], IMAGES[digit == LABELS])
    small, large = images("val", size=7)[0], images("val")[0][..., 0]
    means = [[large[:, i : i + 4, j : j + 4].mean(axis=(1, 2)) for j in (0, 24)] for i in (0, 24)]
    corners = small[:, ::6, ::6, 0]
    np.testing.assert_array_equal(corners, np.rint(np.moveaxis(np.array(means), -1, 0)))


def test_damaged_files_are_refused(folder):
    path = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content, message in [
        (whole[:-20], "not a whole gzip file: it is cut off; delete it and download it again"),
        (b"hello", "not a whole gzip file"),
        (gzip.compress(b"hello"), "not an IDX file of bytes: it begins with 68 65 6c 6c"),
        (gzip.compress(gzip.decompress(whole)[:-1]), "not an IDX file of bytes"),
        (packed(IMAGES[:39]), r"holds \(39, 28, 28\) numbers and .* \(40,\)"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            mnist.load(data=folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no t10k-images-idx3-ubyte\.gz"):
        mnist.load(data=folder)
    with pytest.raises(ValueError, match="fashion_mnist: size=10 must be 28, 14 or 7"):
        mj.tasks.fashion_mnist(size=10, data=folder)


def test_what_is_no_file_or_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAST_LIMIT", 10_000)
    monkeypatch.setattr(files, "MOST_RATIO", 1)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes(1_000_000)))
    with pytest.raises(ValueError, match="unpacks to more than 10,000 bytes"):
        idx.read("mnist", path)
    path.unlink()
    os.mkfifo(path)  # opening it would block
    with pytest.raises(ValueError, match=r"images\.gz is not a regular file"):
        idx.read("mnist", path)


def test_the_real_digits(key):
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds mnist/")
    digits = mnist.load(data=named)
    assert digits.images.shape == (10_000, 28, 28)
    assert np.bincount(digits.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    sample = mj.tasks.mnist("test", shot=2, query_shot=1, size=14, data=named)
    task = mj.tasks.batch(sample, key, 1)
    assert task.support.x.shape == (1, 20, 14, 14, 1)
    assert 0.1 < float(task.support.x.mean()) < 0.2  # MNIST's ink covers 13 %
