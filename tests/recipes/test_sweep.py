"""Sweeps of recipes: what is swept is checked before anything is computed, and grouped into programs."""

import pytest

from metajax import recipes
from metajax.recipes import sweep
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
