"""Training in-context learners from the command line."""

import json
from typing import Any, get_args, get_type_hints

import jax
import pytest

from metajax.cli import main as cli
from metajax.recipes import build
from metajax.recipes.synthetic.icl import Icl


@pytest.mark.usefixtures("few_test_tasks")
def test_train_beside_the_best_possible_error(tmp_path, capsys):
    folder = tmp_path / "run"
    flags = (
        "train icl --source gaussian_process --width 8 --layers 1 --outer-steps 3 --meta-batch 2"
    )
    with pytest.raises(SystemExit) as caught:
        cli.main([*flags.split(), "--run-dir", str(folder)])
    assert caught.value.code == 0
    assert "best possible" in capsys.readouterr().out
    assert (folder / "plots" / "adaptation.png").stat().st_size > 1000
    found = json.loads((folder / "evaluation.json").read_text())
    # Ten points of noise 0.1 on six lengths leave little of a variance of 1, and one step all.
    assert found["best possible"]["mean"][0] < 0.2 < found["metajax"]["mean"][0]


def test_every_learner_and_source_is_built_and_has_a_gradient():
    hints = get_type_hints(Icl)
    named: list[dict[str, Any]] = [{"learner": name} for name in get_args(hints["learner"])]
    named += [{"source": name} for name in get_args(hints["source"])]
    for options in named:
        experiment = build(Icl(width=8, **options))
        key = jax.random.key(0)
        task = jax.eval_shape(jax.vmap(experiment.train), jax.random.split(key, 2))
        meta_params = jax.eval_shape(
            experiment.learner.init, key, jax.eval_shape(experiment.train, key).support.x
        )
        loss, gradient = jax.eval_shape(
            jax.value_and_grad(experiment.objective), meta_params, task, key
        )
        assert loss.shape == ()
        assert jax.tree.structure(gradient) == jax.tree.structure(meta_params)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"source": "sinusoid", "noise": 0.1}, "noise=0.1 has no effect with source='sinusoid'"),
        (
            {"source": "gaussian_process", "dimension": 2},
            "dimension=2 has no effect with source='g",
        ),
        ({"learner": "snail", "layers": 2}, "layers=2 has no effect with learner='snail'"),
        ({"shot": 0}, "shot=0 must be an integer of at least 1"),
        ({"learner": "transfomer"}, "did you mean 'transformer'"),
        ({"source": "linear_gausian"}, "did you mean 'linear_gaussian'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, Any], message):
    with pytest.raises(ValueError, match=message):
        build(Icl(**options))
