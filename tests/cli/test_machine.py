"""What the command line asks of JAX before it computes."""

import re

import jax
import pytest

import metajax as mj
from metajax.cli import train as cli_train
from metajax.cli.machine import Machine, devices, start
from metajax.cli.main import _parse
from metajax.recipes import build
from metajax.recipes.run import written


@pytest.mark.parametrize(
    "flags, sentence",
    [
        ({"devices": 0}, "--devices=0 must be an integer of at least 1"),
        ({"processes": 2}, "need --coordinator HOST:PORT"),
        ({"coordinator": "node1", "processes": 2, "process": 0}, "such as node1:1234"),
        ({"coordinator": "node1:1234", "process": 0}, "needs --processes"),
        ({"coordinator": "node1:1234", "processes": 2, "process": 2}, "must be one of 0 to 1"),
        ({"coordinator": "node1:1234", "processes": 2, "process": -1}, "--process=-1 must be"),
    ],
)
def test_flags_that_do_not_belong_together_are_named(flags, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        start(Machine(**flags))


def test_more_devices_than_there_are_are_refused():
    assert len(devices(Machine())) == 2 and len(devices(Machine(devices=1))) == 1
    with pytest.raises(ValueError, match="--devices 3: this machine has 2"):
        devices(Machine(devices=3))


def test_one_command_begins_a_run_and_goes_on_with_it(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        cli_train, "train_and_test", lambda *given, **how: started.append(how["resume"])
    )
    words = [
        "train",
        "sinusoid",
        "--outer-steps",
        "2",
        "--run-dir",
        str(tmp_path / "run"),
        "--resume",
    ]
    cli_train.run(_parse(words))
    experiment = build(_parse(words).recipe)
    mj.fit(
        experiment.learner, experiment.objective, experiment.optimizer, experiment.train,
        key=jax.random.key(0), outer_steps=1, meta_batch=2, run_dir=tmp_path / "run",
        settings=written(experiment), show_progress=False,
    )  # fmt: skip
    cli_train.run(_parse(words))
    assert started == [False, True]
    with pytest.raises(ValueError, match="was started with outer_steps=2, not 3"):
        cli_train.run(_parse([*words, "--outer-steps", "3"]))
    with pytest.raises(ValueError, match="--resume needs the --run-dir"):
        cli_train.run(_parse(["train", "sinusoid", "--resume"]))
