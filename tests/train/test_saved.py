"""`mj.save` and `mj.load`: any pytree of arrays, the same bits, nothing executed."""

import os
import pickle
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj

TREE = {
    "dict": {"w": jnp.arange(6.0).reshape(2, 3), "half": jnp.array([1 / 3], jnp.bfloat16)},
    "list": [jnp.array([True, False]), None, (jnp.int8(3),), [], {}],
    "examples": mj.Examples(x=np.arange(3), y={"t": np.float64(1 / 3)}, mask=None),
    "numbers": (1, 2.5, True, 1j),
    "optimizer": optax.adam(1e-3).init({"w": jnp.ones(2)}),
    "empty": jnp.zeros((0, 3)),
    "file": jnp.ones(1),
    "a/b": jnp.zeros(1),
    "a": {"b": jnp.ones(1)},
    "é\n\\": jnp.full(2, jnp.nan),
}


def check_same(found, tree):
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        assert isinstance(one, jax.Array) == isinstance(other, jax.Array)
        assert np.asarray(one).dtype == np.asarray(other).dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_a_tree_is_the_same_bits_after_a_round_trip(tmp_path):
    mj.save(tmp_path / "tree.npz", TREE)
    check_same(mj.load(tmp_path / "tree.npz", like=TREE), TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["tree.npz"]


def test_without_like_dicts_lists_tuples_none_and_numbers_come_back(tmp_path):
    plain = {name: TREE[name] for name in ("dict", "list", "numbers", "empty", "a/b", "a")}
    mj.save(str(tmp_path / "tree.npz"), plain)
    found = mj.load(str(tmp_path / "tree.npz"))
    check_same(found, plain)
    assert [type(number) for number in found["numbers"]] == [int, float, bool, complex]


def test_without_like_namedtuples_are_dicts_of_their_fields(tmp_path):
    mj.save(tmp_path / "tree.npz", TREE["examples"])
    found = mj.load(tmp_path / "tree.npz")
    assert list(found) == ["x", "y", "mask"]
    assert found["mask"] is None
    assert found["y"]["t"] == 1 / 3


@pytest.mark.parametrize("tree", [jnp.ones(2), 3, None, (), {}])
def test_the_smallest_trees(tree, tmp_path):
    mj.save(tmp_path / "tree", tree)
    check_same(mj.load(tmp_path / "tree"), tree)
    check_same(mj.load(tmp_path / "tree", like=tree), tree)


def test_meta_params_are_read_by_shape(tmp_path, key):
    learner = mj.maml(mj.mlp((4,)), mj.mse, optax.sgd(0.1), 1)
    meta_params = learner.init(key, jnp.ones((3, 1)))
    mj.save(tmp_path / "meta_params.npz", meta_params)
    like = jax.eval_shape(learner.init, key, jnp.ones((3, 1)))
    chex.assert_trees_all_equal(mj.load(tmp_path / "meta_params.npz", like), meta_params)
    wider = mj.maml(mj.mlp((8,)), mj.mse, optax.sgd(0.1), 1)
    like = jax.eval_shape(wider.init, key, jnp.ones((3, 1)))
    with pytest.raises(
        ValueError,
        match=r"meta_params\.npz: params/Dense_0/bias is \(4,\) float32 on disk but \(8,\) float32",
    ):
        mj.load(tmp_path / "meta_params.npz", like)


@pytest.mark.parametrize("leaf", ["text", object(), np.array(["a"]), np.array([None]), 2**70])
def test_what_is_no_array_is_refused_and_what_was_there_stays(leaf, tmp_path):
    mj.save(tmp_path / "tree.npz", {"w": jnp.ones(1)})
    with pytest.raises(
        ValueError, match=r"save: layers/1 is of type .* must be an array of numbers"
    ):
        mj.save(tmp_path / "tree.npz", {"layers": [jnp.ones(1), leaf]})
    assert mj.load(tmp_path / "tree.npz")["w"].tolist() == [1.0]


def test_big_endian_arrays_keep_their_values(tmp_path):
    mj.save(tmp_path / "tree.npz", np.array([1.5, -2.0], ">f4"))
    assert mj.load(tmp_path / "tree.npz").tolist() == [1.5, -2.0]


def test_numpy_reads_the_file_too(tmp_path):
    mj.save(tmp_path / "tree.npz", {"head": {"kernel": jnp.arange(3.0)}})
    with np.load(tmp_path / "tree.npz", allow_pickle=False) as arrays:
        assert arrays["tree/head/kernel"].tolist() == [0, 1, 2]


def test_files_that_are_something_else_are_refused(tmp_path):
    path = tmp_path / "tree.npz"
    with pytest.raises(FileNotFoundError, match=r"there is no such file; give one that mj\.save"):
        mj.load(path)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(FileNotFoundError):
        mj.load(tmp_path / "pipe")
    mj.save(path, {"w": jnp.ones(500)})
    whole = path.read_bytes()
    wrong = {"truncated": whole[:-100], "empty": b"", "text": b"hello", "pickle": pickle.dumps({})}
    for name, content in wrong.items():
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"tree\.npz is \d.* not a whole file that mj\.save wro"
        ):
            mj.load(path)
            pytest.fail(f"{name} was read")
    optimizer = mj.optimizers.mlp(hidden=2)
    mj.optimizers.export(path, optimizer, optimizer.init(jax.random.key(0)))
    with pytest.raises(ValueError, match="its format is 'metajax learned optimizer'"):
        mj.load(path)


def test_a_small_file_does_not_unpack_to_a_large_one(tmp_path):
    mj.save(tmp_path / "tree.npz", {"w": jnp.zeros(10)})
    with (
        zipfile.ZipFile(tmp_path / "tree.npz") as source,
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
    with pytest.raises(ValueError, match="is compressed"):
        mj.load(tmp_path / "bomb.npz")


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*none does not exist; create it"):
        mj.save(tmp_path / "none" / "tree.npz", jnp.ones(1))
    with pytest.raises(OSError, match=f"{tmp_path} could not be written"):
        mj.save(tmp_path, jnp.ones(1))


def test_double_precision_is_not_rounded_in_silence(tmp_path):
    with jax.enable_x64(True):
        mj.save(tmp_path / "double.npz", {"w": jnp.array([1 / 3])})
        assert mj.load(tmp_path / "double.npz")["w"].dtype == jnp.float64
    with pytest.raises(ValueError, match="w is float64, which JAX would round here"):
        mj.load(tmp_path / "double.npz")
