"""The command line, as a person uses it."""

import inspect
import json
import re

import jax
import numpy as np
import pytest

from metajax.cli import main as cli
from metajax.train.records import read_metrics


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    assert caught.value.code == status


@pytest.mark.usefixtures("few_test_tasks")
def test_train_evaluate_and_resume(tmp_path, capsys):
    folder = tmp_path / "run"
    run(
        "train", "sinusoid", "--outer-steps", 10, "--loss-steps", 1, 2, "--run-dir", folder,
        "--report-every", 5,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "MAML, table 2" in said
    assert f"metajax evaluate {folder}" in said
    for picture in ("training.png", "adaptation.png"):
        assert (folder / "plots" / picture).read_bytes().startswith(b"\x89PNG")
    before = json.loads((folder / "evaluation.json").read_text())
    assert before["num_tasks"] == 200
    assert [row["step"] for row in read_metrics(folder)] == [5, 10]

    run("evaluate", folder, "--num-tasks", 50, "--num-steps", 0, 3)
    assert "step 3" in capsys.readouterr().out
    after = json.loads((folder / "evaluation-sinusoid.json").read_text())
    assert (after["columns"], after["num_tasks"]) == (["step 0", "step 3"], 50)
    assert json.loads((folder / "evaluation.json").read_text()) == before  # which a sweep reads

    run("inspect", folder, "--num-tasks", 3)
    said = capsys.readouterr().out
    assert "every meta-parameter has a hypergradient" in said
    assert "cosine with the reference's hypergradient: 0." in said

    for command, needed in (
        ("evaluate", "num_tasks=0 must be an integer of at least 2"),
        ("inspect", "num_tasks=0 must be an integer of at least 1"),
    ):
        run(command, folder, "--num-tasks", 0, status=2)
        assert needed in capsys.readouterr().out
    run("evaluate", folder, "--num-steps", status=2)
    assert "num_steps=() must be an integer" in capsys.readouterr().out

    run("resume", folder)  # nothing is left to do: it is tested again, to the same bits
    assert json.loads((folder / "evaluation.json").read_text()) == before


@pytest.mark.usefixtures("few_test_tasks")
def test_an_optimiser_is_trained_compared_and_kept(tmp_path, capsys, monkeypatch):
    import metajax as mj
    from metajax.recipes.synthetic import tuned

    assert tuple(tuned.BASELINES) == ("SGD", "momentum", "Adam", "NAdamW")
    # Each takes as long as the first.
    monkeypatch.setattr(tuned, "BASELINES", {"SGD": tuned.BASELINES["SGD"]})
    folder = tmp_path / "run"
    run(
        "train", "optimizer", "--problem", "quadratics", "--learner", "schedule", "--num-steps", 2,
        "--outer-steps", 3, "--run-dir", folder,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert re.search(r"SGD, rate [\d.e-]+: from a fresh start, with the best of 37 rates", said)
    found = json.loads((folder / "evaluation.json").read_text())
    (baseline,) = (name for name in found if name.startswith("SGD, rate"))
    assert len(found[baseline]["interval"]) == len(found["columns"])
    assert (folder / "plots" / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    rule = mj.optimizers.load(folder / "optimizer.npz")
    end = mj.descend(rule, 1)(lambda w: jax.numpy.ones_like(w), jax.numpy.zeros(()))
    assert -0.2 < float(end) < -0.05  # a rate near where it started, 0.1

    run("inspect", folder, "--num-tasks", 2)
    assert "schedule, outer step 3, 2 training tasks" in capsys.readouterr().out


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
    run(
        "train", "sinusoid", "--adjoint", "mixed", status=2
    )  # not 'mixture', a word of another flag
    assert "Did you mean 'mixed_mode' by 'mixed'?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("evaluate", "run", "--num-tasks"), ("train", "omniglot", "--seed")]
)
def test_a_value_that_is_no_number_is_not_taken_for_a_name(words, capsys):
    run(*words, "many", status=2)  # 'any' is a name of another flag
    said = "".join(capsys.readouterr())
    assert "many" in said and "Did you mean" not in said


def test_what_is_no_number_is_said_to_have_diverged():
    from metajax.cli.output import cell, plain

    assert cell(3, 0.25, 0.01) == "0.250 ± 0.010"
    assert cell(2, float("inf"), float("nan")) == cell(2, float("nan")) == "diverged"
    assert json.dumps(plain(np.array([0.5, np.nan, np.inf]))) == "[0.5, null, null]"


def listed(capsys, *arguments):
    run("list", *arguments)
    return capsys.readouterr().out


def test_list_names_every_kind_briefly(capsys):
    from metajax.cli.list import KINDS
    from metajax.recipes import RECIPES

    said = listed(capsys).splitlines()
    assert len(said) < 60
    numbers = {line.split()[0]: line.split()[1] for line in said[:-1]}
    assert set(numbers) == set(KINDS)
    assert numbers["recipes"] == str(len(RECIPES))


def test_list_names_what_is_public_once(capsys):
    import metajax as mj
    from metajax.cli.list import KINDS

    named = [
        name.removeprefix("mj.")
        for kind in KINDS
        for name in KINDS[kind].entries()
        if "mj." in name
    ]
    assert len(named) == len(set(named))
    functions = {
        name
        for name, thing in vars(mj).items()
        if inspect.isfunction(thing) and not name.startswith("_")
    }
    assert {name for name in named if "." not in name} == functions
    assert "problems.linear" not in named  # imported there, and at home elsewhere
    assert "TaskNorm-I" in listed(capsys, "normalisation")
    said = " ".join(listed(capsys, "learners").split())
    assert re.search(r"mj\.maml Learns .* \(Finn, Abbeel and Levine, ICML 2017\)", said)


def test_list_describes_every_learner_of_the_recipes():
    from metajax.cli.list import KINDS
    from metajax.recipes.learners import LEARNERS

    entries = KINDS["learners"].entries()
    for name in LEARNERS:
        assert entries.get(f"mj.{name}") or entries.get(f"--learner {name}"), name


def test_list_of_an_unknown_kind_suggests_one(capsys):
    run("list", "learner", status=2)
    assert "did you mean 'learners'?" in capsys.readouterr().out


def test_help_lists_the_choices_of_the_tables(capsys):
    from metajax.recipes.learners import names

    run("train", "omniglot", "--help")
    said = re.sub(r"[^\w,{}]", "", capsys.readouterr().out)
    assert "{" + ",".join(names("classify")) + "}" in said


def test_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    run("--version")
    assert re.match(
        rf"metajax {re.escape(version('metajax'))}(, commit \S+)?$", capsys.readouterr().out.strip()
    )


@pytest.mark.parametrize(
    "flag, recipe, hint",
    [
        ("--lr", "sinusoid", "Did you mean --outer-rate or --inner-rate by '--lr'?"),
        ("--learning-rate", "icl", "Did you mean --outer-rate by '--learning-rate'?"),
        ("--steps", "omniglot", "Did you mean --outer-steps or --num-steps by '--steps'?"),
        ("--epochs", "omniglot", "Did you mean --outer-steps by '--epochs'?"),
        ("--batch-size", "omniglot", "Did you mean --meta-batch by '--batch-size'?"),
        ("--iterations", "sinusoid", "Did you mean --outer-steps by '--iterations'?"),
        ("--meta_bach", "omniglot", "Did you mean --meta-batch by '--meta_bach'?"),
    ],
)
def test_an_unknown_flag_gets_a_hint(flag, recipe, hint, capsys):
    run("train", recipe, flag, "3", status=2)
    assert hint in capsys.readouterr().out


def test_data_without_a_name_lists_licences(capsys):
    run("data")
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"omniglot 1623 characters.*\(Lake et al\. 2015; MIT licence\)", said)


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
