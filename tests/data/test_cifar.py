"""CIFAR-100's loader, on an archive of the published layout and on broken ones."""

import json
import os
import tarfile
from pathlib import Path

import cifar_from_sheets
import jax
import numpy as np
import pytest

import metajax as mj
from metajax.data import DATASETS, cifar
from metajax.tasks.cifar_fs import MEAN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An archive packed from METAJAX_DATA's sheets of images."""
    named = os.environ.get("METAJAX_DATA")
    if not named:
        pytest.skip("METAJAX_DATA is not set; it names a folder that holds cifar_fs/")
    sheets = Path(named).absolute() / "cifar_fs"
    assert (sheets / "apple.jpg").is_file(), f"METAJAX_DATA={named} is set and has no {sheets}"
    packed = tmp_path_factory.mktemp("data")
    cifar_from_sheets.pack(sheets, packed, level=0)  # packing takes as long as a test
    return packed


@pytest.fixture(scope="module")
def photographs(folder):
    return cifar.load(folder)


def test_all_photographs_are_read(photographs):
    assert photographs.images.shape == (100, 600, 32, 32, 3)
    assert photographs.names[:3] == ["apple", "aquarium_fish", "baby"]
    assert dict(zip(photographs.names, photographs.superclasses, strict=True))["seal"] == (
        "aquatic_mammals"
    )
    assert len(set(photographs.superclasses)) == 20
    # The published channel means; photographs are smooth, so neighbours are alike where axes are right.
    means = photographs.images.mean(axis=(0, 1, 2, 3)) / 255
    np.testing.assert_allclose(means, MEAN, atol=2e-3)
    first = photographs.images[:, 0].astype(float)
    assert np.abs(np.diff(first, axis=1)).mean() < 20
    assert np.abs(np.diff(first, axis=2)).mean() < 20


@pytest.mark.parametrize("split, sizes", [("cifar-fs", (64, 16, 20)), ("fc100", (60, 20, 20))])
def test_splits_are_those_of_their_authors(photographs, split, sizes):
    chosen = cifar.split_classes(photographs, split)
    assert tuple(len(chosen[s]) for s in ("train", "val", "test")) == sizes
    assert len(set().union(*chosen.values())) == 100
    listed = Path(os.environ["METAJAX_DATA"]) / "cifar_fs" / "splits" / split
    for subset, classes in chosen.items():
        names = json.loads((listed / f"{subset}.json").read_text())
        if split == "cifar-fs":
            assert {photographs.names[i] for i in classes} == {name for _, name in names}
        else:
            assert {photographs.superclasses[i] for i in classes} == set(names)


def test_episodes_of_photographs(folder, key):
    sample = mj.tasks.cifar_fs("train", shot=2, query_shot=3, augment=True, data=folder)
    tasks = mj.tasks.batch(sample, key, 50)
    assert tasks.support.x.shape == (50, 10, 32, 32, 3)
    many = np.asarray(tasks.query.x)
    assert abs(many.mean()) < 0.2
    assert many.std() == pytest.approx(1, abs=0.1)


def test_photographs_have_no_polarity_and_equal_sources_are_one_program(folder):
    assert DATASETS["cifar_fs"].pictures is not None
    pictures = DATASETS["cifar_fs"].pictures(folder)
    assert pictures.ink is None
    assert [own.shape for own in pictures.classes] == [(600, 32, 32, 3)] * 100
    with pytest.raises(ValueError, match="ink is needed bright or dark"):
        mj.tasks.images(pictures, way=5, shot=1, query_shot=1, ink="bright")
    first, second = (mj.tasks.cifar_fs("val", augment=True, data=folder) for _ in range(2))
    assert jax.tree.structure(first) == jax.tree.structure(second)


def _archive(path, files):
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in files:
            archive.add(__file__, f"{cifar.FOLDER}/{name}")


@pytest.mark.parametrize("kind", ["cut off", "renamed", "without images"])
def test_a_broken_archive_is_named_with_its_remedy(kind, tmp_path):
    path = tmp_path / "cifar_fs" / cifar.ARCHIVE
    if kind == "cut off":
        path.parent.mkdir()
        path.write_bytes(b"\x1f\x8b" + bytes(100))
    elif kind == "renamed":
        _archive(path, ["data_batch_1.bin"])
    else:
        names = ["fine_label_names.txt", "coarse_label_names.txt", "train.bin", "test.bin"]
        _archive(path, names)
    with pytest.raises(ValueError, match=r"delete it and run `metajax data cifar_fs`, or download"):
        cifar.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="run `metajax data cifar_fs` to download it"):
        cifar.load(tmp_path / "elsewhere")
