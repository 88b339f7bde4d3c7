"""Sweeps of recipes: what is swept is checked before anything is computed, and grouped into programs."""

import json

import pytest

from metajax import recipes
from metajax.recipes import sweep, sweep_report
from metajax.recipes.language.translation import Translation
from metajax.recipes.synthetic.sinusoid import Sinusoid
from metajax.recipes.vision.omniglot import Omniglot


@pytest.mark.parametrize(
    "entry, message",
    [
        ("iner_rate=0.1", "grid='iner_rate' is unknown; did you mean 'inner_rate'"),
        ("inner_rate=0.1,much", "inner_rate='much' must be a number"),
        ("outer_rate=nan", "outer_rate='nan' must be a number"),
        ("inner_rate=", "there are no values"),
        ("inner_rate", "must be a setting and its values"),
        ("inner_rate=0.1,0.1", "0.1 is given twice"),
        ("shot=2.5", "shot='2.5' must be an integer"),
        ("cosine=yes", "cosine='yes' must be True or False"),
        ("learner=mamll", "did you mean 'maml'"),
        ("loss_steps=1,2", "loss_steps is a list of values itself"),
        ("seed=1,2", "seed is not swept. Give --seeds"),
        ("meta_batch=5,6", "meta_batch=4 is given beside --grid"),
    ],
)
def test_what_cannot_be_swept_is_named(entry, message):
    with pytest.raises(ValueError, match=message):
        sweep.plan(Sinusoid(meta_batch=4), 2, [entry])


def test_a_setting_is_swept_once():
    with pytest.raises(ValueError, match="'inner_rate' is given twice"):
        sweep.plan(Sinusoid(), 2, ["inner-rate=0.1", "inner_rate=0.2"])


def test_a_cell_that_cannot_be_built_is_named():
    found = sweep.plan(Sinusoid(), 2, ["outer_rate=0.1,-1"])
    with pytest.raises(
        ValueError, match=r"--grid outer_rate=-1\.0: sinusoid: outer_rate=-1\.0 must"
    ):
        sweep.check(found)


def test_values_are_those_of_their_type():
    settings = Sinusoid(learner="meta_sgd")
    found = sweep.plan(settings, None, ["clip=None,2", "shot=5,10", "cosine=True,False"])
    assert found.grid == {"clip": (None, 2.0), "shot": (5, 10), "cosine": (True, False)}
    assert len(found.cells) == 8
    assert found.cells[-1].settings == Sinusoid(learner="meta_sgd", clip=2.0, shot=10, cosine=False)
    assert found.settings_of("clip=None,shot=10,cosine=True/seed-0").shot == 10


def test_numbers_that_can_be_traced_share_a_program():
    found = sweep.plan(Sinusoid(), 2, ["outer_rate=0.1,0.2", "shot=5,10", "clip=None,1"])
    groups = sweep.groups(found, lambda settings, name: name in ("outer_rate", "seed"))
    assert len(groups) == 4  # shots and clips, one of which is no number
    assert groups[0].values == {"outer_rate": (0.1, 0.1, 0.2, 0.2), "seed": (0, 1, 0, 1)}
    assert {group.settings.shot for group in groups} == {5, 10}
    assert {settings.outer_rate for _, settings in groups[0].members} == {0.1, 0.2}
    one = sweep.left(groups[0], lambda folder, settings: settings.seed == 1)
    assert one.values == {"outer_rate": (0.1, 0.2), "seed": (1, 1)}


def test_small_learners_share_a_program_and_large_ones_do_not():
    glyphs = Omniglot(source="glyphs", test_source="glyphs", meta_batch=4)
    assert sweep.shares_a_program(recipes.build(Sinusoid()))
    assert not sweep.shares_a_program(recipes.build(glyphs))


def written(folder, validation, scores=None, failed=None):
    """What a member leaves in its folder, as far as a summary reads it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "settings.json").write_text(
        '{"settings": {"outer_steps": 3}, "fit": {}, "versions": {}}'
    )
    (folder / "checkpoints" / f"{3 if failed is None else failed}.npz").touch()
    if failed is not None:
        (folder / "failure.json").write_text(json.dumps({"step": failed}))
        return
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 3, "validation": validation}) + "\n")
    if scores is not None:
        tables = {"all": {"ours": {"mean": scores}, "theirs": {"mean": [4.0, None]}}}
        facts = {"columns": ["1", "5"], "tables": tables}
        (folder / "evaluation.json").write_text(json.dumps(facts))


def test_a_summary_is_of_the_cell_that_validation_tasks_choose(tmp_path):
    found = sweep.plan(Sinusoid(outer_steps=3), 2, ["shot=5,10"])
    written(tmp_path / "shot=5" / "seed-0", 0.5, [1.0, 5.0])
    written(tmp_path / "shot=5" / "seed-1", 0.7, [3.0, 5.0])
    written(tmp_path / "shot=10" / "seed-0", 0.1, [0.0, 0.0])
    written(tmp_path / "shot=10" / "seed-1", None, failed=2)
    e = recipes.build(found.cells[0].settings)
    facts = sweep_report.summary(found, tmp_path, e, "as processes")
    assert [cell["chosen"] for cell in facts["cells"]] == [True, False]
    assert facts["cells"][1]["diverged"] == {"1": 2}
    assert facts["cells"][1]["validation"]["mean"] == [0.1]
    assert "lowest mean over seeds on validation tasks" in facts["selection"]
    ours, theirs = facts["test"]["tables"]["all"].values()
    assert ours["seeds"] == {"0": [1.0, 5.0], "1": [3.0, 5.0]}
    # Student's t of one degree of freedom is 12.706, and 1 and 3 have deviation sqrt(2).
    assert ours["mean"] == [2.0, 5.0]
    assert ours["interval"] == pytest.approx([12.706, 0.0], rel=1e-3)
    assert (theirs["mean"], theirs["number"]) == ([4.0, None], [2, 0])


def test_members_whose_outer_steps_are_resolved_later_are_not_over(tmp_path):
    found = sweep.plan(Translation(synthetic=True), 2)
    assert found.settings.outer_steps is None
    assert [state.is_over for state in sweep_report.states(found, tmp_path)[0]] == [False, False]


def test_a_member_that_is_stopped_is_not_over(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    not_begun = (0, pytest.approx(float("nan"), nan_ok=True), None, False)
    assert sweep_report.state_of(tmp_path) == not_begun
    (tmp_path / "settings.json").write_text(
        '{"settings": {"outer_steps": 3}, "fit": {}, "versions": {}}'
    )
    assert sweep_report.state_of(tmp_path) == not_begun
    (tmp_path / "checkpoints" / "2.npz").touch()
    assert not sweep_report.state_of(tmp_path).is_over
    (tmp_path / "failure.json").write_text('{"step": 1}')  # of a step that was taken again since
    assert sweep_report.state_of(tmp_path).diverged is None
