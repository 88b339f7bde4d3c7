"""Rows on disk: what is read is what was written, and what is damaged is named."""

import json
import pickle

import numpy as np
import pytest

from metajax.data import shards
from metajax.files import DamagedError


@pytest.fixture
def written(tmp_path, rng):
    columns = {"x": rng.normal(size=(23, 2, 3)).astype(np.float32), "y": rng.integers(0, 9, 23)}
    parts = [slice(0, 4), slice(4, 5), slice(5, 23)]
    number = shards.write(
        tmp_path / "set",
        [{name: c[part] for name, c in columns.items()} for part in parts],
        rows_per_file=5,
    )
    assert number == 23
    return tmp_path / "set", columns


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_rows_are_those_that_were_written(written, rng):
    folder, columns = written
    rows = rng.integers(0, 23, (4, 7))
    with shards.Shards(folder) as found:
        for name, column in columns.items():
            assert found[name].shape == column.shape and found[name].dtype == column.dtype
            assert np.array_equal(found[name][rows], column[rows])
            sent = pickle.loads(pickle.dumps(found[name]))
            assert np.array_equal(sent[rows], column[rows])
            sent.close()
        assert found["x"][np.zeros(0, int)].shape == (0, 2, 3)
    files = sorted(folder.glob("x-*.npy"))
    assert [len(np.load(file)) for file in files] == [5, 5, 5, 5, 3]  # any program can read them


@pytest.mark.parametrize("rows", [[23], [-1], [0.5]])
def test_rows_that_are_none_are_refused(written, rows):
    with shards.Shards(written[0]) as found, pytest.raises(IndexError, match="integers of 0 to 22"):
        found["x"][np.array(rows)]


@pytest.mark.parametrize(
    "batches, sentence",
    [
        ([], "there are no rows"),
        ([{"x": np.ones(2)}, {"x": np.ones((2, 3))}], "batch 1 holds"),
        ([{"x": np.ones(2)}, {"y": np.ones(2)}], "batch 1 holds"),
        ([{"x": np.ones(2), "y": np.ones(3)}], "all need the same first axis"),
        ([{"x": np.float32(1)}], "all need the same first axis"),
        ([{"x": np.array(["a", None])}], "Python objects"),
        ([{"../x": np.ones(2)}], "must be words"),
    ],
)
def test_what_cannot_be_written_is_named(batches, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        shards.write(tmp_path, batches)
    with pytest.raises(FileNotFoundError, match="writing was cut off"):
        shards.Shards(tmp_path)


def test_a_folder_that_is_taken_is_left_alone(written):
    with pytest.raises(FileExistsError, match="is not empty"):
        shards.write(written[0], [{"x": np.ones(2)}])


def test_damage_is_named(written):
    folder, _ = written
    path = folder / "x-00002.npy"
    whole = path.read_bytes()
    for damaged, sentence in {
        whole[:-1]: "ends in the middle of row 4",
        b"not numpy" + whole[9:]: "cannot be read",
        whole.replace(b"(5, 2, 3)", b"(9, 2, 3)"): "but index.json names",
    }.items():
        path.write_bytes(damaged)
        with shards.Shards(folder) as found, pytest.raises(DamagedError, match=sentence):
            found["x"][np.array([14])]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"x-00002\.npy is missing"):
        shards.Shards(folder)
    index = json.loads((folder / "index.json").read_text())
    for broken in ("{", "[]", json.dumps(index | {"counts": [-1]}), json.dumps({"counts": [1]})):
        (folder / "index.json").write_text(broken)
        with pytest.raises(DamagedError, match=r"index\.json is damaged"):
            shards.Shards(folder)
