"""A trained optimiser to a file and back."""

import json
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import archive

DAMAGED = r"not a whole file that mj\.optimizers\.export wrote"
OPTIMIZERS = {
    "lstm": mj.optimizers.lstm(hidden=2, layers=1, scale=0.3),
    "meta_lstm": mj.optimizers.meta_lstm(hidden=2),
    "mlp": mj.optimizers.mlp(hidden=2, layers=1),
    "hyperparameters": mj.optimizers.hyperparameters(
        optax.nadamw, positive={"learning_rate": 0.1}, fraction={"b1": 0.5}, eps_root=1e-8
    ),
    "schedule": mj.optimizers.schedule("sgd", 2, 0.1),
}


def trained(optimizer):
    """Weights that no rounding or default would give."""
    return jax.tree.map(
        lambda w: w + jnp.sin(1 + jnp.arange(w.size).reshape(w.shape)) / 7, optimizer
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_updates_are_the_same_bits_after_a_round_trip(optimizer, tmp_path, key):
    weights = trained(optimizer.init(key))
    mj.optimizers.export(tmp_path / "optimizer.npz", optimizer, weights)
    params = {"w": jax.random.normal(key, (2, 3)), "b": jnp.ones(2)}
    gradients = jax.tree.map(jnp.sin, params)

    def updates(rule):
        first, state = rule.update(gradients, rule.init(params), params)
        return first, rule.update(first, state, params)[0]

    chex.assert_trees_all_equal(
        updates(mj.optimizers.load(tmp_path / "optimizer.npz")), updates(optimizer.build(weights))
    )
    again, kept = mj.optimizers.read(tmp_path / "optimizer.npz")
    assert again.recipe == optimizer.recipe
    chex.assert_trees_all_equal(kept, weights)
    assert [path.name for path in tmp_path.iterdir()] == ["optimizer.npz"]  # nothing half-written


def test_half_precision_is_kept_bit_for_bit(tmp_path, key):
    optimizer = OPTIMIZERS["mlp"]
    weights = jax.tree.map(lambda w: w.astype(jnp.bfloat16), trained(optimizer.init(key)))
    mj.optimizers.export(tmp_path / "half.npz", optimizer, weights)
    _, kept = mj.optimizers.read(tmp_path / "half.npz")
    chex.assert_trees_all_equal_dtypes(kept, weights)
    chex.assert_trees_all_equal(kept, weights)


def test_an_optimizer_without_a_name_is_loaded_by_who_has_it(tmp_path, key):
    mine = mj.optimizers.hyperparameters(lambda rate: optax.sgd(rate), positive={"rate": 0.25})
    mj.optimizers.export(tmp_path / "mine.npz", mine, mine.init(key))
    with pytest.raises(
        ValueError, match=r"has no name in mj.optimizers; give it: mj.optimizers.load\(path, opt"
    ):
        mj.optimizers.load(tmp_path / "mine.npz")
    rule = mj.optimizers.load(tmp_path / "mine.npz", mine)
    updates, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)))
    chex.assert_trees_all_equal(updates, jnp.full(1, -0.25))


def test_a_part_of_optax_that_is_no_optimizer_is_given_again(tmp_path, key):
    mine = mj.optimizers.hyperparameters(optax.trace, fraction={"decay": 0.5})
    mj.optimizers.export(tmp_path / "mine.npz", mine, mine.init(key))
    with pytest.raises(ValueError, match=r"give it: mj.optimizers.load\(path, optimizer"):
        mj.optimizers.load(tmp_path / "mine.npz")
    rule = mj.optimizers.load(tmp_path / "mine.npz", mine)
    updates, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)))
    chex.assert_trees_all_equal(updates, jnp.ones(1))


def test_nothing_in_the_file_is_executed(tmp_path, key):
    mj.optimizers.export(
        tmp_path / "optimizer.npz", OPTIMIZERS["lstm"], OPTIMIZERS["lstm"].init(key)
    )
    with np.load(tmp_path / "optimizer.npz", allow_pickle=False) as arrays:
        header = json.loads(str(arrays["header"]))
        assert all(arrays[name].dtype != object for name in arrays.files)
    assert header["settings"] == {"hidden": 2, "layers": 1, "scale": 0.3}


def rewrite(path, **changes):
    """The same file with another header."""
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    header = json.loads(str(arrays.pop("header"))) | changes
    del arrays["seal"]
    archive.write(path, header, arrays)  # sealed, as whoever forges a file would do


def test_what_is_not_such_a_file_is_refused(tmp_path, key):
    optimizer, path = OPTIMIZERS["lstm"], tmp_path / "optimizer.npz"
    with pytest.raises(
        FileNotFoundError, match=r"there is no such file; give one that mj\.optimizers\.export"
    ):
        mj.optimizers.load(path)
    mj.optimizers.export(path, optimizer, optimizer.init(key))
    whole = path.read_bytes()

    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    wrong = {"truncated": whole[:-100], "empty": b"", "text": b"hello", "flipped": flipped}
    for name, content in wrong.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=DAMAGED):
            mj.optimizers.load(path)
            pytest.fail(f"{name} was read")
    np.savez(path, weights=np.ones(3))
    with pytest.raises(ValueError, match=DAMAGED):
        mj.optimizers.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"not an array")
    with pytest.raises(ValueError, match=DAMAGED):
        mj.optimizers.load(path)

    for changes, message in [
        ({"version": 2}, "has version 2, but this metajax reads up to 1; upgrade metajax"),
        ({"format": "something"}, "its format is 'something'"),
        ({"optimizer": "lstn"}, "optimizer='lstn' is unknown; did you mean 'lstm'"),
        ({"settings": {"hidden": 2, "width": 1}}, "cannot be made .*width"),
        ({"settings": [1]}, "settings are missing"),
        ({"weights": {"w": 3}}, DAMAGED),
        ({"optimizer": "schedule", "settings": {"make": "sgdd"}}, "unknown; did you mean 'sgd'"),
        (
            {"settings": {"hidden": 3, "layers": 1}},
            r"cells/0/bias is \(1, 8\) and lstm needs it \(1, 12\)|cells/0/kernel is \(4, 8\) and",
        ),
    ]:
        path.write_bytes(whole)
        rewrite(path, **changes)
        with pytest.raises(ValueError, match=message):
            mj.optimizers.load(path)


@pytest.mark.parametrize(
    "name", ["apply_updates", "tree_utils", "GradientTransformation", "__doc__"]
)
def test_a_file_names_no_part_of_optax_but_its_optimisers(name, tmp_path, key):
    optimizer, path = OPTIMIZERS["schedule"], tmp_path / "optimizer.npz"
    mj.optimizers.export(path, optimizer, optimizer.init(key))
    rewrite(path, settings={"make": name, "num_steps": 2, "rate": 0.1})
    with pytest.raises(ValueError, match=f"make='{name}' is unknown"):
        mj.optimizers.load(path)


def test_weights_of_another_optimizer_are_refused_and_what_was_there_stays(tmp_path, key):
    optimizer, path = OPTIMIZERS["lstm"], tmp_path / "optimizer.npz"
    mj.optimizers.export(path, optimizer, optimizer.init(key))
    before = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=r"export: the weights: cells/0/kernel is absent and lstm needs it \(4, 8\)",
    ):
        mj.optimizers.export(path, optimizer, OPTIMIZERS["mlp"].init(key))
    odd = mj.optimizers.hyperparameters(optax.sgd, positive={"learning_rate": 1.0}, momentum=None)
    odd = odd._replace(recipe=("hyperparameters", {"make": optax.sgd}))
    with pytest.raises(ValueError, match="JSON does not hold them"):
        mj.optimizers.export(path, odd, odd.init(key))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_double_precision_is_not_rounded_in_silence(tmp_path, key):
    optimizer = OPTIMIZERS["schedule"]
    with jax.enable_x64(True):
        mj.optimizers.export(tmp_path / "double.npz", optimizer, optimizer.init(key))
        assert mj.optimizers.read(tmp_path / "double.npz")[1].dtype == jnp.float64
    with pytest.raises(ValueError, match="is float64, which JAX would round here"):
        mj.optimizers.load(tmp_path / "double.npz")
