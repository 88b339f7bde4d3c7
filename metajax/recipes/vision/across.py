"""Few-shot classification of pictures from any source, tested on any other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from metajax import checks
from metajax.data import Pictures, folder
from metajax.names import choose
from metajax.recipes.experiment import Experiment, Preprocessing, Shots, refuse_ignored
from metajax.recipes.vision.images import DataSpec, Images, experiment
from metajax.recipes.vision.pictures import invented
from metajax.recipes.vision.sources import (
    SOURCES,
    Found,
    check_disjoint,
    find,
    split,
    turned,
)
from metajax.tasks.episodes import Labels
from metajax.tasks.images import images
from metajax.tasks.mixture import mixture
from metajax.tasks.views import Viewed, Views
from metajax.types import Sample

GLYPHS = "glyphs"


@dataclass(frozen=True)
class Across(Images):
    """Learn to tell kinds of pictures apart from any source, and test on any other; needs no data.

    A source is invented characters (glyphs), a data set of `metajax list datasets` with pictures, fc100, or a
    folder with one folder of pictures per class. Omniglot, CIFAR-FS and FC100 have published splits.
    """

    source: tuple[str, ...] = (GLYPHS,)
    """Where training and validation tasks come from; of several sources, each task has one at random."""
    test_source: str | None = None
    """Where test tasks come from; by default classes of the first source that are held out. Of another
    source they are the test classes of its published split, or all where there is none."""
    size: int = 28
    """Pixels along a side of a picture, to which all sources are scaled."""
    channels: int = 1
    """1 for grey pictures, 3 for colours."""
    ink: Literal["bright", "dark", "any"] = "bright"
    """The polarity of drawings, to which all sources are turned; "any" leaves pictures as they are."""
    rotations: Literal["none", "episode", "class"] = "none"
    """Rotate training pictures by multiples of 90 degrees: "episode" draws one for each class of a task,
    "class" makes each a class of its own."""
    distortion: float = 0.0
    """Warp each training picture by an affine map, up to this much."""
    split_seed: int = 0
    """Seed of the classes that are held out where no split is published."""


def build(settings: Across) -> Experiment:
    """Returns the experiment of these settings; reads the pictures.

    Raises:
      ValueError: For settings that do not go together, unknown sources, and too few classes or pictures.
      FileNotFoundError: For data that are missing.
    """
    s = _resolved(settings)
    _check(s)
    ink = None if s.ink == "any" else s.ink
    how = Preprocessing(s.size, s.channels, (0.0,), (1.0,), ink)
    invent = invented(how)[GLYPHS]
    given = {name: _find(s, name) for name in s.source if name != GLYPHS}
    tested = s.source[0] if s.test_source is None else s.test_source
    elsewhere = tested != s.source[0]
    other = _find(s, tested, "test_source") if elsewhere and tested != GLYPHS else None
    check_disjoint("images", [*given.values(), *([other] if other else [])])
    parts = {
        name: split(found, s.way, s.train_way or s.way, s.split_seed, tests=not elsewhere)
        for name, found in given.items()
    }

    of = partial(_tasks, s)

    def source(subset, way, shot, query_shot, labels: Labels = "episode") -> Sample:
        shots = Shots(shot, query_shot, way)
        if subset == "test" and elsewhere:
            return invent(shots) if other is None else of(tested, other.tests(), shots, labels)
        names = s.source[:1] if subset == "test" else s.source
        own = {
            n: of(n, parts[n][subset], shots, labels, subset == "train")
            for n in names
            if n in parts
        }
        each = [own.get(n) or invent(shots) for n in names]
        return each[0] if len(each) == 1 else mixture(each)

    own = {
        name: lambda shots, name=name: of(name, parts[name]["test"], shots)
        for name in parts
        if "test" in parts[name]
    }
    first = parts.get(s.source[0])
    classes = len(first["train"].classes) if first and len(s.source) == 1 else None
    return experiment(
        s,
        DataSpec(
            "images",
            source,
            classes=classes and classes * (4 if s.rotations == "class" else 1),
            query_shot=5,
            test_query_shot=10,
            test_tasks=600,
            downsample="stride",
            thing="kinds of pictures",
            published={},
            test_name=f"{Path(tested).name}, trained on {' and '.join(Path(n).name for n in s.source)}",
            preprocessing=how,
            sources={GLYPHS: invent} | own,
            trained_on=frozenset(found.origin for found in given.values()),
            parts=_names(given, parts),
        ),
    )


def _names(given: Mapping[str, Found], parts: Mapping[str, Any]) -> dict[str, list[str]]:
    """The classes of each part of sources whose split depends on the number of their classes."""
    return {
        f"{given[name].name}, for {subset}": held.names
        for name, own in parts.items()
        for subset, held in own.items()
        if given[name].parts is None
    }


def _resolved(s: Across) -> Across:
    """The settings with folders named from the root, so that a run finds them from any other."""
    tested = None if s.test_source is None else _path(s.test_source)
    return replace(s, source=tuple(map(_path, s.source)), test_source=tested)


def _path(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.resolve()) if name not in (GLYPHS, *SOURCES) and path.is_dir() else name


def _tasks(s: Across, name, found: Pictures, shots, labels: Labels = "episode", trains=False):
    """Tasks of these pictures; only those for training are rotated and distorted."""
    views = Views(turned=s.rotations == "episode")
    changed = trains and (views.turned or s.distortion)
    return images(
        turned(found) if trains and s.rotations == "class" else found,
        way=shots.way or s.way,
        shot=shots.shot,
        query_shot=shots.query_shot,
        size=s.size,
        channels=s.channels,
        ink=None if s.ink == "any" else s.ink,
        transform=Viewed(views, s.distortion) if changed else None,
        query_labels=labels,
        name=f"images: {name}",
    )


def _check(s: Across) -> None:
    checks.count("images", "size", s.size, least=16)
    folder.check_channels("images", s.channels)
    choose("images", "ink", s.ink, ("bright", "dark", "any"))
    choose("images", "rotations", s.rotations, ("none", "episode", "class"))
    if not 0 <= s.distortion < 0.5:
        raise ValueError(f"images: distortion={s.distortion} must be at least 0 and below 0.5.")
    if not s.source or len({*s.source}) < len(s.source):
        raise ValueError(
            f"images: source={s.source} must name at least one, such as glyphs, and none twice."
        )
    read = any(name != GLYPHS for name in s.source)
    drawn = any(
        name != GLYPHS and not (name in SOURCES and SOURCES[name].is_split) for name in s.source
    )
    refuse_ignored(
        "images", s, "source", {"rotations": read, "distortion": read, "split_seed": drawn}
    )


def _find(s: Across, name: str, setting: str = "source") -> Found:
    return find(f"images: {setting}={name!r}", name, s.data, s.size, s.channels, (GLYPHS,))
