"""Few-shot classification of small photographs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metajax.recipes.elsewhere import elsewhere
from metajax.recipes.experiment import Experiment
from metajax.recipes.vision import published
from metajax.recipes.vision.cifar_fs import CifarFs
from metajax.types import Learner
from rows import images
from rows.table import Page, Row, Section, both_policies

TEST_TASKS = 1_000
_CLASSES: dict[str, Any] = {
    "train_way": 64,
    "query_shot": 1,
    "meta_batch": 2,
    "outer_optimizer": "sgd",
    "reference": 2,
}
"""Of pretraining: batches that hold every training class, whose statistics tell nothing of a picture's class.
On validation tasks they were ahead of batches of five classes, SGD ahead of Adam, and the statistics of 128
training photographs ahead of those of a task."""
SETTINGS = {
    "cifar_maml": CifarFs(num_steps=5, inner_rate=0.1),
    "cifar_protonet": CifarFs(learner="protonet", train_way=20, meta_batch=1),
    "cifar_r2d2": CifarFs(learner="r2d2", train_way=20, meta_batch=1),
    "cifar_simpleshot": CifarFs(learner="simpleshot", **_CLASSES),
    "cifar_linear_probe": CifarFs(learner="linear_probe", **_CLASSES),
    "cifar_finetune": CifarFs(learner="finetune", **_CLASSES),
    "cifar_nearest_neighbour": CifarFs(learner="nearest_neighbour"),
}
PRETRAINED = ("cifar_simpleshot", "cifar_linear_probe", "cifar_finetune")
"""They share one network, for any number of shots: its training does not depend on it."""


def _row(name: str, minutes: float, **changes: Any) -> Row:
    """A row with settings of its own, trained for so many minutes unless it is pretrained."""
    base = name.removesuffix("_5s")
    pretrained = base in PRETRAINED
    return Row(
        replace(SETTINGS[base], **changes),
        TEST_TASKS,
        minutes=10.0 if pretrained else minutes,
        same_training=PRETRAINED[0] if pretrained and name != PRETRAINED[0] else None,
        # By itself a run validates fifty times, which would outlast these trainings.
        reports=5 if pretrained or base != name else None,
    )


ONE_SHOT = {name: _row(name, 30.0) for name in SETTINGS}
FIVE_SHOT = {f"{name}_5s": _row(f"{name}_5s", 20.0, shot=5, test_query_shot=5) for name in SETTINGS}
"""Tested on a third of the queries, because each is predicted in a batch with 25 images as well.

The test of cifar_finetune_5s takes half an hour of one core.
"""
SHORTER = {
    "cifar_maml_shorter": Row(replace(SETTINGS["cifar_maml"], outer_steps=1_361), TEST_TASKS),
    "cifar_r2d2_shorter": Row(replace(SETTINGS["cifar_r2d2"], outer_steps=3_815), TEST_TASKS),
}
"""A quarter of the outer steps: do the longer ones fall short of their papers for want of training?"""

DEEP_TASKS = 600
_DEEP = {"network": "resnet12", "filters": 32, "readout": "mean"}
DEEP = "cifar_resnet12_simpleshot"
DEEPER = {
    f"cifar_resnet12_{learner}{suffix}": Row(
        CifarFs(learner=learner, **_CLASSES, **_DEEP, **size),
        DEEP_TASKS,
        minutes=40.0,
        reports=10,
        same_training=None
        if not suffix and learner == "simpleshot"
        else "cifar_resnet12_simpleshot",
    )
    for suffix, size in {"": {}, "_5s": {"shot": 5, "test_query_shot": 5}}.items()
    for learner in ("simpleshot", "linear_probe")
}
"""32, 80, 160 and 320 channels, half of the published network's: a whole one has four times the work."""


def _on_cells(e: Experiment, learner: Learner, meta_params: Any, num_tasks: int) -> dict[str, Any]:
    """Tests on cells that are cut out of blood smears."""
    there = elsewhere(e, "bccd", data=e.settings.data)
    return both_policies(there, learner, meta_params, num_tasks)


CELLS = {
    f"{name}_cells{suffix}": Row(
        replace(settings, way=3, shot=shot, test_query_shot=15),
        DEEP_TASKS,
        minutes=None if name == "cifar_nearest_neighbour" else 40.0,
        same_training=trained,
        measure=_on_cells,
    )
    for suffix, shot in {"": 1, "_5s": 5}.items()
    for name, settings, trained in (
        (DEEP, DEEPER[DEEP].settings, DEEP),
        (
            "cifar_nearest_neighbour",
            replace(SETTINGS["cifar_nearest_neighbour"], outer_steps=1),
            None,
        ),
    )
}
"""Three classes: red cells, white cells and platelets."""


def _section(title: str, note: str, rows: Mapping[str, Row], **options: Any) -> Section:
    def text():
        return f"{note}\n\n{images.table(rows, lambda settings: published.CIFAR_FS, **options)}"

    return Section(title, text, rows)


PAGE = Page(
    "CIFAR-FS",
    images.POLICIES,
    (
        _section(
            "1-shot",
            "From a lossy copy of CIFAR-100 (JPEG of quality 85), with 15 queries of each class, and as many "
            "outer steps as fit into 30 minutes on two cores. Training photographs are mirrored and moved by "
            "a few pixels; the meta-batch was chosen on validation tasks. simpleshot, linear_probe and "
            "finetune share one classifier of all training classes, trained for a third as long; no learner "
            "that trains on tasks passes it.",
            ONE_SHOT,
            best_first=True,
        ),
        _section(
            "5-shot",
            "The same with 5 queries of each class and as many outer steps as fit into 20 minutes on two "
            "slower cores; the classifier is that of the table above.",
            FIVE_SHOT,
            best_first=True,
        ),
        _section(
            "ResNet-12",
            "The deeper network with half of its published channels, 32-80-160-320, and as many outer steps as "
            "fit into 40 minutes on two cores: one classifier of all training classes, and what learners do "
            "with its features, normalised by the statistics of 128 training photographs. Published with all "
            "channels and days of training: 65 to 72 (1-shot) and 79 to 84 (5-shot).",
            DEEPER,
        ),
        _section(
            "Other photographs",
            "3-way: red cells, white cells and platelets, each cut out of the photographs of BCCD, by the "
            "ResNet-12 of CIFAR-FS as it is, and by the nearest neighbour of pixels. 15 queries of each class.",
            CELLS,
        ),
        _section(
            "1-shot with a quarter of the outer steps",
            "The difference shows what four times the training is worth.",
            SHORTER,
        ),
    ),
)
