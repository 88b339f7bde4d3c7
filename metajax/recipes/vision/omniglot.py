"""Few-shot classification of handwritten characters."""

from dataclasses import dataclass, replace
from typing import Literal

from metajax.data.omniglot import split_sizes
from metajax.recipes.experiment import Experiment, Preprocessing, Shots, refuse_ignored
from metajax.recipes.vision import published
from metajax.recipes.vision.images import DataSpec, Images, experiment
from metajax.recipes.vision.pictures import invented
from metajax.tasks.episodes import Labels
from metajax.tasks.omniglot import omniglot
from metajax.types import Sample

PREPROCESSING = Preprocessing(size=28, channels=1, mean=(0.0,), deviation=(1.0,), ink="bright")


@dataclass(frozen=True)
class Omniglot(Images):
    """Learn to tell new handwritten characters apart from one or a few drawings of each.

    Reads the published zips; `metajax data omniglot` downloads them. Invented characters, --source
    glyphs --test-source glyphs, need no data at all.
    """

    source: Literal["omniglot", "glyphs"] = "omniglot"
    """The source of training and validation tasks: Omniglot, or endlessly many invented characters."""
    test_source: Literal["omniglot", "glyphs"] = "omniglot"
    """The source of test tasks."""
    split: Literal["random", "vinyals", "lake"] = "random"
    """Which characters are for testing."""
    split_seed: int | None = None
    """Seed of the random split, so that runs of several seeds can share it; by default --seed."""
    rotations: Literal["episode", "class", "none"] = "episode"
    """How drawings are rotated: see `mj.tasks.omniglot`."""
    reflections: bool = False
    """Learn from mirror images of the training characters too: see `mj.tasks.omniglot`."""
    distortion: float = 0.1
    """Warp Omniglot's training drawings by up to this much: see `mj.tasks.omniglot`. The papers do
    not; 0 turns it off."""


def build(settings: Omniglot) -> Experiment:
    """Returns the experiment of these settings; reads the drawings.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = settings
    anywhere, drawn = "omniglot" in (s.source, s.test_source), s.source == "omniglot"
    has = dict.fromkeys(("split", "split_seed", "rotations"), anywhere)
    refuse_ignored("omniglot", s, "source", has | {"reflections": drawn, "distortion": drawn})
    refuse_ignored("omniglot", s, "split", {"split_seed": s.split == "random"})
    if anywhere and s.split == "random" and s.split_seed is None:
        s = replace(s, split_seed=s.seed)

    invent = invented(PREPROCESSING)["glyphs"]

    def source(subset, way, shot, query_shot, labels) -> Sample:
        if (s.test_source if subset == "test" else s.source) == "glyphs":
            return invent(Shots(shot, query_shot, way))
        return drawings(s, subset, Shots(shot, query_shot, way), labels)

    characters = split_sizes(s.split)["train"]
    if s.rotations == "class":
        characters *= 8 if s.reflections else 4
    return experiment(
        s,
        DataSpec(
            "omniglot",
            source,
            classes=characters if drawn else None,
            query_shot=s.shot,  # as in MAML
            test_query_shot=s.shot,
            test_tasks=2_000,
            downsample="stride",
            thing="characters",
            published=published.OMNIGLOT if s.source == s.test_source == "omniglot" else {},
            test_name=s.test_source,
            preprocessing=PREPROCESSING,
            sources={"glyphs": invent, "omniglot": lambda shots: drawings(s, "test", shots)},
            trained_on=frozenset({"omniglot"} if drawn else ()),
        ),
    )


def drawings(s: Omniglot, subset, shots: Shots, labels: Labels = "episode") -> Sample:
    """Tasks of Omniglot's drawings; only those for training are distorted and mirrored."""
    trains = subset == "train"
    return omniglot(
        subset,
        way=shots.way or s.way,
        shot=shots.shot,
        query_shot=shots.query_shot,
        split=s.split,
        split_seed=s.split_seed or 0,
        rotations=s.rotations,
        reflections=s.reflections and trains,
        distortion=s.distortion if trains else 0.0,
        query_labels=labels,
        data=s.data,
    )
