"""Pictures of any source: how classes are split, sources mixed, and what is refused."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from metajax import recipes
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
    other = recipes.build(Across(**{**vars(settings), "test_source": "glyphs"}))
    assert len(_tones(other.train)) == 8 and other.test_name == f"glyphs, trained on {tones.name}"


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
        ({"source": ()}, "images: source is empty"),
        ({"size": 8}, "images: size=8 must be an integer of at least 16"),
        ({"channels": 2}, "images: channels=2 must be 1 (grey) or 3 (colours)"),
        (
            {"source": ("FOLDER",), "ink": "any"},
            "has 10 classes, of which 5 for validation and 5 for test",
        ),
        ({"source": ("FOLDER",), "way": 2}, "ink is needed bright or dark"),
    ],
)
def test_what_cannot_work_is_named(change, message, tones):
    sources = tuple(
        str(tones) if name == "FOLDER" else name for name in change.get("source", ("glyphs",))
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        recipes.build(Across(**{**change, "source": sources}, learner="protonet"))
