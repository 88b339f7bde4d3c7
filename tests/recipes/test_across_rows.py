"""The rows of classification across domains: nothing is tested on classes that it was trained on."""

from dataclasses import replace

import across
import numpy as np
import pytest
from rows import across as rows

from metajax.recipes.learners import LEARNERS
from metajax.recipes.training import by_pretraining


@pytest.mark.parametrize("name", rows.ROWS)
def test_a_row_is_tested_on_what_it_can_be_tested_on(name):
    row = rows.ROWS[name]
    s, targets = row.settings, row.targets()
    assert targets and "-" not in name  # files of results are split there
    # CIFAR-FS and FC100 are the same photographs; MNIST and Fashion-MNIST hold out no class.
    assert len({"cifar_fs", "fc100"} & {*targets, *s.source}) == 1 or "cifar_fs" not in s.source
    assert not {"mnist", "fashion_mnist"} & {*targets} & {*s.source}
    learner = LEARNERS[s.learner]
    trained_apart = learner.fixes_train_way() and learner.classify is not None
    if trained_apart or s.normalisation == "task":
        assert row.sizes == ((s.way, s.shot),)
    elif s.train_way and learner.objective is not by_pretraining:
        assert all(shot == s.shot for _, shot in row.sizes)


@pytest.mark.parametrize("name", [name for name, row in rows.ROWS.items() if row.same_training])
def test_rows_that_share_a_training_differ_in_how_they_adapt_alone(name):
    own = rows.ROWS[name]
    assert own.same_training is not None
    first = rows.ROWS[own.same_training]
    assert replace(own.settings, learner="x") == replace(first.settings, learner="x")


def test_cells_are_means_over_seeds_paired_with_pixels_by_task():
    # Two seeds of three tasks: means over seeds 50, 60, 70, of which pixels have 40, 50, 60.
    seeds = {
        seed: {
            "transductive": np.array([50.0, 60.0, 70.0]) + apart,
            "inductive": np.array([50.0, 60.0, 70.0]),
            "steps": np.array(5),
            "rate": np.array(0.1),
        }
        for seed, apart in enumerate((-5.0, 5.0))
    }
    found = across.cell(seeds, np.array([40.0, 50.0, 60.0]))
    assert found["transductive"][0] == found["inductive"][0] == 60
    assert found["above_pixels"] == [pytest.approx(10), pytest.approx(0, abs=1e-4)]
    assert found["seeds"] == {"0": 55.0, "1": 65.0}


def test_a_line_of_a_table_has_its_source_learner_and_sizes():
    cell = {"transductive": [60.0, 1.0], "inductive": [59.0, 1.5], "above_pixels": [4.0, 0.5]}
    found = rows._table({
        "omniglot_protonet_1s_turned": {"5w1s": cell},
        "omniglot_protonet_5s_turned": {"5w5s": cell},
    })  # fmt: skip
    *_, line = found.splitlines()
    shown = "60.0 ± 1.0; 59.0 ± 1.5 (+4.0 ± 0.5)"
    assert line == f"| omniglot, rotations as classes | protonet | {shown} |  | {shown} |  |"
