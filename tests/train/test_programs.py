"""Compiled programs are kept, JAX's settings are as before, and no damage ends a run."""

import jax
import jax.numpy as jnp
import optax
import pytest

import metajax as mj
from metajax.train import programs


def setting(name):
    return getattr(jax.config, f"jax_compilation_cache_{name}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of the user's own, in which every program is kept, and no folder that JAX was told of."""
    before = setting("dir")
    monkeypatch.setattr(programs, "folder", lambda: tmp_path / "cache")
    jax.config.update("jax_compilation_cache_dir", None)
    programs.compilation_cache.reset_cache()
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before)
    programs.compilation_cache.reset_cache()


def compile_something(shift):
    return float(jax.jit(lambda x: jnp.sin(x) * shift)(0.0))


def kept(place):
    return sorted(path for path in place.glob("*-cache"))


def test_programs_are_kept_while_entered_alone(place):
    with programs.kept():
        compile_something(2.0)
        found = kept(place)
        with programs.kept():  # as `metajax train` enters around `fit`
            pass
        assert setting("dir") == str(place)
    assert found
    compile_something(3.0)
    assert kept(place) == found
    assert setting("dir") is None
    assert setting("max_size") == -1


def test_a_folder_that_jax_was_told_of_is_kept(place, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    with programs.kept():
        assert setting("dir") == str(tmp_path / "own")
    assert not place.exists()


def test_a_folder_that_cannot_be_made_changes_nothing(place):
    place.write_text("a file")
    with programs.kept():
        assert setting("dir") is None
        compile_something(4.0)


def test_damaged_programs_are_compiled_again(place):
    function = jax.jit(lambda x: jnp.cos(x) * 5.0)
    with programs.kept():
        function(0.0)
    cut_off, *_ = kept(place)
    for path in kept(place):
        path.write_bytes(b"damaged")
    cut_off.with_name(cut_off.name.removesuffix("-cache") + "-atime").unlink()
    jax.clear_caches()
    with programs.kept():
        assert not cut_off.exists()
        if kept(place):
            with pytest.warns(UserWarning, match="Error reading persistent compilation cache"):
                assert float(function(0.0)) == 5
        else:
            assert float(function(0.0)) == 5


def test_fit_keeps_programs_where_it_writes_a_run(place, tmp_path):
    learner = mj.maml(mj.mlp((3,)), mj.mse, optax.sgd(0.01), num_steps=1)

    def fit(**options):
        return mj.fit(
            learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3), mj.tasks.sinusoid(),
            key=jax.random.key(0), outer_steps=1, meta_batch=2, show_progress=False, **options,
        )  # fmt: skip

    fit()
    assert not place.exists()
    fit(run_dir=tmp_path / "run")
    assert kept(place)
    assert setting("dir") is None
