"""Faults injected into a run: each ends in a sentence, and nothing is lost."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import metajax as mj
from metajax import files
from metajax.train import checkpoint, guard, report, run_dir
from metajax.train.records import read_metrics, read_settings

LINE = mj.Model(init=lambda key, x: jnp.zeros(()), apply=lambda w, x: w * x)
LEARNER = mj.maml(LINE, mj.mse, optax.sgd(0.25), num_steps=0)
PLAIN = mj.query_loss(LEARNER, mj.mse)
SGD = optax.sgd(0.125)
TASKS = mj.tasks.sinusoid(shot=2)


def fit(folder=None, **changes) -> Any:
    options: Any = {
        "key": jax.random.key(0), "outer_steps": 12, "meta_batch": 2, "show_progress": False,
        "report_every": 4, "run_dir": folder,
    }  # fmt: skip
    return mj.fit(LEARNER, PLAIN, SGD, TASKS, **(options | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its folder, and its last state."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, fit(folder)


@pytest.fixture
def stopped(whole, tmp_path):
    """A copy of a run that holds the checkpoints of steps 8 and 12."""
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def numbers(folder):
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in read_metrics(folder)]


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.find(b"\x93NUMPY") + 130] ^= 4
    path.write_bytes(content)


def swapped(path):
    """Members change places, with every checksum of zip right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    scalars = [
        name for name, content in members.items() if name != "header.npy" and len(content) == 132
    ]
    one, other = scalars[:2]
    members[one], members[other] = members[other], members[one]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage", [cut, flip, swapped, a_folder, a_pipe, lambda path: path.write_bytes(b"")]
)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    damage, stopped, whole, capsys
):
    damage(stopped / "checkpoints" / "12.npz")
    (stopped / "checkpoints" / "²³.npz").touch()  # digits, but no number
    state = fit(stopped, resume=True, show_progress=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "12.npz is" in said
    assert "It is kept as 12.npz.damaged, and the run goes on from step 8." in said
    chex.assert_trees_all_equal(state, whole[1])
    assert numbers(stopped) == numbers(whole[0])
    assert (stopped / "checkpoints" / "12.npz.damaged").exists()


def test_readers_take_the_newest_whole_checkpoint_and_write_nothing(stopped, whole):
    cut(stopped / "checkpoints" / "12.npz")
    before = sorted(path.name for path in (stopped / "checkpoints").iterdir())
    with pytest.warns(UserWarning, match=r"12\.npz is .* Step 8 is read in its place"):
        found = mj.restore(stopped)
    assert found.step == 8
    assert sorted(path.name for path in (stopped / "checkpoints").iterdir()) == before
    cut(stopped / "checkpoints" / "8.npz")
    with pytest.raises(files.DamagedError, match=r"no checkpoint is whole.*12\.npz is.*8\.npz is"):
        fit(stopped, resume=True)


def test_a_checkpoint_of_other_shapes_is_no_damage(stopped):
    learner = mj.maml(mj.mlp((2,)), mj.mse, SGD, num_steps=0)
    with pytest.raises(ValueError, match="meta_params/params/Dense_0/bias"):
        mj.fit(learner, mj.query_loss(learner, mj.mse), SGD, TASKS, key=jax.random.key(0), run_dir=stopped,
               outer_steps=12, meta_batch=2, resume=True, show_progress=False)  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"fit": 3}', None])
def test_settings_that_are_damaged_are_read_from_their_copy(content, stopped, whole):
    path = stopped / "settings.json"
    kept = read_settings(stopped)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"settings\.json is .*copy \.settings\.json is read"):
        assert read_settings(stopped) == kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chex.assert_trees_all_equal(fit(stopped, resume=True), whole[1])
    assert read_settings(stopped) == kept  # mended, without a warning
    if content is not None:
        assert (stopped / "settings.json.damaged").read_bytes() == content


def test_a_changed_number_in_the_settings_is_said(stopped):
    path = stopped / "settings.json"
    path.write_text(path.read_text().replace('"meta_batch": 2', '"meta_batch": 3'))
    with pytest.warns(UserWarning, match=r"was changed since the run began: fit in it differ"):
        assert read_settings(stopped)["fit"]["meta_batch"] == 2


@pytest.mark.parametrize("line", [b'{"step": 8, "lo', b"\xff\xfe", b"\0\0\0", b"[8]", b"[" * 5000])
def test_damaged_reports_are_named_and_set_aside(line, stopped, whole, capsys):
    path = stopped / "metrics.jsonl"
    rows = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([rows[0], line, *rows[1:]]) + b"\n")
    with pytest.warns(UserWarning, match=r"metrics\.jsonl: 1 line is damaged \(line 2: .*left out"):
        assert len(read_metrics(stopped)) == 3
    state = fit(stopped, resume=True, show_progress=True)
    assert "kept in metrics.jsonl.damaged" in " ".join(capsys.readouterr().out.split())
    chex.assert_trees_all_equal(state, whole[1])
    assert (stopped / "metrics.jsonl.damaged").read_bytes() == line + b"\n"
    assert numbers(stopped) == numbers(whole[0])


def test_lost_reports_are_said(stopped, capsys):
    (stopped / "metrics.jsonl").unlink()
    fit(stopped, resume=True, show_progress=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "metrics.jsonl holds no report up to step 12; they are lost" in said


def test_a_changed_digit_in_the_reports_is_said(stopped, capsys):
    path = stopped / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss": ', '"loss": 1', 1))
    fit(stopped, resume=True, show_progress=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "metrics.jsonl: the reports before step 12 are not those that were written" in said


@pytest.mark.parametrize(
    "window", [b"{", b'{"8": 3}', b'{"8": {"window": [1], "seconds": 0}}', b'{"\\u00b2": 1}']
)
def test_damaged_sums_of_a_window_change_no_parameters(window, stopped, whole):
    (stopped / "checkpoints" / "12.npz").unlink()
    (stopped / "window.json").write_bytes(window)
    chex.assert_trees_all_equal(fit(stopped, resume=True), whole[1])


def test_a_run_without_a_checkpoint_is_started_anew_with_or_without_resume(stopped, whole):
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "metrics.jsonl").unlink()
    (stopped / ".0123.part").write_text("cut off by a kill")
    again = stopped.with_name("again")
    shutil.copytree(stopped, again)
    chex.assert_trees_all_equal(fit(stopped), whole[1])
    chex.assert_trees_all_equal(fit(again, resume=True), whole[1])
    with pytest.raises(FileExistsError, match="is not empty; resume the run in it"):
        fit(stopped)


def test_reports_without_a_checkpoint_are_no_run_to_replace(stopped):
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(FileExistsError, match="is not empty"):
        fit(stopped)


def test_the_lock_comes_first(stopped, whole):
    script = f"""
import sys
from metajax.train.run_dir import opened
with opened({str(stopped)!r}, {{}}, True):
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        (stopped / "checkpoints" / "12.npz").write_bytes(b"being written")
        for resume in (True, False):
            with pytest.raises(BlockingIOError, match="another process is training in this folder"):
                fit(stopped, resume=resume)
        assert not list(stopped.rglob("*.damaged"))
        process.communicate("")
    chex.assert_trees_all_equal(fit(stopped, resume=True), whole[1])


def test_many_that_lock_a_new_folder_at_once_are_one_after_the_other(tmp_path):
    inside, most, refused = [], [], []

    def enter():
        try:
            with run_dir.opened(tmp_path / "new", {}, resume=False):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()
        except BlockingIOError:
            refused.append(1)

    for _ in range(5):  # what can meet does so about once
        threads = [threading.Thread(target=enter) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most and max(most) == 1
    assert len(most) + len(refused) == 5 * 40
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "new"])  # empty, if it is there


def rescued(error, state_step):
    place = str(error.value).split("is kept in ")[1].split(";")[0]
    assert int(error.value.state.step) == state_step
    return place


def test_a_folder_that_is_deleted_while_training_is_kept_beside_it(tmp_path, whole, capsys):
    folder = tmp_path / "run"

    def delete(row):
        if row["step"] == 4:
            shutil.rmtree(folder)

    with pytest.raises(guard.UnwrittenError, match="run was deleted, moved or replaced") as error:
        fit(folder, callbacks=[delete])
    place = rescued(error, 8)
    assert place == str(tmp_path / "run-rescued")
    assert not folder.exists()
    chex.assert_trees_all_equal(fit(place, resume=True, show_progress=True), whole[1])
    assert numbers(place) == numbers(whole[0])
    assert "not those that were written" not in " ".join(capsys.readouterr().out.split())


def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_elsewhere(tmp_path, whole, monkeypatch):
    folder, real = tmp_path / "run", files.whole

    @contextlib.contextmanager
    def full(path):
        if path.name == "8.npz" and path.parent.parent == folder:
            raise OSError(28, "No space left on device")
        with real(path) as file:
            yield file

    monkeypatch.setattr(files, "whole", full)
    with pytest.raises(guard.UnwrittenError, match=r"that of step 4 is whole.*Make room") as error:
        fit(folder)
    monkeypatch.undo()
    place = rescued(error, 8)
    for where in (place, folder):  # both go on to the same bits
        chex.assert_trees_all_equal(fit(where, resume=True), whole[1])
        assert numbers(where) == numbers(whole[0])


def test_without_any_room_the_state_is_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(1, 1, 0))
    monkeypatch.setattr(files, "append_line", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(guard.UnwrittenError, match=r"\.state of this error is the state of step 4"):
        fit(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_compiled(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/run cannot be written \(.*name a folder that can"):
        fit(tmp_path / "file" / "run")


def test_a_run_that_was_stopped_between_a_checkpoint_and_its_report_reports_first(tmp_path, whole):
    def fails(meta_params):
        raise KeyError("of the user's own")

    folder = tmp_path / "run"
    with pytest.raises(KeyError):
        fit(folder, validate=fails)
    # Nothing is lost, though validation failed.
    assert checkpoint.latest(folder / "checkpoints") == 4
    assert read_metrics(folder) == []
    chex.assert_trees_all_equal(fit(folder, resume=True), whole[1])
    assert numbers(folder) == numbers(whole[0])


def test_the_clock_may_jump(tmp_path, whole, monkeypatch):
    real = time.time
    jumps = iter(range(10**9, 0, -(10**7)))
    monkeypatch.setattr(time, "time", lambda: real() - next(jumps))
    chex.assert_trees_all_equal(fit(tmp_path / "run", checkpoint_every_seconds=0.0), whole[1])
    monkeypatch.undo()
    from metajax.cli.train import _new_folder

    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        _new_folder("sinusoid").mkdir(parents=True)
    assert len(list((tmp_path / "runs").iterdir())) == 3


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_validation_loses_nothing(number, tmp_path, whole):
    def validate(meta_params):
        if not (tmp_path / "pressed").exists():
            (tmp_path / "pressed").touch()
            os.kill(os.getpid(), number)
        return 0.0

    folder = tmp_path / "run"
    state = fit(folder, validate=validate)
    assert int(state.step) == checkpoint.latest(folder / "checkpoints") == 4
    chex.assert_trees_all_equal(fit(folder, validate=validate, resume=True), whole[1])
    assert numbers(folder) == numbers(whole[0])


def test_signals_that_come_together_are_one_and_ignored_ones_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with guard.interruptible() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)  # nohup
            assert not interrupted.is_set()
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
            assert interrupted.wait(5)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_ends_no_run(monkeypatch, tmp_path, whole):
    class Gone:
        encoding = "utf-8"

        def isatty(self):
            return False

        def write(self, text):
            raise OSError(5, "Input/output error")

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    report.say("nobody hears it", True)
    chex.assert_trees_all_equal(fit(tmp_path / "run", show_progress=True), whole[1])


@pytest.mark.parametrize("name", ["%s{}[0]*?", "a[/b]", "[red]x", "-x y\n"])
def test_any_name_of_a_folder(name, tmp_path, whole, capsys):
    folder = tmp_path / name
    fit(folder, outer_steps=6, show_progress=True)
    chex.assert_trees_all_equal(fit(folder, resume=True, show_progress=True), whole[1])
    assert mj.restore(folder).step == 12


def test_settings_of_another_are_read_without_their_code(stopped):
    written = read_settings(stopped)
    written["settings"] = {"recipe": "intents", "encoder": "vectors", "vectors": "os:system"}
    for name in ("settings.json", ".settings.json"):
        (stopped / name).write_text(json.dumps(written))
    with pytest.raises(
        ValueError, match="vectors='os:system' names code, which would be imported and cal"
    ):
        mj.restore(stopped)


def test_files_of_version_0_2_are_read(tmp_path):
    header = {"format": "metajax tree", "version": 1, "tree": {"leaf": ""},
              "leaves": [["", "numpy", [2], "float32"]]}  # fmt: skip
    np.savez(
        tmp_path / "old.npz",
        **{"header": np.array(json.dumps(header)), "tree/": np.ones(2, np.float32)},
    )  # pyright: ignore
    assert mj.load(tmp_path / "old.npz").tolist() == [1.0, 1.0]


def test_members_that_share_their_bytes_unpack_to_no_more_than_the_file(tmp_path):
    leaves = [[f"{i}", "numpy", [10_000_000], "float32"] for i in range(50)]
    header = {"format": "metajax tree", "version": 1, "leaves": leaves,
              "tree": {"list": [[i, {"leaf": f"{i}"}] for i in range(50)]}}  # fmt: skip
    path = tmp_path / "tree.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("header.npy", "w") as file:
            np.lib.format.write_array(file, np.array(json.dumps(header)))
        archive.writestr("tree/0.npy", bytes(40_000_000))
        first = archive.infolist()[-1]
        for i in range(1, 50):
            other = zipfile.ZipInfo(f"tree/{i}.npy")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(other, name, getattr(first, name))
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
    tracemalloc.start()
    with pytest.raises(files.DamagedError, match=r"tree\.npz is .* not a whole file"):
        mj.load(path)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()
