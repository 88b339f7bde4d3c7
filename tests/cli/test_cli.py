"""The command line, as a person uses it."""

import inspect
import json
import re
from typing import Any, get_args

import jax
import numpy as np
import optax
import pytest

from metajax.cli import main as cli
from metajax.train import loop as training


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    assert caught.value.code == status


@pytest.mark.usefixtures("few_test_tasks")
def test_train_evaluate_and_resume(tmp_path, capsys):
    folder = tmp_path / "run"
    run(
        "train", "sinusoid", "--outer-steps", 10, "--judged-steps", 1, 2, "--run-dir", folder,
        "--report-every", 5,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "MAML, table 2" in said
    assert f"metajax evaluate {folder}" in said
    for picture in ("training.png", "adaptation.png"):
        assert (folder / "plots" / picture).read_bytes().startswith(b"\x89PNG")
    before = json.loads((folder / "evaluation.json").read_text())
    assert before["num_tasks"] == 200
    assert [row["step"] for row in training.read_metrics(folder)] == [5, 10]

    run("evaluate", folder, "--num-tasks", 50, "--num-steps", 0, 3)
    assert "step 3" in capsys.readouterr().out
    after = json.loads((folder / "evaluation.json").read_text())
    assert (after["columns"], after["num_tasks"]) == (["step 0", "step 3"], 50)

    run("inspect", folder, "--num-tasks", 3)
    said = capsys.readouterr().out
    assert "every meta-parameter has a hypergradient" in said
    assert "cosine with the reference's hypergradient: 0." in said

    for command, needed in (
        ("evaluate", "an interval needs 2 tasks"),
        ("inspect", "give 1 or more"),
    ):
        run(command, folder, "--num-tasks", 0, status=2)
        assert needed in capsys.readouterr().out
    run("evaluate", folder, "--num-steps", status=2)
    assert "give one number, or a tuple" in capsys.readouterr().out

    run("resume", folder)  # nothing is left to do: it is tested again, to the same bits
    assert json.loads((folder / "evaluation.json").read_text()) == before


@pytest.mark.usefixtures("few_test_tasks")
def test_an_optimiser_is_trained_compared_and_kept(tmp_path, capsys, monkeypatch):
    import metajax as mj
    from metajax.optimizers.tuning import BASELINES

    assert tuple(BASELINES) == ("SGD", "momentum", "Adam", "NAdamW")
    for name in ("momentum", "Adam", "NAdamW"):  # each takes as long as the first
        monkeypatch.delitem(BASELINES, name)
    folder = tmp_path / "run"
    run(
        "train", "optimizer", "--problem", "quadratics", "--learner", "schedule", "--num-steps", 2,
        "--outer-steps", 3, "--run-dir", folder,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert re.search(r"SGD, rate [\d.e-]+: from a fresh start, the best of 37 rates", said)
    found = json.loads((folder / "evaluation.json").read_text())
    (rival,) = (name for name in found if name.startswith("SGD, rate"))
    assert len(found[rival]["interval"]) == len(found["columns"])
    assert (folder / "plots" / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    rule = mj.load(folder / "optimizer.npz")
    end = mj.descend(rule, 1)(lambda w: jax.numpy.ones_like(w), jax.numpy.zeros(()))
    assert -0.2 < float(end) < -0.05  # a rate near where it started, 0.1

    run("inspect", folder, "--num-tasks", 2)
    assert "schedule, outer step 3, 2 training tasks" in capsys.readouterr().out


def test_every_optimiser_and_problem_that_can_be_named_is_built():
    from metajax.recipes import build
    from metajax.recipes.synthetic.optimizer import Optimizer

    named = [Optimizer(learner=n) for n in get_args(Optimizer.__annotations__["learner"])]
    named += [Optimizer(problem=n) for n in get_args(Optimizer.__annotations__["problem"])]
    named += [Optimizer(start="learned", adjoint="first_order", judged_from=40)]
    key = jax.random.key(0)
    for settings in named:
        experiment = build(settings)
        tasks = jax.eval_shape(jax.vmap(experiment.train), jax.random.split(key, 2))
        x = jax.eval_shape(experiment.train, key).support.x
        meta_params = jax.eval_shape(experiment.learner.init, key, x)
        assert jax.eval_shape(experiment.objective, meta_params, tasks, key).shape == ()
    with pytest.raises(ValueError, match="judged_from=50 and num_steps=40; give 1 <= judged_from"):
        build(Optimizer(judged_from=50))
    with pytest.raises(
        ValueError, match="source='mnist' and problem='convs' has none; leave source"
    ):
        build(Optimizer(problem="convs", source="mnist"))
    with pytest.raises(ValueError, match="depth=2 and problem='logistic' has none"):
        build(Optimizer(problem="logistic", depth=2))


def test_every_learner_that_can_be_named_is_built_and_learns(tmp_path):
    from metajax.recipes import build
    from metajax.recipes.learners import CLASSIFIERS, REGRESSORS, ClassifierName, RegressorName
    from metajax.recipes.synthetic.sinusoid import Sinusoid
    from metajax.recipes.vision.omniglot import Omniglot

    assert tuple(CLASSIFIERS) == get_args(ClassifierName)
    assert tuple(REGRESSORS) == get_args(RegressorName)
    glyphs: Any = {"source": "glyphs", "test_source": "glyphs", "filters": 2}
    names: tuple[Any, ...] = get_args(ClassifierName)
    pretrained = [name for name in names if CLASSIFIERS[name].trained_by == "pretraining"]
    named = [Omniglot(learner=name, **glyphs) for name in names if name not in pretrained]
    for name in pretrained:
        with pytest.raises(ValueError, match="this source invents new ones in every task"):
            build(Omniglot(learner=name, **glyphs))
    named += [Sinusoid(learner=name, source="mixture") for name in get_args(RegressorName)]
    for settings in named:
        experiment = build(settings)
        key = jax.random.key(0)
        x = jax.eval_shape(experiment.train, key).support.x
        meta_params = jax.eval_shape(experiment.learner.init, key, x)
        task = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype),
            jax.eval_shape(experiment.train, key),
        )
        loss, gradient = jax.eval_shape(
            jax.value_and_grad(experiment.objective), meta_params, task, key
        )
        assert loss.shape == ()
        assert jax.tree.structure(gradient) == jax.tree.structure(meta_params)


def test_every_adjoint_that_can_be_named_gives_a_hypergradient_of_its_own(key):
    from metajax.recipes import build
    from metajax.recipes.learners import ADJOINTS, ImplicitName
    from metajax.recipes.synthetic.sinusoid import Sinusoid
    from metajax.recipes.vision.omniglot import Omniglot

    names: tuple[Any, ...] = (*ADJOINTS, *get_args(ImplicitName))
    glyphs: Any = {"source": "glyphs", "test_source": "glyphs", "filters": 2}
    sizes = {}
    for name in names:
        experiment = build(Omniglot(learner="imaml", adjoint=name, num_steps=2, **glyphs))
        tasks = jax.vmap(experiment.train)(jax.random.split(key, 2))
        meta_params = experiment.learner.init(key, tasks.support.x[0])
        gradient = jax.jit(jax.grad(experiment.objective))(meta_params, tasks, key)
        sizes[name] = float(optax.tree.norm(gradient))
    exact = sizes.pop("unrolled")
    for name in ("remat", "mixed_mode"):
        assert sizes.pop(name) == pytest.approx(exact, rel=1e-4)
    assert len({round(size, 5) for size in (exact, *sizes.values())}) == 6
    with pytest.raises(ValueError, match="adjoint='neumann' and learner='maml'; it differentiates"):
        build(Sinusoid(adjoint="neumann"))


def test_settings_that_a_learner_does_not_have_are_refused():
    from metajax.recipes import build
    from metajax.recipes.synthetic.sinusoid import Sinusoid
    from metajax.recipes.vision.omniglot import Omniglot

    for settings in (Sinusoid(outer_rate=-0.1), Sinusoid(inner_rate=-0.1), Sinusoid(clip=-0.1)):
        with pytest.raises(ValueError, match=r"=-0\.1; give a number above 0"):
            build(settings)
    for settings in (Sinusoid(meta_batch=0), Sinusoid(outer_steps=0), Omniglot(tasks_per_pass=0)):
        with pytest.raises(ValueError, match="=0; give 1 or more"):
            build(settings)

    with pytest.raises(ValueError, match="adjoint='remat' and learner='protonet' has none; leave"):
        build(Omniglot(learner="protonet", adjoint="remat", source="glyphs", test_source="glyphs"))
    with pytest.raises(ValueError, match="num_steps=2 and learner='r2d2' has none"):
        build(Omniglot(learner="r2d2", num_steps=2, source="glyphs", test_source="glyphs"))
    with pytest.raises(ValueError, match="test_num_steps=2 and learner='r2d2' has none; leave"):
        build(Omniglot(learner="r2d2", test_num_steps=2, source="glyphs", test_source="glyphs"))
    with pytest.raises(ValueError, match="inductive=True and learner='reptile' has none; leave"):
        build(Omniglot(learner="reptile", inductive=True, source="glyphs", test_source="glyphs"))
    with pytest.raises(ValueError, match="and source='glyphs' has none; leave distortion out"):
        build(Omniglot(source="glyphs", distortion=0.0))
    with pytest.raises(
        ValueError, match="split_seed=1 and split='lake' has none; leave split_seed"
    ):
        build(Omniglot(split="lake", split_seed=1))
    with pytest.raises(ValueError, match=r"judged_steps=\(\); give one number or more"):
        build(Sinusoid(judged_steps=()))
    with pytest.raises(ValueError, match="train_way=20 and way=5; the network of 'anil' has one"):
        build(Omniglot(learner="anil", train_way=20))
    with pytest.raises(ValueError, match="normalisation='task' counts the support set"):
        build(Omniglot(learner="protonet", train_way=20, normalisation="task"))


@pytest.mark.usefixtures("few_test_tasks")
def test_a_pretrained_network_and_tasknorm_learn_from_real_characters(omniglot_data, key):
    from metajax.recipes import build
    from metajax.recipes.vision.omniglot import Omniglot

    small: Any = {"filters": 4, "data": str(omniglot_data)}
    for settings in (
        Omniglot(learner="finetune", **small),
        Omniglot(normalisation="task", **small),
        Omniglot(learner="reptile", **small),
    ):
        experiment = build(settings)
        tasks = jax.vmap(experiment.train)(jax.random.split(key, 2))
        meta_params = experiment.learner.init(key, tasks.support.x[0])
        loss = jax.jit(experiment.objective)(meta_params, tasks, key)
        # A head of zeros is as good as chance, among five classes of a task or all 1100 of them;
        # Reptile measures the way a task has led.
        chance = {"finetune": np.log(1100), "maml": np.log(5)}
        if settings.learner in chance:
            assert float(loss) == pytest.approx(chance[settings.learner], rel=0.2)
        else:
            assert float(loss) > 0
            assert tasks.support.y.shape == (2, 50)  # ten of a class, for five steps of ten
    with pytest.raises(
        ValueError, match=r"3 training images of each of way=5 classes .* num_steps"
    ):
        build(Omniglot(learner="reptile", query_shot=2, num_steps=2, **small))
    with pytest.raises(ValueError, match=r"num_steps=0; reptile takes 1 step or more"):
        build(Omniglot(learner="reptile", num_steps=0, **small))


def test_a_mistake_ends_in_one_sentence(tmp_path, capsys):
    run("evaluate", tmp_path, status=2)
    assert "no run was started here" in capsys.readouterr().out
    run("train", "omniglot", "--data", tmp_path, status=2)
    said = capsys.readouterr().out
    assert "run `metajax data omniglot` to download it" in said
    assert "run in" not in said  # no folder was made
    run("data", "omniglt", status=2)
    assert "did you mean 'omniglot'?" in capsys.readouterr().out
    run("train", "omniglto", status=2)
    assert "Did you mean 'omniglot' by 'omniglto'?" in capsys.readouterr().out
    run("train", "omniglot", "--learner", "protonets", status=2)
    assert "Did you mean 'protonet' by 'protonets'?" in capsys.readouterr().out


def test_what_is_no_number_is_said_to_have_diverged():
    from metajax.cli.main import _cell, _plain

    assert _cell(3, 0.25, 0.01) == "0.250 ± 0.010"
    assert _cell(2, float("inf"), float("nan")) == _cell(2, float("nan")) == "diverged"
    assert json.dumps(_plain(np.array([0.5, np.nan, np.inf]))) == "[0.5, null, null]"


def test_list_names_what_is_public(capsys):
    import metajax as mj

    run("list")
    said = capsys.readouterr().out
    named = re.findall(r"^ +mj\.(\w+)", said, re.MULTILINE)
    assert set(named) - {"tasks", "optimizers", "problems"} == {
        name for name, thing in vars(mj).items() if inspect.isfunction(thing)
    }
    assert "mj.problems.linear" not in said  # imported there, and at home elsewhere
    assert "TaskNorm-I (Bronskill" in " ".join(said.split())


@pytest.mark.usefixtures("few_test_tasks")
def test_omniglot_trains_from_the_real_zips(tmp_path, omniglot_data, capsys):
    folder = tmp_path / "run"
    run(
        "train", "omniglot", "--data", omniglot_data, "--outer-steps", 2, "--filters", 4,
        "--meta-batch", 4, "--precision", "bfloat16", "--run-dir", folder,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "transductive" in said
    assert "inductive" in said
    assert (folder / "plots" / "adaptation.png").stat().st_size > 1000
    settings = json.loads((folder / "settings.json").read_text())
    settings["settings"]["way"] = 20
    (folder / "settings.json").write_text(json.dumps(settings))
    run("evaluate", folder, "--data", omniglot_data, status=2)
    assert re.search(
        r"is \(5,\) float32 on disk and \(20,\) float32 here; was this run made with another way",
        capsys.readouterr().out,
    )
