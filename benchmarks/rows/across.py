"""Few-shot classification across domains: what is trained, what it is tested on, and the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import record

from metajax.recipes.vision.across import Across
from metajax.recipes.vision.sources import SOURCES
from rows.table import NOT_RUN, Section, lines, version_of

TASKS, INDUCTIVE_TASKS, VALIDATION_TASKS = 600, 100, 200
"""Fewer inductive ones, because each of their queries passes through the network with the whole support."""
SIZES = ((5, 1), (10, 1), (5, 5), (10, 5))
"""Way and shot of test tasks."""
PHOTOGRAPHS, WITHOUT_SPLIT = ("cifar_fs", "fc100"), ("mnist", "fashion_mnist")
TARGETS = (*WITHOUT_SPLIT, "omniglot", "glyphs", *PHOTOGRAPHS)
PIXELS = "pixels"
STEPS = (1, 3, 5, 10, 20, 40)
"""Inner steps among which those of each learner are chosen, on validation tasks of the source."""
RATES = {
    "linear_probe": (0.03, 0.1, 0.3, 1.0),
    "unit_probe": (0.3, 1.0, 3.0, 10.0),
    "finetune": (0.03, 0.1, 0.3, 1.0),
    "unit_finetune": (0.03, 0.1, 0.3, 1.0),
}
"""Inner rates among which those of pretrained networks are chosen likewise."""


class Trained(NamedTuple):
    """A training, or none, and what its learner is tested on.

    settings: Of the recipe.
    sizes: Way and shot of the test tasks.
    rates: Inner rates to choose from; none for the one of the settings.
    same_training: The row whose training this one shares.
    """

    settings: Across
    sizes: Sequence[tuple[int, int]] = SIZES
    rates: Sequence[float] = ()
    same_training: str | None = None

    def targets(self) -> list[str]:
        """Sources of test tasks whose classes were not trained on."""
        s = self.settings
        seen = {SOURCES[name].origin for name in s.source if name in SOURCES}
        held_out = {*s.source} - {*WITHOUT_SPLIT}
        colour = s.channels == 3
        return [
            name
            for name in (PHOTOGRAPHS if colour else TARGETS)
            if name in held_out or name not in SOURCES or SOURCES[name].origin not in seen
        ]


_GREY = Across(ink="any", meta_batch=4, outer_steps=3_000)
_COLOUR = replace(_GREY, size=32, channels=3, source=("cifar_fs",))
ONE, FIVE = SIZES[:2], SIZES[2:]


def _metric(base: Across, learner: Any, **changes: Any) -> dict[str, Trained]:
    """A learner of any way, trained for one shot and for five."""
    own = replace(base, learner=learner, train_way=20, **changes)
    return {
        "1s": Trained(own, ONE),
        "5s": Trained(replace(own, shot=5, meta_batch=max(1, own.meta_batch // 2)), FIVE),
    }


def _by_gradients(base: Across, learner: Any, **changes: Any) -> dict[str, Trained]:
    """A learner with an output for each class, trained for every size."""
    return {
        f"{way}w{shot}s": Trained(
            replace(
                base, learner=learner, way=way, shot=shot, meta_batch=4 * base.meta_batch // shot,
                **changes,
            ),
            ((way, shot),),
        )
        for way, shot in SIZES
    }  # fmt: skip


def _pretrained(source: str, base: Across) -> dict[str, Trained]:
    """One classifier of all training classes, whose features are adapted in several ways."""
    own = replace(base, learner="simpleshot", train_way=64, query_shot=1, meta_batch=2, reference=2)
    first = f"{source}_simpleshot"
    return {first: Trained(own)} | {
        f"{source}_{name}": Trained(replace(own, learner=name), rates=rates, same_training=first)
        for name, rates in RATES.items()
    }


def _tasknorm(base: Across) -> dict[str, Trained]:
    """A prototypical network with TaskNorm, which counts the support set."""
    return {
        f"{way}w{shot}s": Trained(
            replace(
                base, learner="protonet", normalisation="task", way=way, shot=shot,
                meta_batch=4 * base.meta_batch // shot,
            ),
            ((way, shot),),
        )
        for way, shot in SIZES
    }  # fmt: skip


def _family(base: Across) -> dict[str, dict[str, Trained]]:
    return {name: _metric(base, name) for name in ("protonet", "r2d2", "lrd2")} | {
        "maml": _by_gradients(base, "maml", num_steps=3, inner_rate=0.2)
    }


def _named(source: str, learners: Mapping[str, Mapping[str, Trained]]) -> dict[str, Trained]:
    return {
        "_".join(filter(None, (source, learner, size))): trained
        for learner, sizes in learners.items()
        for size, trained in sizes.items()
    }


_OMNIGLOT = replace(_GREY, source=("omniglot",))
_FEW = ("mnist", "fashion_mnist")
_TRAVEL: dict[str, Any] = {
    "turned": {"rotations": "class"},
    "distorted": {"distortion": 0.2},
    "with_glyphs": {"source": ("omniglot", "glyphs")},
    "with_glyphs_distorted": {"source": ("omniglot", "glyphs"), "distortion": 0.2},
    "turned_distorted": {"rotations": "class", "distortion": 0.2},
    "with_photographs": {"source": ("omniglot", "glyphs", "cifar_fs"), "distortion": 0.2},
}
"""What may help a prototypical network to travel."""
_PROTONET: dict[str, Any] = {"learner": "protonet", "distortion": 0.2}
ROWS: dict[str, Trained] = {
    PIXELS: Trained(replace(_GREY, learner="nearest_neighbour", outer_steps=1)),
    f"{PIXELS}_colour": Trained(replace(_COLOUR, learner="nearest_neighbour", outer_steps=1)),
    **_named("omniglot", _family(_OMNIGLOT)),
    **_pretrained("omniglot", _OMNIGLOT),
    **{
        f"omniglot_protonet_{size}_{name}": trained
        for name, changes in _TRAVEL.items()
        for size, trained in _metric(replace(_OMNIGLOT, **changes), "protonet").items()
    },
    **_named("omniglot", {"tasknorm": _tasknorm(_OMNIGLOT)}),
    # CAVIA adapts a scale and a shift of each feature (FiLM), and nothing else.
    **_named("omniglot", {"cavia": _by_gradients(_OMNIGLOT, "cavia")}),
    **_named("glyphs", _family(replace(_GREY, source=("glyphs",)))),
    **{
        f"{name}_protonet_1s": Trained(
            replace(_GREY, source=(name,), test_source="omniglot", meta_batch=16, **_PROTONET),
            ONE[:1],
        )
        for name in WITHOUT_SPLIT
    },
    **_named("cifar_fs", {"protonet": _metric(replace(_GREY, source=("cifar_fs",)), "protonet")}),
    **_named("fc100", {"protonet": _metric(replace(_GREY, source=("fc100",)), "protonet")}),
    **_named("colour", {"protonet": _metric(_COLOUR, "protonet")}),
}


def name_of(way: int, shot: int) -> str:
    """Such as "5w1s"."""
    return f"{way}w{shot}s"


def trained_on(trained: Trained) -> str:
    """The sources of a training, and what was done to its pictures."""
    s = trained.settings
    if s.learner == "nearest_neighbour":
        return "nothing"
    changes = [f"distorted by {s.distortion:g}"] if s.distortion else []
    changes += ["rotations as classes"] if s.rotations == "class" else []
    return ", ".join([" + ".join(s.source), *changes])


def learner_of(trained: Trained) -> str:
    """The learner, and what is not usual in it."""
    s = trained.settings
    return s.learner + (", TaskNorm" if s.normalisation == "task" else "")


def _cell(pair: Sequence[float]) -> str:
    return f"{pair[0]:.1f} ± {pair[1]:.1f}"


def _table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Every trained source and learner on tasks of one target; rows of several sizes are one line."""
    by_line: dict[tuple[str, str], dict[str, Any]] = {}
    for name in (name for name in ROWS if name in cells):
        key = trained_on(ROWS[name]), learner_of(ROWS[name])
        by_line.setdefault(key, {}).update(cells[name])
    columns = [name_of(*size) for size in SIZES]
    rows = [
        [source, learner, *(_both(found.get(column)) for column in columns)]
        for (source, learner), found in by_line.items()
    ]
    return lines(["trained on", "learner", *columns], rows)


def _both(found: Mapping[str, Any] | None) -> str:
    """Transductive and inductive accuracy, and how far the first is above nearest pixels."""
    if found is None:
        return ""
    shown = f"{_cell(found['transductive'])}; {_cell(found['inductive'])}"
    apart = found.get("above_pixels")
    return shown if apart is None else f"{shown} ({apart[0]:+.1f} ± {apart[1]:.1f})"


def text() -> str:
    """A table for every target."""
    result = record.read("across")
    if result is None:
        return f"{NOT_RUN}: `python benchmarks/across.py ROW`"
    missing = [name for name in ROWS if name not in result["rows"]]
    targets = [*TARGETS, *(name for name in result["cells"] if name not in TARGETS)]
    parts = [
        NOTE.format(tasks=result["tasks"], inductive=INDUCTIVE_TASKS, version=version_of(result))
    ]
    for target in targets:
        if target in result["cells"]:
            parts.append(f"Test tasks of **{target}**:\n\n{_table(result['cells'][target])}")
    parts.append(ANALYSIS)
    if missing:
        parts.append(f"Not run: {', '.join(f'`{name}`' for name in missing)}.")
    return "\n\n".join(parts)


ANALYSIS = (
    "**What travels.** Prototypes of Omniglot's strokes serve MNIST, whose digits are strokes too, and "
    "glyphs. Distortions, which make characters of other slope, size and place, bring nearly ten points on "
    "MNIST and two on Omniglot itself, and invented glyphs beside Omniglot about one more on MNIST. On "
    "Fashion-MNIST the plain ones are below the nearest neighbour of pixels: clothes are areas, whose pixels "
    "tell more than a network that never saw an area. R2-D2 and LR-D2, whose heads are solved for each task, "
    "are about level with prototypes on MNIST, a little ahead on characters, and lose less on Fashion-MNIST, "
    "where pixels are still ahead of them. MAML is between the two on clothes and just behind them on strokes. "
    "On photographs no row is far above pixels.\n\n"
    "**Pretraining** on all classes at once (simpleshot, probes and fine-tuning share that network) is about "
    "five points behind on MNIST and Omniglot from one picture, and ahead on Fashion-MNIST. From five pictures "
    "it is ahead of prototypes on both targets, and on Fashion-MNIST unit_probe alone passes pixels outside of "
    "the interval. Probes and fine-tuning of features as they are lose twenty points and more on Fashion-MNIST "
    "from one picture: even the least of the rates overshoots on features of this length, which costs "
    "nothing on strokes, where rates are chosen. Features of length 1 (unit_probe, unit_finetune) have rates "
    "among which some do not."
)
NOTE = (
    "Each line names what was trained on; a target that is named there too is tested on its held-out classes, "
    "so that this line is the in-domain learner. MNIST and Fashion-MNIST have ten classes, which leave none to "
    "train an in-domain learner on. Cells: accuracy in %, transductive; inductive (transductive above the "
    "nearest neighbour of pixels, paired by task). Means and 95 % intervals are over {tasks} frozen test tasks "
    "with 10 queries of each class, of the mean over the seeds that were run; inductive ones over at least "
    "{inductive} tasks, because every query of theirs passes through the network with the whole support. conv4 "
    "of 64 channels, 28 x 28 grey pictures. Inner steps, and the rates of pretrained networks, are chosen on "
    "validation tasks of the source; nothing is selected on a target. The copy of Fashion-MNIST has 2,000 "
    "pictures of train and test together, that of CIFAR-100 is in JPEG of quality 85. Reproduce with `python "
    "benchmarks/across.py ROW`. Measured with metajax {version}."
)
SECTION = Section("From one kind of pictures to another", text)
