"""The loader of digits, on files of our own and on the real ones."""

import gzip
import os

import jax
import numpy as np
import pytest

import metajax as mj
from metajax.data import mnist

IMAGES = np.arange(40 * 28 * 28).reshape(40, 28, 28).astype(np.uint8)
LABELS = np.arange(40).astype(np.uint8) % 2


def idx(array):
    lengths = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(idx(IMAGES))
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(LABELS))
    return tmp_path


def test_images_and_labels_are_read(folder):
    digits = mnist.load(data=folder)
    np.testing.assert_array_equal(digits.images, IMAGES)
    np.testing.assert_array_equal(digits.labels, LABELS)


def test_subsets_are_disjoint_and_images_shrink_by_means(folder, key):
    def images(subset, **options):
        # All there is of both digits, so that a task holds every image of the subset.
        each = {"train": 14, "val": 2, "test": 4}[subset]
        sample = mj.tasks.mnist(subset, way=2, shot=each - 1, query_shot=1, data=folder, **options)
        task = sample(key)
        return np.concatenate([task.support.x, task.query.x])

    sizes = [len({x.tobytes() for x in images(subset)}) for subset in ("train", "val", "test")]
    assert sizes == [28, 4, 8]
    pixels = {tuple(x.ravel()) for s in ("train", "val", "test") for x in images(s)}
    assert pixels == {tuple((x / np.float32(255)).astype(np.float32).ravel()) for x in IMAGES}
    quarter = images("val", size=7)
    assert quarter.shape == (4, 7, 7, 1)
    means = {tuple(np.rint(x.reshape(7, 4, 7, 4).mean(axis=(1, 3))).ravel()) for x in IMAGES}
    assert {tuple(np.rint(255 * x).ravel()) for x in quarter} <= means


def test_damaged_files_are_refused(folder):
    path = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for content, message in [
        (whole[:-20], "not a whole gzip file; delete it and download it again"),
        (b"hello", "not a whole gzip file"),
        (gzip.compress(b"hello"), "not an IDX file of bytes: it begins with 68 65 6c 6c"),
        (gzip.compress(gzip.decompress(whole)[:-1]), "not an IDX file of bytes"),
        (idx(IMAGES[:39]), r"holds \(39, 28, 28\) numbers and .* \(40,\)"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            mnist.load(data=folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no t10k-images-idx3-ubyte\.gz"):
        mnist.load(data=folder)
    with pytest.raises(ValueError, match="size=10; it is 28, 14 or 7"):
        mj.tasks.mnist(size=10, data=folder)


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
    task = jax.jit(mj.tasks.mnist("test", shot=2, query_shot=1, size=14, data=named))(key)
    assert task.support.x.shape == (20, 14, 14, 1)
    assert 0.1 < float(task.support.x.mean()) < 0.2  # MNIST's ink covers 13 %
