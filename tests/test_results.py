"""Results of benchmarks that are measured in several runs: nothing that was measured is lost."""

import importlib.util

import pytest
import record


def script(name):
    """A script of the benchmarks by its path, because a folder of tests has the name of one."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", record.HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def language():
    return script("language")


def study(commit, best, **accuracies):
    rows = {name: {"all": [value, 0.1]} for name, value in {**accuracies, "centroid": best}.items()}
    return {
        "tasks": 600,
        "settings": {"way": 15},
        "learners": {name: {} for name in accuracies},
        "sizes": {"5w1s": {"best": "centroid", "rows": rows}},
        "commits": dict.fromkeys(accuracies, commit),
        "commit": commit,
    }


def test_learners_of_an_earlier_run_stay_beside_those_of_a_later_one(language):
    old, new = study("a", 50.0, r2d2=60.0, maml=55.0), study("b", 50.01, maml=56.0, anil=54.0)
    found = language.beside(old, new)
    rows = found["sizes"]["5w1s"]["rows"]
    assert {name: row["all"][0] for name, row in rows.items()} == {
        "r2d2": 60.0, "maml": 56.0, "anil": 54.0, "centroid": 50.01,
    }  # fmt: skip
    assert found["commits"] == {"r2d2": "a", "maml": "b", "anil": "b"}
    assert language.beside(None, new) == new


def test_sizes_that_were_not_run_again_stay(language):
    old, new = study("a", 50.0, r2d2=60.0), study("b", 50.0, r2d2=61.0)
    old["sizes"]["15w5s"] = old["sizes"]["5w1s"]
    found = language.beside(old, new)
    assert found["sizes"]["15w5s"]["rows"]["r2d2"]["all"][0] == 60.0
    assert found["sizes"]["5w1s"]["rows"]["r2d2"]["all"][0] == 61.0


@pytest.mark.parametrize("change", [{"tasks": 100}, {"settings": {"way": 5}}])
def test_rows_of_other_tasks_do_not_stay_and_that_is_said(change, language, capsys):
    old, new = {**study("a", 50.0, r2d2=60.0), **change}, study("b", 50.0, maml=56.0)
    assert language.beside(old, new) == new
    assert "left out" in capsys.readouterr().out
    other = study("a", 52.0, r2d2=60.0)
    assert "r2d2" not in language.beside(other, new)["sizes"]["5w1s"]["rows"]
    assert "other tasks" in capsys.readouterr().out


def test_cells_stay_whose_row_is_declared_as_it_was(tmp_path, monkeypatch, capsys):
    across = script("across")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(across, "RUNS", tmp_path / "runs")
    same = record.read_back(across.recipes.to_json(across.ROWS["pixels"].settings))
    cell = {"5w1s": {"transductive": [56.3, 0.8]}}
    rows = {"pixels": same, "omniglot_maml_5w1s": {**same, "filters": 3}, "gone": same}
    cells = {"mnist": dict.fromkeys(rows, cell)}
    record.write("across", {"tasks": across.TASKS, "rows": rows, "cells": cells, "commit": "a"})
    across.write()
    found = record.read("across") or {}
    assert found["cells"] == {"mnist": {"pixels": cell}}
    assert found["rows"] == {"pixels": same}
    assert found["commits"] == {"pixels": "a"}
