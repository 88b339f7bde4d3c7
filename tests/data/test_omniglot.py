"""Omniglot's loader, on the real zips and on broken ones."""

import gzip
import shutil
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metajax as mj
from metajax.data import DATASETS, omniglot
from metajax.recipes.vision.omniglot import Omniglot, build
from metajax.tasks.images import polarity


@pytest.fixture(scope="module")
def characters(omniglot_data):
    return omniglot.load(omniglot_data)


def test_all_characters_and_drawings_are_read(characters):
    assert characters.images.shape == (1623, 20, 28, 28)
    assert characters.images.dtype == np.uint8
    assert len({name.split("/")[1] for name in characters.names}) == 50
    # Ink is 255 on 0, and covers a small part of every drawing.
    ink = characters.images.reshape(1623 * 20, -1) / 255
    assert ink.max(axis=1).min() > 0.5
    assert 0.01 < ink.mean() < 0.2


def test_the_second_load_reads_what_the_first_one_kept(characters, omniglot_data, monkeypatch):
    monkeypatch.setattr(omniglot, "_decode", None)  # calling it would fail
    again = omniglot.load(omniglot_data)
    np.testing.assert_array_equal(again.images, characters.images)
    assert again.names == characters.names


@pytest.mark.parametrize(
    "damage", ["cut", "flipped", "emptied", "text", "another shape", "renamed"]
)
def test_a_damaged_cache_is_decoded_anew(damage, tmp_path):
    images = np.resize(np.arange(251, dtype=np.uint8), (1623, 20, 28, 28))
    names = [f"images_background/Greek/{i}" for i in range(1623)]
    path, whole = tmp_path / "kept.npz", omniglot.Characters(images, names)
    if damage == "another shape":
        whole = whole._replace(images=images[:9])
    omniglot._write_cached(path, whole, "checksum")
    content = path.read_bytes()
    if damage == "renamed":
        assert omniglot._read_cached(path, "another checksum") is None
        found = omniglot._read_cached(path, "checksum")
        assert found is not None
        np.testing.assert_array_equal(found.images, images)
        return
    for place in range(3):  # the header of the zip, of an array, and the compressed data
        start = len(content) * place // 3
        broken = {
            "cut": content[: start + 100],
            "flipped": content[:start]
            + bytes(255 - b for b in content[start : start + 400])
            + content[start + 400 :],
            "emptied": content[:start] + bytes(400) + content[start + 400 :],
            "text": b"checksum" * place,
            "another shape": content,
        }[damage]
        path.write_bytes(broken)
        assert omniglot._read_cached(path, "checksum") is None
    path.unlink()
    assert omniglot._read_cached(path, "checksum") is None


def test_a_data_set_gives_all_characters_as_pictures(characters, omniglot_data):
    assert DATASETS["omniglot"].pictures is not None
    pictures = DATASETS["omniglot"].pictures(omniglot_data)
    assert pictures.ink == "bright" == polarity(pictures.classes[:200])
    assert pictures.names == characters.names
    np.testing.assert_array_equal(np.stack(pictures.classes)[..., 0], characters.images)
    assert DATASETS["omniglot"].describe(omniglot_data) == "1623 characters of 20 drawings"


@pytest.mark.parametrize(
    "split, sizes",
    [("random", (1100, 100, 423)), ("vinyals", (1028, 172, 423)), ("lake", (792, 172, 659))],
)
def test_splits_are_disjoint_and_have_the_published_sizes(characters, split, sizes):
    chosen = omniglot.split_names(characters.names, split, seed=0)
    assert tuple(len(chosen[s]) for s in ("train", "val", "test")) == sizes
    assert len(set().union(*chosen.values())) == sum(sizes)


@pytest.mark.parametrize("subset", ["train", "val", "test"])
def test_the_vinyals_split_is_the_published_list(characters, omniglot_data, subset):
    path = omniglot_data / "omniglot" / "splits" / "vinyals" / f"{subset}.txt.gz"
    listed = {
        line.rpartition("/")[0] for line in gzip.decompress(path.read_bytes()).decode().split()
    }
    chosen = omniglot.split_names(characters.names, "vinyals", seed=0)[subset]
    assert {characters.names[i].partition("/")[2] for i in chosen} == listed


def test_episodes_of_drawings(omniglot_data, key):
    sample = mj.tasks.omniglot("test", way=20, shot=1, query_shot=5, data=omniglot_data)
    support, query = jax.tree.map(lambda leaf: leaf[0], mj.tasks.batch(sample, key, 1))
    assert support.x.shape == (20, 28, 28, 1)
    assert query.y.tolist() == np.repeat(np.arange(20), 5).tolist()
    assert 0 <= float(query.x.min()) <= float(query.x.max()) <= 1
    drawings = {row.tobytes() for row in np.asarray(support.x)}
    assert not drawings & {row.tobytes() for row in np.asarray(query.x)}


def test_distortion_moves_each_drawing_its_own_way(omniglot_data, key):
    plain = mj.tasks.omniglot(data=omniglot_data)(key)
    warped = mj.tasks.omniglot(distortion=0.1, data=omniglot_data)(key)
    for before, after in ((plain.support.x, warped.support.x), (plain.query.x, warped.query.x)):
        assert not np.allclose(before, after, atol=0.1)
        assert 0 <= float(after.min()) <= float(after.max()) <= 1
        # Ink moves and is stretched by a tenth or so; it does not come or go.
        np.testing.assert_allclose(after.sum(axis=(1, 2)), before.sum(axis=(1, 2)), rtol=0.5)


@pytest.mark.parametrize("rotations, turns", [("none", 1), ("class", 4), ("episode", 4)])
@pytest.mark.parametrize("reflections, sides", [(False, 1), (True, 2)])
def test_a_turned_or_mirrored_character_is_another(
    rotations, turns, reflections, sides, key, monkeypatch
):
    drawing = np.arange(28 * 28).reshape(28, 28).astype(np.uint8)  # as all are: only views differ
    images = np.broadcast_to(drawing, (1623, omniglot.DRAWINGS, 28, 28))
    names = [f"images_background/Greek/{i}" for i in range(len(images))]
    monkeypatch.setattr(omniglot, "load", lambda *_, **__: omniglot.Characters(images, names))
    sample = mj.tasks.omniglot(way=64, shot=2, rotations=rotations, reflections=reflections)
    classes = np.asarray(sample(key).support.x).reshape(64, 2, 28, 28)
    np.testing.assert_array_equal(classes[:, 0], classes[:, 1])
    assert len({of_class.tobytes() for of_class in classes}) == turns * sides


def test_seeds_of_the_run_can_share_a_split(omniglot_data, key):
    def drawings(seed, split_seed=None):
        settings = Omniglot(data=str(omniglot_data), seed=seed, split_seed=split_seed)
        return build(settings).test(key).support.x

    np.testing.assert_array_equal(drawings(1, split_seed=0), drawings(0))
    assert not np.array_equal(drawings(1), drawings(0))


def test_a_warp_by_nothing_is_the_identity_and_a_warp_is_not_shared(key):
    from metajax.tasks.views import warp

    drawings = jax.random.uniform(key, (3, 9, 7, 1)).at[1].set(0.0).at[2].set(0.0)
    np.testing.assert_allclose(warp(key, drawings, 0.0), drawings, atol=1e-5)
    same = jnp.repeat(drawings[:1], 2, axis=0)
    first, second = warp(key, same, 0.2)
    assert not np.allclose(first, second, atol=0.05)


def test_more_than_there_is_is_refused(omniglot_data):
    with pytest.raises(ValueError, match="omniglot train: shot=5 and query_shot=19 need 24"):
        mj.tasks.omniglot(shot=5, query_shot=19, data=omniglot_data)
    with pytest.raises(ValueError, match="way=500 needs 500 classes, but there are 423"):
        mj.tasks.omniglot("test", way=500, data=omniglot_data)
    with pytest.raises(ValueError, match=r"distortion=0\.7 must be at least 0 and below 0\.5"):
        mj.tasks.omniglot(distortion=0.7, data=omniglot_data)
    misspelt: Any = "vinyal"
    with pytest.raises(ValueError, match="split='vinyal' is unknown; did you mean 'vinyals'"):
        mj.tasks.omniglot(split=misspelt, data=omniglot_data)


def test_a_missing_data_set_names_the_places_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("METAJAX_DATA", str(tmp_path / "named"))
    with pytest.raises(FileNotFoundError, match=r"named/omniglot .* and .*metajax data omniglot"):
        mj.tasks.omniglot()
    with pytest.raises(FileNotFoundError, match=r"looked in .*elsewhere/omniglot") as caught:
        mj.tasks.omniglot(data=tmp_path / "elsewhere")
    assert "named" not in str(caught.value).split(";")[0]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root, as in many containers, may read all
    with pytest.raises(
        PermissionError, match="may not be read by this user; change its permissions"
    ):
        mj.tasks.omniglot(data=tmp_path)


def _folder(tmp_path, background):
    folder = tmp_path / "omniglot"
    folder.mkdir()
    background(folder / "images_background.zip")
    (folder / "images_evaluation.zip").write_bytes(b"")
    return tmp_path


def test_a_truncated_zip_is_refused(tmp_path, omniglot_data):
    whole = (omniglot_data / "omniglot" / "images_background.zip").read_bytes()
    data = _folder(tmp_path, lambda path: path.write_bytes(whole[:100_000]))
    with pytest.raises(
        ValueError, match="is 100,000 bytes and not a whole zip file; delete it and"
    ):
        mj.tasks.omniglot(data=data)


def test_a_renamed_zip_is_refused(tmp_path, omniglot_data):
    other = omniglot_data / "omniglot" / "images_evaluation.zip"
    data = _folder(tmp_path, lambda path: shutil.copy(other, path))
    with pytest.raises(
        ValueError, match="13,180 drawings of 659 characters under images_evaluation"
    ):
        mj.tasks.omniglot(data=data)


def test_another_zip_is_refused(tmp_path):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "something else")

    with pytest.raises(ValueError, match=r"holds 0 drawings of 0 characters under readme\.txt"):
        mj.tasks.omniglot(data=_folder(tmp_path, write))
