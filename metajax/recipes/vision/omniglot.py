"""Few-shot classification of handwritten characters."""

from dataclasses import dataclass
from typing import Literal

from metajax.data.omniglot import split_sizes
from metajax.recipes.experiment import Experiment, refuse_ignored
from metajax.recipes.vision.images import Images, Photos, Table, experiment
from metajax.tasks.omniglot import omniglot
from metajax.tasks.synthetic.glyphs import glyphs


@dataclass(frozen=True)
class Omniglot(Images):
    """Learn to tell new handwritten characters apart from one or a few drawings of each.

    Reads the published zips; `metajax data omniglot` downloads them. Invented characters, --source
    glyphs --test-source glyphs, need no data at all.
    """

    source: Literal["omniglot", "glyphs"] = "omniglot"
    """Where training and validation tasks come from: Omniglot, or invented characters without end."""
    test_source: Literal["omniglot", "glyphs"] = "omniglot"
    """Where test tasks come from."""
    split: Literal["random", "vinyals", "lake"] = "random"
    """Which characters are for testing."""
    split_seed: int | None = None
    """Seed of the random split, by which runs of several seeds share it; by default that of the run."""
    rotations: Literal["episode", "class", "none"] = "episode"
    """How drawings are rotated: see `mj.tasks.omniglot`."""
    reflections: bool = False
    """Learn from mirror images of the training characters too, see `mj.tasks.omniglot`."""
    distortion: float = 0.1
    """Warp Omniglot's training drawings by up to this, see `mj.tasks.omniglot`; 0 as in the papers."""


def build(settings: Omniglot) -> Experiment:
    """The experiment these settings describe; reads the drawings.

    Raises:
      ValueError: for settings that do not go together.
    """
    s = settings
    anywhere = "omniglot" in (s.source, s.test_source)
    drawn = s.source == "omniglot"
    has = {
        "split": anywhere,
        "split_seed": anywhere,
        "rotations": anywhere,
        "reflections": drawn,
        "distortion": drawn,
    }
    refuse_ignored("omniglot", s, "source", has)
    refuse_ignored("omniglot", s, "split", {"split_seed": s.split == "random"})

    def source(subset, way, shot, query_shot, labels):
        if (s.test_source if subset == "test" else s.source) == "glyphs":
            return glyphs(way=way, shot=shot, query_shot=query_shot)
        return omniglot(
            subset,
            way=way,
            shot=shot,
            query_shot=query_shot,
            split=s.split,
            split_seed=s.seed if s.split_seed is None else s.split_seed,
            rotations=s.rotations,
            reflections=s.reflections and subset == "train",
            distortion=s.distortion if subset == "train" else 0.0,
            query_labels=labels,
            data=s.data,
        )

    characters = split_sizes(s.split)["train"]
    if s.rotations == "class":
        characters *= 8 if s.reflections else 4
    return experiment(
        s,
        Photos(
            "omniglot",
            source,
            classes=characters if drawn else None,
            query_shot=s.shot,  # as in MAML
            test_query_shot=s.shot,
            test_tasks=2_000,
            downsample="stride",
            thing="characters",
            published=published(s),
        ),
    )


def published(s: Omniglot) -> Table:
    """Rows of the literature on the characters of these settings."""
    return _PUBLISHED if s.source == s.test_source == "omniglot" else {}


_PUBLISHED: Table = {
    "maml": (
        (
            "MAML, table 1",
            {(5, 1): 98.7, (5, 5): 99.9, (20, 1): 95.8, (20, 5): 98.9},
            "Finn et al. 2017: transductive, random split, 60,000 outer steps, readout mean",
        ),
        (
            "FOMAML, support statistics",
            {(5, 1): 91.8, (5, 5): 98.1, (20, 1): 89.6, (20, 5): 96.4},
            "Bronskill et al. 2020, table 1: inductive, random split",
        ),
    ),
    "fomaml": (
        (
            "FOMAML, all queries together",
            {(5, 1): 98.4, (5, 5): 99.2, (20, 1): 90.9, (20, 5): 96.6},
            "Bronskill et al. 2020, table 1: transductive, random split, best of ten test steps",
        ),
        (
            "FOMAML, support statistics",
            {(5, 1): 91.8, (5, 5): 98.1, (20, 1): 89.6, (20, 5): 96.4},
            "Bronskill et al. 2020, table 1: inductive, random split",
        ),
    ),
    "imaml": (
        (
            "iMAML, gradient descent",
            {(5, 1): 99.16, (5, 5): 99.67, (20, 1): 94.46, (20, 5): 98.69},
            "Rajeswaran et al. 2019, table 2: transductive",
        ),
    ),
    "mamlpp": (
        (
            "MAML++",
            {(5, 1): 99.47, (20, 1): 97.65, (20, 5): 99.33},
            "Antoniou et al. 2019: transductive, mean logits of five checkpoints",
        ),
    ),
    "meta_sgd": (
        (
            "Meta-SGD",
            {(5, 1): 99.53, (5, 5): 99.93},
            "Li et al. 2017: transductive presumably",
        ),
    ),
    "protonet": (
        (
            "ProtoNets, the authors' code rerun",
            {(5, 1): 98.5, (5, 5): 99.6, (20, 1): 94.5, (20, 5): 98.6},
            "Bronskill et al. 2020, table C.1: inductive, Vinyals split, trained 60-way",
        ),
    ),
    "matching": (
        (
            "Matching networks, as MAML's table 1 has them",
            {(5, 1): 98.1, (5, 5): 98.9, (20, 1): 93.8, (20, 5): 98.5},
            "Vinyals et al. 2016: their split, with full context embeddings",
        ),
    ),
    "snail": (
        (
            "SNAIL, table 1",
            {(5, 1): 99.07, (5, 5): 99.78, (20, 1): 97.64, (20, 5): 99.36},
            "Mishra et al. 2018: trained on the classes of Vinyals et al., rotations as classes",
        ),
    ),
    "memory_augmented": (
        (
            "MANN, as MAML's table 1 has it",
            {(5, 1): 82.8, (5, 5): 94.9},
            "Santoro et al. 2016: no convolutions, and a label one step late",
        ),
    ),
    "anil": (
        (
            "ANIL, table 2",
            {(20, 1): 96.2, (20, 5): 98.0},
            "Raghu et al. 2020: transductive presumably, three seeds",
        ),
    ),
    "reptile": (
        (
            "Reptile with transduction",
            {(5, 1): 97.68, (5, 5): 99.48, (20, 1): 89.43, (20, 5): 97.12},
            "Nichol et al. 2018: transductive, trained with 10 shots, 100,000 outer steps",
        ),
        (
            "Reptile",
            {(5, 1): 95.39, (5, 5): 98.9, (20, 1): 88.14, (20, 5): 96.65},
            "Nichol et al. 2018: each query with the support set",
        ),
    ),
}
