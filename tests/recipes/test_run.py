"""Runs read again, in this process and in another."""

import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import recipes
from metajax.recipes import run
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.vision.omniglot import Omniglot

PROGRAM = """
import sys, jax, numpy as np, metajax as mj
run = mj.restore(sys.argv[1])
support = run.experiment.test(jax.random.key(3)).support
adapted = run.learner.adapt(run.meta_params, support, jax.random.key(4))
np.save(sys.argv[2], run.learner.predict(adapted, support.x))
print(run.step, type(run.settings).__name__, run.settings.inner_rate)
"""


def trained(settings, folder):
    return run.train(recipes.build(settings), settings, folder)


def test_another_process_restores_a_run_to_the_bit(tmp_path):
    settings = Sinusoid(outer_steps=4, meta_batch=2, loss_steps=(1,))
    state = trained(settings, tmp_path / "run")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run"), str(tmp_path / "there.npy")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["4", "Sinusoid", "0.01"]
    here = mj.restore(tmp_path / "run")
    for restored, kept in zip(
        jax.tree.leaves(here.meta_params), jax.tree.leaves(state.meta_params), strict=True
    ):
        np.testing.assert_array_equal(restored, kept)
    assert here.experiment is not None and here.learner is not None
    support = here.experiment.test(jax.random.key(3)).support
    adapted = here.learner.adapt(here.meta_params, support, jax.random.key(4))
    # The other process may compile in another way, so the last bits may differ.
    np.testing.assert_allclose(
        np.load(tmp_path / "there.npy"), here.learner.predict(adapted, support.x), atol=1e-6
    )


def test_settings_json_holds_resolved_values_and_preprocessing(tmp_path):
    trained(
        Omniglot(source="glyphs", test_source="glyphs", filters=2, outer_steps=1, meta_batch=2),
        tmp_path / "run",
    )
    written = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert written["preprocessing"] == {
        "size": 28, "channels": 1, "mean": [0.0], "deviation": [1.0], "ink": "bright",
    }  # fmt: skip
    assert {name for name, value in written.items() if value is None} == {
        "data", "split_seed", "tasks_per_pass",
    }  # fmt: skip
    assert (written["num_steps"], written["inner_rate"]) == (1, 0.4)


def test_a_run_without_a_recipe_gives_its_arrays_by_name(tmp_path):
    learner = mj.maml(mj.mlp((3,)), mj.mse, optax.sgd(0.01), num_steps=1)
    state = mj.fit(
        learner, mj.query_loss(learner, mj.mse), optax.adam(1e-3), mj.tasks.sinusoid(),
        key=jax.random.key(0), outer_steps=2, meta_batch=2, run_dir=tmp_path / "run",
        settings={"note": "short"}, show_progress=False,
    )  # fmt: skip
    found = mj.restore(str(tmp_path / "run"))
    assert (found.experiment, found.learner, found.step) == (None, None, 2)
    assert found.settings == {"note": "short"}
    np.testing.assert_array_equal(
        found.meta_params["params"]["Dense_0"]["kernel"],
        state.meta_params["params"]["Dense_0"]["kernel"],
    )


def test_a_folder_without_a_run_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run was started here"):
        mj.restore(tmp_path)
