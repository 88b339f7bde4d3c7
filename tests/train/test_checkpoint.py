"""Checkpoints: whole or not at all, read in part, by name, and never from damaged bytes."""

import resource
import signal
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import checkpoint

STATE = mj.TrainState(
    step=jnp.int32(3),
    meta_params={"head": {"kernel": jnp.ones((2, 5)), "bias": jnp.arange(5.0)}},
    opt_state=optax.adam(1e-3).init({"w": jnp.ones(2)}),
)


def test_a_state_is_read_as_it_was_saved(tmp_path):
    checkpoint.save(tmp_path, 3, STATE)
    found = checkpoint.restore(tmp_path, jax.eval_shape(lambda: STATE))
    assert jax.tree.structure(found) == jax.tree.structure(STATE)
    chex.assert_trees_all_equal(found, STATE)
    chex.assert_trees_all_equal_dtypes(found, STATE)


def test_one_part_is_read_alone(tmp_path):
    checkpoint.save(tmp_path, 3, STATE)
    for like in (STATE.meta_params, None):
        found = checkpoint.restore(tmp_path, like, part="meta_params")
        chex.assert_trees_all_equal(found, STATE.meta_params)
    assert int(checkpoint.restore(tmp_path, jnp.int32(0), part="step")) == 3
    assert checkpoint.restore(tmp_path, part="meta_params/head")["bias"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(
        ValueError, match=r"3\.npz: there is no theta, only step, meta_params, opt_st"
    ):
        checkpoint.restore(tmp_path, part="theta")


def test_without_a_tree_nested_dicts_are_rebuilt_from_names(tmp_path):
    checkpoint.save(tmp_path, 3, STATE)
    found = checkpoint.restore(tmp_path)
    assert set(found) == {"step", "meta_params", "opt_state", "estimator_state"}
    assert found["opt_state"][0]["mu"]["w"].tolist() == [0.0, 0.0]


def test_damage_to_what_is_left_out_of_a_part_is_not_noticed_and_in_it_is(tmp_path):
    checkpoint.save(tmp_path, 3, STATE)
    path = tmp_path / "3.npz"
    content = bytearray(path.read_bytes())
    place = content.find(np.arange(5.0, dtype=np.float32).tobytes())
    content[place + 4] ^= 1
    path.write_bytes(content)
    assert int(checkpoint.restore(tmp_path, jnp.int32(0), part="step")) == 3
    with pytest.raises(
        ValueError, match=r"3\.npz is [\d,]+ bytes and not a whole file that mj\.fit"
    ):
        checkpoint.restore(tmp_path, STATE.meta_params, part="meta_params")


def test_any_flipped_bit_of_the_arrays_is_noticed(tmp_path):
    checkpoint.save(tmp_path, 3, {"w": jnp.arange(64.0)})
    path = tmp_path / "3.npz"
    whole = path.read_bytes()
    begin = whole.find(np.arange(64.0, dtype=np.float32).tobytes())
    for place in range(begin, begin + 256, 5):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="not a whole file"):
            checkpoint.restore(tmp_path, {"w": jnp.zeros(64)})


@pytest.mark.parametrize(
    "other, message",
    [
        ({"w": jnp.ones((2, 20))}, r"w is \(2, 5\) float32 on disk but \(2, 20\) float32 here"),
        ({"w": jnp.ones((2, 5), jnp.int32)}, r"w is \(2, 5\) float32 on disk but \(2, 5\) int32"),
        ({"v": jnp.ones((2, 5))}, r"v \(2, 5\) float32 is not on disk"),
        ({}, r"w \(2, 5\) float32 is not needed here"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(other, message, tmp_path):
    checkpoint.save(tmp_path, 1, {"w": jnp.ones((2, 5))})
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(tmp_path, other)


def test_the_newest_two_stay(tmp_path):
    assert checkpoint.latest(tmp_path / "none") is None
    for step in (9, 10, 100):
        checkpoint.save(tmp_path, step, {"w": jnp.full(2, step)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10.npz", "100.npz"]
    assert checkpoint.latest(tmp_path) == 100
    assert checkpoint.restore(tmp_path, step=10)["w"].tolist() == [10, 10]
    with pytest.raises(FileNotFoundError, match="there is no checkpoint of step 9"):
        checkpoint.restore(tmp_path, step=9)


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path):
    tree = {"w": jnp.asarray(np.random.default_rng(0).normal(size=10_000), jnp.float32)}
    checkpoint.save(tmp_path / "checkpoints", 1, tree)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))  # no file may grow beyond this
    try:
        with pytest.raises(
            OSError, match="step 2 could not be written, and that of step 1 is whole"
        ):
            checkpoint.save(tmp_path / "checkpoints", 2, tree)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1.npz"]
    chex.assert_trees_all_equal(checkpoint.restore(tmp_path / "checkpoints", tree), tree)


@pytest.mark.parametrize("name", ["%s{}[0]*?", "a b", "ä", "#'\""])
def test_folders_may_have_any_name(name, tmp_path):
    checkpoint.save(tmp_path / name, 1, STATE)
    chex.assert_trees_all_equal(checkpoint.restore(tmp_path / name, STATE), STATE)


def test_a_typed_key_is_the_same_key_again(tmp_path):
    tree = {"one": jax.random.key(3), "more": jax.random.split(jax.random.key(1, impl="rbg"), 2)}
    checkpoint.save(tmp_path, 1, tree)
    for found in (checkpoint.restore(tmp_path, tree), checkpoint.restore(tmp_path)):
        assert {name: leaf.dtype for name, leaf in found.items()} == {
            name: leaf.dtype for name, leaf in tree.items()
        }
        same = jax.tree.map(lambda a, b: (a == b).all(), found, tree)
        assert all(jax.tree.leaves(same))
    with pytest.raises(ValueError, match=r"one is \(\) key<fry> on disk but \(\) key<rbg> here"):
        checkpoint.restore(tmp_path, tree | {"one": jax.random.key(3, impl="rbg")})


def test_a_checkpoint_is_read_where_there_are_fewer_devices(tmp_path):
    mesh = jax.sharding.Mesh(jax.devices(), ("all",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    checkpoint.save(tmp_path, 1, {"w": jax.device_put(jnp.arange(3.0), spread)})
    code = f"""
import jax, jax.numpy as jnp, pathlib
from metajax.train import checkpoint
assert len(jax.devices()) == 1
print(checkpoint.restore(pathlib.Path({str(tmp_path)!r}), {{"w": jnp.zeros(3)}})["w"].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0.0, 1.0, 2.0]"
