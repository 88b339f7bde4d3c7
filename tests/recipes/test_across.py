"""Pictures of any source: how classes are split, sources mixed, and what is refused."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from metajax import recipes
from metajax.cli.evaluate import as_they_are
from metajax.data import cifar
from metajax.recipes import plots
from metajax.recipes import run as runs
from metajax.recipes.elsewhere import elsewhere
from metajax.recipes.vision.across import Across


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A folder of ten classes with four pictures each, all of one brightness that names the class."""
    folder = tmp_path_factory.mktemp("tones")
    for label in range(10):
        (folder / f"tone{label}").mkdir()
        for i in range(4):
            tone = Image.new("L", (20, 24), 20 * label + i)
            tone.save(folder / f"tone{label}" / f"{i}.png")
    return folder


def _tones(sample, draws=20):
    tasks = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), draws))
    pixels = np.concatenate([np.ravel(part.x[:, :, 0, 0]) for part in tasks])
    return set((np.rint(255 * pixels) // 20).astype(int).tolist())


def test_training_validation_and_test_have_no_class_in_common(tones):
    settings = Across(
        learner="nearest_neighbour", source=(str(tones),), way=2, ink="any", size=16, query_shot=1,
        test_query_shot=1,
    )  # fmt: skip
    e = recipes.build(settings)
    parts = [_tones(sample) for sample in (e.train, e.val, e.test)]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert set.union(*parts) == set(range(10))
    assert e.test_name == f"{tones.name}, trained on {tones.name}"
    there = elsewhere(e, "glyphs")
    assert there.test_name == "glyphs"
    # Named by whatever path, the folder has only the classes that were held out.
    for path in (str(tones), f"{tones}/../{tones.name}"):
        same = elsewhere(e, path)
        assert _tones(same.test) == parts[2] and same.test_name == tones.name
    other = recipes.build(Across(**{**vars(settings), "test_source": "glyphs"}))
    assert len(_tones(other.train)) == 8 and other.test_name == f"glyphs, trained on {tones.name}"
    with pytest.raises(ValueError, match="has classes that this run was trained on"):
        elsewhere(other, str(tones))


def test_a_folder_with_another_class_is_no_longer_that_of_the_run(tmp_path, monkeypatch):
    def add(label):
        (tmp_path / "birds" / label).mkdir(parents=True)
        for i in range(2):
            tone = Image.new("L", (16, 16), 20 * i)
            tone.save(tmp_path / "birds" / label / f"{i}.png")

    for label in "abcdefgh":
        add(label)
    monkeypatch.chdir(tmp_path)
    settings = Across(
        learner="protonet", source=("birds",), way=2, ink="any", size=16, query_shot=1,
        test_query_shot=1, outer_steps=1, meta_batch=1, channels=1, network="conv4",
    )  # fmt: skip
    runs.train(recipes.build(settings), settings, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # the folder was given from another one
    kept = runs.read(tmp_path / "run").parts
    assert sorted(name for part in kept.values() for name in part) == [*"abcdefgh"]
    add("i")
    with pytest.raises(ValueError, match=r"birds, for .* is no longer what it was .*is new"):
        runs.read(tmp_path / "run")


def _photographs(data):
    """CIFAR-100's classes in small: every pixel of a photograph is its class."""
    held_out = [f"{cifar._FC100_VAL} {cifar._FC100_TEST}".split(), [f"other{i}" for i in range(12)]]
    groups = [name for names in held_out for name in names]
    fine = f"{cifar._CIFAR_FS_VAL} {cifar._CIFAR_FS_TEST}".split()
    names = fine + [f"thing{i}" for i in range(64)]
    images = np.broadcast_to(
        np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1, 1), (100, 2, 16, 16, 3)
    )
    return cifar.Photographs(images, names, [groups[i % 20] for i in range(100)])


def test_published_splits_are_for_training_and_for_testing(monkeypatch, tones, key):
    monkeypatch.setattr(cifar, "load", _photographs)
    options = {"learner": "nearest_neighbour", "way": 2, "ink": "any", "size": 16, "query_shot": 1,
               "test_query_shot": 1, "channels": 3}  # fmt: skip

    def classes(sample):
        tasks = jax.jit(jax.vmap(sample))(jax.random.split(key, 400))
        return set(np.rint(255 * np.ravel(tasks.support.x[..., 0, 0, 0])).astype(int).tolist())

    split = cifar.split_classes(_photographs(None), "fc100")
    e = recipes.build(Across(source=("fc100",), **options))
    found = [classes(sample) for sample in (e.train, e.val, e.test)]
    assert found == [set(split[part]) for part in ("train", "val", "test")]
    assert classes(elsewhere(e, "fc100").test) == set(split["test"])
    with pytest.raises(ValueError, match="on='cifar_fs' has classes that this run was trained on"):
        elsewhere(e, "cifar_fs")
    e = recipes.build(Across(source=("cifar_fs",), **options))
    with pytest.raises(ValueError, match="on='fc100' has classes that this run was trained on"):
        elsewhere(e, "fc100")
    with pytest.raises(ValueError, match="images: fc100 and cifar_fs are of the same pictures"):
        recipes.build(Across(source=("fc100",), test_source="cifar_fs", **options))
    # A run on other pictures is tested on the published test classes.
    other = recipes.build(Across(source=(str(tones),), **options))
    assert classes(elsewhere(other, "fc100").test) == set(split["test"])


def test_rotations_are_for_training_alone(tmp_path, key):
    # Every picture of class c is bright in its first rows, the more the greater c.
    for label in range(6):
        (tmp_path / f"{label}").mkdir()
        for i in range(2):
            pixels = np.zeros((16, 16), np.uint8)
            pixels[: label + 1] = 255
            Image.fromarray(pixels).save(tmp_path / f"{label}" / f"{i}.png")
    options = {"learner": "protonet", "way": 2, "ink": "any", "size": 16, "query_shot": 1,
               "test_query_shot": 1, "source": (str(tmp_path),)}  # fmt: skip

    def pictures(rotations):
        e = recipes.build(Across(rotations=rotations, **options))
        parts = [jax.jit(jax.vmap(p))(jax.random.split(key, 50)) for p in (e.train, e.val)]
        for task in parts:  # all pictures of a class are in one view
            order = [np.argsort(half.y[0]) for half in task]
            np.testing.assert_array_equal(task.support.x[0, order[0]], task.query.x[0, order[1]])
        return [np.unique(p.support.x.reshape(-1, 256), axis=0) for p in parts]

    counts = {name: [len(p) for p in pictures(name)] for name in ("none", "episode", "class")}
    assert counts == {"none": [2, 2], "episode": [8, 2], "class": [8, 2]}


def test_several_sources_are_mixed(tones):
    e = recipes.build(
        Across(
            learner="protonet",
            source=("glyphs", str(tones)),
            way=2,
            ink="any",
            query_shot=1,
            test_query_shot=1,
        )
    )
    tasks = jax.jit(jax.vmap(e.train))(jax.random.split(jax.random.key(0), 20))
    # Tones alone are of one brightness.
    flat = np.asarray(tasks.support.x).std(axis=(1, 2, 3, 4)) < 0.01
    plain = np.ptp(np.asarray(tasks.support.x[:, 0]), axis=(1, 2, 3)) == 0
    assert 0 < plain.sum() < 20 and flat.sum() <= plain.sum()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"source": ("glyfs",)},
            "images: source='glyfs' is neither a source nor a folder. Did you mean",
        ),
        (
            {"test_source": "mnits"},
            "images: test_source='mnits' is neither a source nor a folder. Did you mean 'mnist'",
        ),
        ({"source": ()}, "images: source=() must name at least one"),
        ({"source": ("glyphs", "glyphs")}, "and none twice"),
        ({"rotations": "class"}, "rotations='class' has no effect with source=('glyphs',)"),
        ({"distortion": 0.6}, "distortion=0.6 must be at least 0 and below 0.5"),
        ({"source": ("FOLDER", "FOLDER/.")}, "and none twice"),
        ({"split_seed": 7}, "split_seed=7 has no effect with source=('glyphs',)"),
        ({"size": 8}, "images: size=8 must be an integer of at least 16"),
        ({"channels": 2}, "images: channels=2 must be 1 (grey) or 3 (colours)"),
        (
            {"source": ("FOLDER",), "ink": "any"},
            "has 10 classes, of which 5 for validation and 5 for test",
        ),
        (
            {"source": ("FOLDER",), "way": 2, "query_shot": 1, "test_query_shot": 1},
            "ink is needed bright or dark",
        ),
        ({"source": ("FOLDER",), "way": 2}, "need 6 pictures of each class, but tone"),
    ],
)
def test_what_cannot_work_is_named(change, message, tones):
    sources = tuple(
        name.replace("FOLDER", str(tones)) for name in change.get("source", ("glyphs",))
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        recipes.build(Across(**{**change, "source": sources}, learner="protonet"))


def test_other_pictures_may_stay_as_they_are(tones):
    e = recipes.build(Across(learner="protonet", way=2, test_query_shot=1))
    with pytest.raises(ValueError, match="ink is needed bright or dark"):
        elsewhere(e, str(tones))
    assert elsewhere(as_they_are(e, str(tones)), str(tones)).test_name == tones.name


def test_photographs_are_shown_in_colours_and_drawings_as_dark_ink():
    photographs = np.zeros((2, 4, 4, 3))
    photographs[1] = [-1.0, 0.0, 3.0]  # normalised, the least is -1 and the greatest 3
    figure = plots.episode(photographs, np.arange(2), np.array([0, 0]), "")
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    np.testing.assert_allclose(shown[0], 0.25)
    np.testing.assert_allclose(shown[1][0, 0], [0, 0.25, 1])
    assert [axes.get_title() for axes in figure.axes] == ["class 0", "0, not 1"]
    drawing = np.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    (axes,) = plots.episode(drawing, np.zeros(1), np.zeros(1), "").axes
    assert np.asarray(axes.images[0].get_array()).tolist() == [[1.0, 0.0]]
    for inverted, tone in ((True, 0.1), (False, 0.9)):
        figure = plots.episode(
            np.full((1, 4, 4, 1), 0.9), np.zeros(1), np.zeros(1), "", inverted=inverted
        )
        np.testing.assert_allclose(np.asarray(figure.axes[0].images[0].get_array()), tone)
