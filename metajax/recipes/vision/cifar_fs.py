"""Few-shot classification of small photographs."""

from dataclasses import dataclass

from metajax.data.cifar import Split
from metajax.recipes.experiment import Experiment, Preprocessing, Shots
from metajax.recipes.vision import published
from metajax.recipes.vision.images import DataSpec, Images, experiment
from metajax.recipes.vision.pictures import invented
from metajax.tasks.cifar_fs import DEVIATION, MEAN, cifar_fs
from metajax.tasks.episodes import Labels
from metajax.types import Sample

CLASSES = {"cifar-fs": 64, "fc100": 60}
PREPROCESSING = Preprocessing(size=32, channels=3, mean=MEAN, deviation=DEVIATION, ink=None)


@dataclass(frozen=True)
class CifarFs(Images):
    """Learn to tell kinds of things apart on 32 x 32 photographs, from one or a few of each.

    Reads CIFAR-100's binary archive; `metajax data cifar_fs` downloads it.
    """

    split: Split = "cifar-fs"
    """Which classes are for testing: "cifar-fs" at random, "fc100" by superclass, which is harder."""
    augment: bool = True
    """Mirror and move training photographs by a few pixels."""
    meta_batch: int = 4
    """Tasks in an outer step."""


def build(settings: CifarFs) -> Experiment:
    """Returns the experiment of these settings; reads the photographs."""
    s = settings

    def source(subset, way, shot, query_shot, labels: Labels = "episode") -> Sample:
        return cifar_fs(
            subset,
            way=way,
            shot=shot,
            query_shot=query_shot,
            split=s.split,
            augment=s.augment and subset == "train",
            query_labels=labels,
            data=s.data,
        )

    def own(shots: Shots) -> Sample:
        return source("test", shots.way, shots.shot, shots.query_shot)

    name = "fc100" if s.split == "fc100" else "cifar_fs"
    data = DataSpec(
        "cifar_fs",
        source,
        classes=CLASSES.get(s.split),
        query_shot=5,
        test_query_shot=15,
        test_tasks=600,
        downsample="pool",
        thing="kinds of things",
        published=published.CIFAR_FS if s.split == "cifar-fs" else {},
        test_name=name,
        preprocessing=PREPROCESSING,
        sources=invented(PREPROCESSING) | {name: own},
        trained_on=frozenset({"cifar_fs"}),
    )
    return experiment(s, data)
