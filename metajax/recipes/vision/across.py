"""Few-shot classification of pictures from any source, tested on any other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from metajax import checks
from metajax.data import DATASETS, Pictures, folder
from metajax.data.resize import resized
from metajax.names import choose, neither
from metajax.recipes.elsewhere import CLASS_FOLDERS
from metajax.recipes.experiment import Experiment, Preprocessing, Shots
from metajax.recipes.vision.images import DataSpec, Images, experiment
from metajax.recipes.vision.pictures import invented
from metajax.tasks.episodes import Labels
from metajax.tasks.images import images
from metajax.tasks.mixture import mixture
from metajax.types import Sample

GLYPHS = "glyphs"
_HELD_OUT = 0.2
"""The share of classes for validation, and for test."""


@dataclass(frozen=True)
class Across(Images):
    """Learn to tell kinds of pictures apart from any source, and test on any other; needs no data.

    A source is invented characters (glyphs), a data set of `metajax list datasets` with pictures, or a folder
    with one folder of pictures per class. Omniglot and CIFAR-FS have recipes with their published splits.
    """

    source: tuple[str, ...] = (GLYPHS,)
    """Where training and validation tasks come from; of several sources, each task has one at random."""
    test_source: str | None = None
    """Where test tasks come from; by default classes of the first source that are held out. All classes of
    another source are for testing."""
    size: int = 28
    """Pixels along a side of a picture, to which all sources are scaled."""
    channels: int = 1
    """1 for grey pictures, 3 for colours."""
    ink: Literal["bright", "dark", "any"] = "bright"
    """The polarity of drawings, to which all sources are turned; "any" leaves pictures as they are."""
    split_seed: int = 0
    """Seed of the classes that are held out."""


def build(settings: Across) -> Experiment:
    """Returns the experiment of these settings; reads the pictures.

    Raises:
      ValueError: For settings that do not go together, unknown sources, and too few classes or pictures.
      FileNotFoundError: For data that are missing.
    """
    s = settings
    size = checks.count("images", "size", s.size, least=16)
    folder.check_channels("images", s.channels)
    choose("images", "ink", s.ink, ("bright", "dark", "any"))
    if not s.source:
        raise ValueError("images: source is empty; name at least one, such as glyphs.")
    ink = None if s.ink == "any" else s.ink
    how = Preprocessing(size, s.channels, (0.0,), (1.0,), ink)
    invent = invented(how)[GLYPHS]
    given = {name: _pictures(s, name) for name in s.source if name != GLYPHS}
    elsewhere = s.test_source not in (None, s.source[0])
    parts = {name: _split(s, name, found, not elsewhere) for name, found in given.items()}
    tested = s.source[0] if s.test_source is None else s.test_source
    other = _pictures(s, tested) if elsewhere and tested != GLYPHS else None

    def of(name: str, found: Pictures, shots: Shots, labels: Labels) -> Sample:
        return images(
            found,
            way=shots.way or s.way,
            shot=shots.shot,
            query_shot=shots.query_shot,
            size=size,
            channels=s.channels,
            ink=ink,
            query_labels=labels,
            name=f"images: {name}",
        )

    def source(subset, way, shot, query_shot, labels: Labels = "episode") -> Sample:
        shots = Shots(shot, query_shot, way)
        if subset == "test" and elsewhere:
            return invent(shots) if other is None else of(tested, other, shots, labels)
        names = s.source[:1] if subset == "test" else s.source
        each = [
            invent(shots) if name == GLYPHS else of(name, parts[name][subset], shots, labels)
            for name in names
        ]
        return each[0] if len(each) == 1 else mixture(each)

    alone = len(s.source) == 1 and s.source[0] != GLYPHS
    return experiment(
        s,
        DataSpec(
            "images",
            source,
            classes=len(parts[s.source[0]]["train"].classes) if alone else None,
            query_shot=5,
            test_query_shot=10,
            test_tasks=600,
            downsample="stride",
            thing="kinds of pictures",
            published={},
            test_name=f"{Path(tested).name}, trained on {' and '.join(Path(n).name for n in s.source)}",
            preprocessing=how,
            sources={GLYPHS: invent},
        ),
    )


def _pictures(s: Across, name: str) -> Pictures:
    """All pictures of a source, at the size of the run."""
    with_pictures = {key: row.pictures for key, row in DATASETS.items() if row.pictures}
    if name in with_pictures:
        found = with_pictures[name](s.data)
        return found._replace(classes=[resized(own, s.size, s.channels) for own in found.classes])
    if Path(name).expanduser().is_dir():
        return folder.read(name, size=s.size, channels=s.channels)
    known = [GLYPHS, *with_pictures]
    raise neither(f"images: source={name!r}", "a source nor a folder", name, known, CLASS_FOLDERS)


def _split(s: Across, name: str, found: Pictures, tests: bool) -> dict[str, Pictures]:
    """The classes for training, validation and, where it is the source of tests, test."""
    number = len(found.classes)
    held = max(s.way, round(_HELD_OUT * number))
    left = number - held * (1 + tests)
    if left < (s.train_way or s.way):
        asked = f"{held} for validation" + f" and {held} for test" * tests
        raise ValueError(
            f"images: {name} has {number} classes, of which {asked} leave {max(left, 0)} for training, but "
            f"{s.train_way or s.way} are needed. Use a smaller way, or test on another source."
        )
    order = np.random.default_rng(s.split_seed).permutation(number)
    cuts = np.split(order, [held * tests, number - left])
    return {
        part: Pictures([found.classes[i] for i in own], [found.names[i] for i in own], found.ink)
        for part, own in zip(("test", "val", "train"), cuts, strict=True)
    }
