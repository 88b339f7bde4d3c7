"""Sweeps of the command line: members are single runs, in one program or as processes."""

import json
import os
import signal
import threading
import time

import pytest

from metajax.cli import main as cli
from metajax.cli import processes, sweep
from metajax.cli.machine import Machine
from metajax.train.records import read_metrics

FLAGS = (
    "--learner",
    "ridge",
    "--width",
    4,
    "--outer-steps",
    4,
    "--meta-batch",
    2,
    "--report-every",
    2,
)


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as caught:
        cli.main([str(argument) for argument in arguments])
    assert caught.value.code == status


def of(folder, name):
    return json.loads((folder / name).read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("few_test_tasks")
def test_members_are_single_runs(tmp_path, capsys, monkeypatch):
    one, apart, alone = (tmp_path / name for name in ("one", "apart", "alone"))
    run("train", "icl", *FLAGS, "--seed", 1, "--run-dir", alone)
    run("train", "icl", *FLAGS, "--seeds", 2, "--run-dir", one)
    said = capsys.readouterr().out
    assert "1 cell of 2 seeds, in one program" in said
    assert "Student's t" in said

    def in_this_process(folder, names, jobs, arguments):
        assert (jobs, arguments) == (2, ("", "", ""))
        for name in names:
            sweep._member(folder, name, Machine(), None, trust=False)
            yield processes.Ended(name, 0)

    monkeypatch.setattr(processes, "train", in_this_process)
    run("train", "icl", *FLAGS, "--seed", 1, "--seeds", 1, "--jobs", 2, "--run-dir", apart)
    whole = of(alone, "evaluation.json")
    assert of(apart, "seed-1/evaluation.json") == whole  # to the bit
    close = pytest.approx(whole["metajax"]["mean"], rel=1e-4)
    assert of(one, "seed-1/evaluation.json")["metajax"]["mean"] == close
    rows = [read_metrics(folder) for folder in (alone, apart / "seed-1", one / "seed-1")]
    for name, far in (("loss", 1e-4), ("gradient_norm", 1e-4), ("validation", 1e-4), ("step", 0)):
        column = [[row[name] for row in of_run] for of_run in rows]
        assert column[0] == column[1]
        assert column[0] == pytest.approx(column[2], rel=far)
    summary = of(one, "summary.json")
    scores = summary["test"]["tables"][""]["metajax"]
    assert scores["seeds"]["1"] == of(one, "seed-1/evaluation.json")["metajax"]["mean"]
    (cell,) = summary["cells"]
    assert cell["validation"]["seeds"]["1"] == [rows[2][-1]["validation"]]

    # Nothing is left to do; a damaged test of a member is done again, and its numbers are the same.
    (one / "seed-1" / "evaluation.json").unlink()
    run("resume", one)
    assert of(one, "summary.json") == summary
    run("train", "icl", "--seeds", 2, "--run-dir", one, status=2)
    assert "go on with the sweep in it by metajax resume" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("few_test_tasks")
def test_validation_chooses_a_cell_and_a_diverged_member_is_named(tmp_path, capsys):
    run(
        "train", "icl", *FLAGS, "--seeds", 1, "--grid", "outer_rate=1e38,0.001", "--run-dir",
        tmp_path / "grid",
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "outer_rate=1e+38/seed-0 diverged in outer step" in said
    assert "validation tasks" in said
    summary = of(tmp_path / "grid", "summary.json")
    assert [cell["chosen"] for cell in summary["cells"]] == [False, True]
    assert summary["cells"][0]["diverged"].keys() == {"0"}
    assert "validation tasks" in summary["selection"]
    assert not (tmp_path / "grid" / "outer_rate=1e+38" / "seed-0" / "evaluation.json").exists()


def test_a_sweep_without_effect_is_refused(tmp_path, capsys):
    for flags, message in (
        (("--jobs", 2), "jobs=2 has no effect without --seeds"),
        (("--grid",), "--grid needs settings with values"),
        (("--seeds", 0), "seeds=0 must be an integer of at least 1"),
        (("--seeds", 2, "--jobs", 0), "jobs=0 must be an integer of at least 1"),
        (("--seeds", 2, "--tensorboard"), "tensorboard has no effect"),
    ):
        run("train", "sinusoid", *flags, "--run-dir", tmp_path / "none", status=2)
        assert message in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_damaged_sweep_is_named(tmp_path, capsys):
    (tmp_path / "sweep.json").write_text('{"settings": {"recipe": "sinusoid"}}')
    run("resume", tmp_path, status=2)
    assert "sweep.json cannot be read" in capsys.readouterr().out


MEMBER = """
import signal, sys, time
folder, name = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
print(name)
if name == "long":
    open(f"{folder}/started", "x").close()
    time.sleep(60)
sys.exit({"bad": 2}.get(name, 0))
"""


def test_processes_end_with_their_status_and_stop_when_told(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_CODE", MEMBER)
    ended = dict(processes.train(tmp_path, ["a", "bad", "b"], 2, ()))
    assert ended == {"a": 0, "bad": 2, "b": 0}
    assert processes.last_line(tmp_path, "bad") == "bad"

    def press():
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    ended = dict(processes.train(tmp_path, ["long", "never"], 1, ()))
    thread.join()
    assert ended == {"long": processes.STOPPED}
