"""`metajax evaluate RUN --on SOURCE`: a run judged on tasks of another source or size."""

import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from metajax import recipes
from metajax.cli import main as cli
from metajax.recipes import run as runs
from metajax.recipes.elsewhere import elsewhere
from metajax.recipes.experiment import Shots
from metajax.recipes.synthetic.icl import Icl
from metajax.recipes.synthetic.optimizer import Optimizer
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.vision.omniglot import Omniglot


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    assert caught.value.code == status


def glyphs(**options):
    return Omniglot(
        source="glyphs", test_source="glyphs", filters=2, outer_steps=1, meta_batch=2, **options
    )


@pytest.fixture(scope="module")
def protonet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "protonet"
    settings = glyphs(learner="protonet")
    runs.train(recipes.build(settings), settings, folder)
    (folder / "evaluation.json").write_text("its own")
    return folder


@pytest.fixture(scope="module")
def maml(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "maml"
    settings = glyphs(learner="maml")
    runs.train(recipes.build(settings), settings, folder)
    return folder


def class_folders(folder: Path, ink: int, paper: int) -> Path:
    """Three classes of vertical bars, each at a place of its own, in four pictures."""
    for i in range(3):
        (folder / f"bar{i}").mkdir(parents=True)
        for j in range(4):
            picture = np.full((40, 40), paper, np.uint8)
            picture[5:35, 8 + 8 * i : 12 + 8 * i] = ink
            Image.fromarray(picture).save(folder / f"bar{i}" / f"{j}.png")
    return folder


def test_a_folder_of_class_folders(protonet, tmp_path, capsys):
    folder = class_folders(tmp_path / "bars", ink=0, paper=255)
    size = ("--way", 3, "--shot", 1, "--query-shot", 2, "--num-tasks", 20)
    run("evaluate", protonet, "--on", folder, *size)
    assert "20 new tasks of bars, 3-way 1-shot, outer step 1" in capsys.readouterr().out
    found = json.loads((protonet / "evaluation-bars.json").read_text())
    assert (found["source"], found["way"], found["shot"], found["query_shot"]) == ("bars", 3, 1, 2)
    # All pictures of a class are equal, so that nearest prototypes are always right.
    assert found["inductive"]["mean"] == [100.0]
    assert (protonet / "evaluation.json").read_text() == "its own"


@pytest.mark.parametrize("ink, paper", [(0, 255), (255, 0)])
def test_ink_is_made_bright_as_in_training(ink, paper, protonet, tmp_path):
    folder = class_folders(tmp_path / "bars", ink=ink, paper=paper)
    experiment = elsewhere(runs.read(protonet), str(folder), way=3)
    x = experiment.test(jax.random.key(0)).support.x
    assert x.shape == (3, 28, 28, 1)
    # A bar covers 30 x 4 of 40 x 40 pixels.
    assert float(x.mean()) == pytest.approx(30 * 4 / 40**2, abs=0.005)
    assert float(x[:, 0].max()) == 0.0


def test_another_way_of_an_invented_source(protonet, capsys):
    run("evaluate", protonet, "--way", 7, "--num-tasks", 10)
    assert "10 new tasks of glyphs, 7-way 1-shot" in capsys.readouterr().out
    found = json.loads((protonet / "evaluation-glyphs.json").read_text())
    assert (found["way"], found["shot"]) == (7, 1)


def test_digits_of_mnist(protonet, capsys):
    data = os.environ.get("METAJAX_DATA")
    if not data or not (Path(data) / "mnist").is_dir():
        pytest.skip("METAJAX_DATA does not name a folder that holds mnist/")
    run(
        "evaluate",
        protonet,
        "--on",
        "mnist",
        "--way",
        5,
        "--shot",
        1,
        "--num-tasks",
        20,
        "--data",
        data,
    )
    assert "20 new tasks of mnist, 5-way 1-shot" in capsys.readouterr().out
    assert (protonet / "evaluation-mnist.json").is_file()


def test_omniglot_on_its_own_data_takes_the_test_split(omniglot_data, key):
    settings = Omniglot(learner="protonet", filters=2, data=str(omniglot_data))
    experiment = recipes.build(settings)
    there = elsewhere(experiment, "omniglot", way=5, shot=1, query_shot=1)
    np.testing.assert_array_equal(there.test(key).support.x, experiment.test(key).support.x)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--way", 20), "maml's network has 5 outputs, one per class"),
        (("--on", "glyphs", "--way", 3), "way=3 does not fit"),
        (("--shot", 0), "shot=0 must be an integer of at least 1"),
        (("--on", "glyhps"), "Did you mean 'glyphs'?"),
        (("--on", "nowhere/at/all"), "one folder of pictures per class"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(arguments, message, maml, capsys):
    run("evaluate", maml, *arguments, status=2)
    assert message in capsys.readouterr().out


def test_a_checkpoint_of_another_way_is_refused(maml, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(maml, folder)
    written = json.loads((folder / "settings.json").read_text())
    written["settings"] |= {"way": 20, "train_way": 20}
    for name in ("settings.json", ".settings.json"):
        (folder / name).write_text(json.dumps(written))
    run("evaluate", folder, status=2)
    said = capsys.readouterr().out
    assert re.search(r"\(5,\) float32 on disk but \(20,\)", said), said


def test_a_network_that_counts_its_support_set_refuses_another_size():
    experiment = recipes.build(glyphs(learner="protonet", normalisation="task"))
    with pytest.raises(
        ValueError, match="give 7 support examples, but normalisation='task' counts 5"
    ):
        elsewhere(experiment, way=7)


def test_functions_of_other_families(key):
    experiment = recipes.build(Sinusoid())
    lines = elsewhere(experiment, "lines", shot=3)
    support = lines.test(key).support
    assert (lines.test_name, lines.shots) == ("lines", Shots(3, 100))
    # Three points of one line: slopes between neighbours are equal.
    order = np.argsort(support.x[:, 0])
    slopes = np.diff(support.y[order, 0]) / np.diff(support.x[order, 0])
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-3)
    assert lines.published == () and lines.baselines is None
    with pytest.raises(ValueError, match="way=5 has no effect"):
        elsewhere(experiment, "lines", way=5)
    with pytest.raises(ValueError, match="did you mean 'lines'"):
        elsewhere(experiment, "line")


def test_a_source_with_other_inputs_is_refused():
    with pytest.raises(
        ValueError, match=r"inputs of lines have shape \(1,\), .* inputs of shape \(4,\)"
    ):
        elsewhere(recipes.build(Icl(width=8)), "lines")
    assert elsewhere(recipes.build(Icl(width=8, source="sinusoid")), "lines").test_name == "lines"


def test_problems_of_an_optimiser_have_no_other_source():
    with pytest.raises(ValueError, match="no other source fits it"):
        elsewhere(recipes.build(Optimizer(problem="quadratics")), "glyphs")
