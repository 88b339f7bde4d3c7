"""Few-shot classification of small photographs."""

from dataclasses import dataclass

from metajax.data.cifar import Split
from metajax.recipes.experiment import Experiment
from metajax.recipes.vision.images import Images, Photos, Table, experiment
from metajax.tasks.cifar_fs import cifar_fs

CLASSES = {"cifar-fs": 64, "fc100": 60}


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
    """The experiment these settings describe; reads the photographs."""
    s = settings

    def source(subset, way, shot, query_shot, labels):
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

    photos = Photos(
        "cifar_fs",
        source,
        classes=CLASSES.get(s.split),
        query_shot=5,
        test_query_shot=15,
        test_tasks=600,
        downsample="pool",
        thing="kinds of things",
        published=published(s),
    )
    return experiment(s, photos)


def published(s: CifarFs) -> Table:
    """Rows of the literature on the split of these settings."""
    return _PUBLISHED if s.split == "cifar-fs" else {}


_TABLE = "Bertinetto et al. 2019, table 1: 64 filters or as many parameters, images without loss"
_PUBLISHED: Table = {
    "maml": (("MAML", {(5, 1): 58.9, (5, 5): 71.5}, _TABLE),),
    "protonet": (("ProtoNets", {(5, 1): 55.5, (5, 5): 72.0}, _TABLE),),
    "relation": (("Relation networks", {(5, 1): 55.0, (5, 5): 69.3}, _TABLE),),
    "r2d2": (("R2-D2, wider network", {(5, 1): 65.3, (5, 5): 79.4}, _TABLE),),
}
