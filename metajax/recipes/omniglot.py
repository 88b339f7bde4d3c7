"""Few-shot classification of handwritten characters."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.estimators import parallel
from metajax.losses import accuracy, cross_entropy
from metajax.models import conv4, mixed_precision
from metajax.names import choose
from metajax.objectives import query_loss
from metajax.recipes.choices import CLASSIFIERS, AdjointName, ClassifierName, build_learner
from metajax.recipes.experiment import Experiment, Published
from metajax.tasks.glyphs import glyphs
from metajax.tasks.omniglot import omniglot


@dataclass(frozen=True)
class Omniglot:
    """Learn to tell new handwritten characters apart from one or a few drawings of each.

    Reads the published zips; `metajax data omniglot` downloads them. Invented characters, --source
    glyphs --test-source glyphs, need no data at all.
    """

    learner: ClassifierName = "maml"
    """What is meta-learned; `metajax list` has a line on each."""
    source: Literal["omniglot", "glyphs"] = "omniglot"
    """Where training and validation tasks come from: Omniglot, or invented characters without end."""
    test_source: Literal["omniglot", "glyphs"] = "omniglot"
    """Where test tasks come from."""
    way: int = 5
    """Characters in a task."""
    train_way: int | None = None
    """Characters in a training task, if more than at test (ProtoNets train so); not with MAML."""
    shot: int = 1
    """Support drawings of each character."""
    query_shot: int | None = None
    """Query drawings of each character in training; by default as many as shots, as in MAML."""
    test_query_shot: int | None = None
    """Query drawings of each character at test; by default as many as shots, as in MAML."""
    split: Literal["random", "vinyals", "lake"] = "random"
    """Which characters are for testing."""
    rotations: Literal["episode", "class", "none"] = "episode"
    """How drawings are rotated: see `mj.tasks.omniglot`."""
    distortion: float = 0.1
    """Warp training drawings by up to this, see `mj.tasks.omniglot`; 0 as in the papers."""
    num_steps: int | None = None
    """Inner gradient steps in training; by default the learner's own, 1 for MAML."""
    test_num_steps: int | None = None
    """More inner steps, tested beside those of training; by default two more, 3 for MAML."""
    inner_rate: float | None = None
    """Step size of inner SGD, on the mean cross-entropy; by default the learner's own, 0.4 for MAML."""
    adjoint: AdjointName | None = None
    """How the inner loop is differentiated; by default exactly, and for iMAML implicitly."""
    filters: int = 64
    """Channels of the convolutional network."""
    readout: Literal["flatten", "mean"] = "flatten"
    """Keep the last layer's four positions (Reptile, iMAML) or average them (MAML)."""
    normalisation: Literal["batch", "layer", "instance", "none"] = "batch"
    """Statistics of the batch (MAML; transductive), of each image, or none: see `mj.conv4`."""
    inductive: bool = False
    """Train on queries that are predicted alone with the support set, as they are judged inductively."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; weights stay float32."""
    meta_batch: int = 32
    """Tasks in an outer step."""
    tasks_per_pass: int | None = None
    """Tasks a device computes at once while the rest of the meta-batch waits; by default one on a
    CPU, where a task fits in the cache, and all elsewhere."""
    outer_rate: float = 1e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    outer_steps: int = 15_000
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run, and of the random split."""
    data: str | None = None
    """The folder that holds omniglot/; by default METAJAX_DATA, then the user cache."""


EPISODIC = ("protonet", "matching", "relation", "r2d2", "lrd2", "proto_maml", "nearest_neighbour")
"""Learners whose outputs are not bound to a number of classes."""


def build(settings: Omniglot) -> Experiment:
    """The experiment these settings describe; reads the drawings."""
    s = settings
    choose("omniglot", "learner", s.learner, CLASSIFIERS)
    if s.learner not in EPISODIC and s.train_way not in (None, s.way):
        raise ValueError(
            f"omniglot: train_way={s.train_way} and way={s.way}; the network of {s.learner!r} has one "
            "output for each class, so leave train_way out."
        )

    def source(subset, query_shot, way=s.way):
        options = {"way": way, "shot": s.shot, "query_shot": query_shot or s.shot}
        if (s.test_source if subset == "test" else s.source) == "glyphs":
            return glyphs(**options)
        return omniglot(
            subset,
            **options,
            split=s.split,
            split_seed=s.seed,
            rotations=s.rotations,
            distortion=s.distortion if subset == "train" else 0.0,
            data=s.data,
        )

    choose("omniglot", "precision", s.precision, ("float32", "bfloat16"))
    ready = [
        conv4(way, filters=s.filters, readout=s.readout, normalisation=s.normalisation)
        for way in (s.way, None)
    ]
    if s.precision == "bfloat16":
        ready = [mixed_precision(model, jnp.bfloat16) for model in ready]
    learner, num_steps = build_learner(
        "omniglot",
        CLASSIFIERS,
        s.learner,
        adjoint=s.adjoint,
        num_steps=s.num_steps,
        rate=s.inner_rate,
        model=ready[0],
        body=ready[1],
        outputs=s.way,
    )
    test_steps = None
    if num_steps is not None:
        more = num_steps + 2 if s.test_num_steps is None else s.test_num_steps
        test_steps = (num_steps, more)
    return Experiment(
        learner=learner,
        loss=cross_entropy,
        objective=query_loss(learner, cross_entropy, inductive=s.inductive),
        optimizer=optax.adam(optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)),
        estimator=parallel(s.meta_batch, s.tasks_per_pass),
        train=source("train", s.query_shot, s.train_way or s.way),
        val=source("val", s.test_query_shot),
        test=source("test", s.test_query_shot),
        metric=accuracy,
        metric_name="accuracy %",
        scale=100.0,
        columns=tuple(f"step {n}" for n in test_steps) if test_steps else ("accuracy",),
        test_steps=test_steps,
        validation_steps=num_steps,
        test_tasks=2_000,
        digits=2,
        inductive=True,
        learned=f"to tell {s.way} characters it has never seen apart, from {s.shot} of each.",
        next_flags="--num-tasks 10000",
        picture=lambda meta_params: _picture(learner, meta_params, source("test", 4)),
        published=published(s),
    )


_PUBLISHED = {
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
}


def published(s: Omniglot) -> tuple[Published, ...]:
    """Rows of the literature for this learner, way and shot; the last column is the paper's."""
    columns = 1 if CLASSIFIERS[s.learner].num_steps is None else 2
    return tuple(
        Published(name, (None,) * (columns - 1) + (values[s.way, s.shot],), protocol)
        for name, values, protocol in _PUBLISHED.get(s.learner, ())
        if (s.way, s.shot) in values and s.test_source == "omniglot"
    )


def _picture(learner, meta_params, sample):
    from metajax import plots  # matplotlib is loaded by those who draw

    support, query = sample(jax.random.key(0))
    adapted = learner.adapt(meta_params, support, jax.random.key(0))
    predictions = jnp.argmax(learner.predict(adapted, query.x), axis=-1)
    title = "Queries of one new task, and the class each was given"
    return plots.episode(np.asarray(query.x), np.asarray(query.y), np.asarray(predictions), title)
