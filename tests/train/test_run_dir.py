"""What a run leaves on disk, and what damage to it does."""

import dataclasses
import json
from pathlib import Path

import chex
import jax
import numpy as np
import optax
import pytest

import metajax as mj
from metajax.train import run_dir
from metajax.train.records import read_metrics, read_settings

LEARNER = mj.maml(mj.mlp((2,)), mj.mse, optax.sgd(0.01), num_steps=1)
SAMPLE = mj.tasks.sinusoid(shot=3)


def fit(folder=None, *, optimizer=None, **changes):
    options = {
        "key": jax.random.key(3), "outer_steps": 12, "meta_batch": 2, "report_every": 5,
        "show_progress": False, "run_dir": folder,
    }  # fmt: skip
    objective = mj.query_loss(LEARNER, mj.mse)
    return mj.fit(LEARNER, objective, optimizer or optax.adam(1e-2), SAMPLE, **(options | changes))


@dataclasses.dataclass
class Settings:
    rate: float = 0.5
    steps: np.int64 = dataclasses.field(default_factory=lambda: np.int64(3))
    folder: Path = Path("data")


def test_settings_hold_what_was_given_and_what_it_ran_on(tmp_path):
    fit(tmp_path / "run", settings=Settings(), meta_batch=np.int64(2))
    found = read_settings(tmp_path / "run")
    assert found["settings"] == {"rate": 0.5, "steps": 3, "folder": "data"}
    assert found["fit"] == {
        "key": [0, 3], "key_impl": "threefry2x32", "meta_batch": 2, "report_every": 5
    }  # fmt: skip
    assert set(found["versions"]) == {
        "metajax", "commit", "jax", "jaxlib", "optax", "flax", "numpy", "python"
    }  # fmt: skip
    assert found["versions"]["jax"] == jax.__version__
    assert found["device"] == {"platform": "cpu", "kind": "cpu", "number": jax.device_count()}
    assert found["started"].startswith("20")


def test_several_metrics_are_columns_and_callbacks_see_every_row(tmp_path, capsys):
    kept, rows, more = [], [], []

    def validate(meta_params):
        kept.append(meta_params)
        return {"accuracy": np.float32(0.5), "calibration": len(kept)}

    fit(tmp_path / "run", validate=validate, callbacks=[rows.append, more.append],
        show_progress=True)  # fmt: skip
    assert [row["step"] for row in rows] == [5, 10, 12]
    assert [(row["accuracy"], row["calibration"]) for row in rows] == [(0.5, 1), (0.5, 2), (0.5, 3)]
    assert set(rows[0]) == {
        "step", "loss", "gradient_norm", "accuracy", "calibration", "training_seconds"
    }  # fmt: skip
    assert rows == more == read_metrics(tmp_path / "run")
    assert "accuracy 0.5000  calibration 2.0000" in capsys.readouterr().out
    # What validate was given stays readable: the best parameters may be kept that way.
    first, last = kept[0], kept[-1]
    chex.assert_trees_all_equal(fit(outer_steps=5).meta_params, first)
    chex.assert_trees_all_equal(fit().meta_params, last)


@pytest.mark.parametrize(
    "returned, message",
    [
        (np.ones(2), "validate returned validation=array.* must return a number, or a mapping"),
        ({"accuracy": "high"}, "validate returned accuracy='high'"),
        ({"loss": 1.0}, "validate returned 'loss', which fit reports itself"),
    ],
)
def test_what_validate_returns_is_checked(returned, message):
    with pytest.raises(ValueError, match=message):
        fit(validate=lambda meta_params: returned)


def test_a_run_is_resumed_with_other_reports_to_the_same_bits(tmp_path):
    fit(tmp_path / "run", outer_steps=7)
    resumed = fit(tmp_path / "run", resume=True, report_every=2)
    chex.assert_trees_all_equal(resumed, fit())
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [5, 7, 8, 10, 12]


def test_a_run_without_a_checkpoint_starts_anew(tmp_path, capsys):
    def fails(meta_params):
        raise KeyError("of the user's own")

    folder = tmp_path / "run"
    with pytest.raises(KeyError):
        fit(folder, validate=fails)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    (folder / "metrics.jsonl").write_text('{"step": 5, "loss": 0.0}\n')
    state = fit(folder, resume=True, show_progress=True)
    assert "there is no checkpoint yet, so the run starts anew" in capsys.readouterr().out
    chex.assert_trees_all_equal(state, fit(tmp_path / "fresh"))
    rows = [
        [(row["step"], row["loss"]) for row in read_metrics(f)]
        for f in (folder, tmp_path / "fresh")
    ]
    assert rows[0] == rows[1]


def test_checkpoints_of_another_version_are_not_trained_over(tmp_path):
    fit(tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    (tmp_path / "run" / "checkpoints" / "10").mkdir()
    with pytest.raises(ValueError, match="holds no checkpoint that this version of metajax reads"):
        fit(tmp_path / "run", resume=True)


def test_an_optimiser_that_carries_a_key_is_resumed_to_the_same_bits(tmp_path):
    optimizer = optax.noisy_sgd(1e-2, eta=0.1, key=jax.random.key(5))
    fit(tmp_path / "run", optimizer=optimizer, outer_steps=7)
    resumed = fit(tmp_path / "run", optimizer=optimizer, resume=True)
    whole = fit(optimizer=optimizer)
    chex.assert_trees_all_equal(resumed.meta_params, whole.meta_params)
    found = mj.load(tmp_path / "run" / "checkpoints" / "12.npz", like=whole)
    chex.assert_trees_all_equal(found.meta_params, whole.meta_params)


def test_damaged_lines_of_metrics_lose_no_others(tmp_path):
    rows = [{"step": step, "loss": 1.0} for step in (1, 2, 3)]
    lines = [json.dumps(row).encode() for row in rows]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b"\n".join([lines[0], b'{"step": 1', b"\xff\xfe", b"\0\0\0", b"3", lines[1], lines[2]])
        + b"\n[" * 9
    )
    with pytest.warns(
        UserWarning, match=r"metrics\.jsonl: 13 lines are damaged \(line 2: not JSON, or cut"
    ):
        assert read_metrics(tmp_path) == rows
    (said,) = run_dir.RunDir(tmp_path).forget_after(2)
    assert "line 3: not UTF-8; line 4: not JSON" in said
    assert path.read_bytes() == b"\n".join(lines[:2]) + b"\n"
    kept = (tmp_path / "metrics.jsonl.damaged").read_bytes()
    assert kept == b'{"step": 1\n\xff\xfe\n\0\0\0\n3\n' + b"[\n" * 9


def test_lost_sums_of_a_window_lose_no_more_than_the_next_report(tmp_path):
    fit(tmp_path / "run", outer_steps=7)
    (tmp_path / "run" / "window.json").write_text("{")
    chex.assert_trees_all_equal(fit(tmp_path / "run", resume=True), fit())


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "settings.json is damaged"),
        (b"\xff", "settings.json is damaged"),
        (b"{}", "settings.json is damaged: it has no entry 'fit'"),
        (b'{"fit": 3, "settings": {}, "versions": {}}', "is damaged: it lacks settings, fit or"),
    ],
)
def test_damaged_settings_are_named(content, message, tmp_path):
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path)


def test_a_folder_whose_run_never_began_is_as_it_was(tmp_path):
    with pytest.raises(FileExistsError, match="is a file; name a folder"):
        (tmp_path / "file").write_text("")
        fit(tmp_path / "file")
    with run_dir.opened(tmp_path / "new", {}, resume=False) as files:
        assert files is not None
    assert not (tmp_path / "new").exists()
