"""Few-shot classification of images: what the recipes of its data sets share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metajax.estimators import parallel
from metajax.learners.beside_support import beside_support
from metajax.learners.pretrained import pretrained, pretraining
from metajax.metrics.losses import accuracy, cross_entropy
from metajax.names import choose
from metajax.nn.contexts import from_collection
from metajax.nn.models import Conv4, conv4, linear, mixed_precision
from metajax.nn.normalisation import BY_SUPPORT, Normalisation, normalisation_of
from metajax.objectives import query_loss, reptile
from metajax.recipes.experiment import Experiment, Published, refuse_ignored
from metajax.recipes.learners import (
    CLASSIFIERS,
    AdjointName,
    Choice,
    ClassifierName,
    ImplicitName,
    build_learner,
)
from metajax.types import Sample


@dataclass(frozen=True)
class Images:
    """What is learned, from which tasks, and how."""

    learner: ClassifierName = "maml"
    """What is meta-learned; `metajax list` has a line on each."""
    way: int = 5
    """Classes in a task."""
    train_way: int | None = None
    """Classes in a training task, if more than at test (ProtoNets train so); not with MAML."""
    shot: int = 1
    """Support images of each class."""
    query_shot: int | None = None
    """Query images of each class in training; by default the recipe's own."""
    test_query_shot: int | None = None
    """Query images of each class at test; by default the recipe's own."""
    num_steps: int | None = None
    """Inner gradient steps in training; by default the learner's own, 1 for MAML."""
    test_num_steps: int | None = None
    """More inner steps, tested beside those of training; by default two more, 3 for MAML."""
    inner_rate: float | None = None
    """Step size of inner SGD, on the mean cross-entropy; by default the learner's own, 0.4 for MAML,
    which suits 5-way; 20-way MAML learns faster at 2."""
    adjoint: AdjointName | ImplicitName | None = None
    """How the inner loop is differentiated; by default exactly, and for iMAML, which alone takes the
    implicit ones, by conjugate gradients."""
    filters: int = 64
    """Channels of the convolutional network."""
    readout: Literal["flatten", "mean"] = "flatten"
    """Keep the last layer's positions (Reptile, iMAML) or average them (MAML)."""
    normalisation: Normalisation = "batch"
    """Statistics of the batch (MAML; transductive), of the support set, of both it and each image
    (TaskNorm), of each image, or none: see `mj.conv4`."""
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
    """Seed of the run, and of a random split."""
    data: str | None = None
    """The folder that holds the data set's; by default METAJAX_DATA, then the user cache."""


EPISODIC = ("protonet", "matching", "relation", "r2d2", "lrd2", "proto_maml", "nearest_neighbour")
"""Learners whose outputs are not bound to a number of classes."""


Table: TypeAlias = dict[str, tuple[tuple[str, dict[tuple[int, int], float], str], ...]]
"""Published accuracies by learner: of each paper its name, values by `(way, shot)`, and protocol."""


class Photos(NamedTuple):
    """A data set as its recipe gives it.

    source: `(subset, way, shot, query_shot, labels) -> sample`, with "val" and "test" for judging;
      labels are those of `mj.tasks.episodes`.
    classes: how many there are for training; None where they are invented.
    query_shot, test_query_shot: unless the settings say otherwise.
    test_tasks: in the table after training.
    thing: what a class is, for people, such as "characters".
    published: rows of the literature.
    """

    name: str
    source: Callable[..., Sample]
    classes: int | None
    query_shot: int
    test_query_shot: int
    test_tasks: int
    downsample: Literal["stride", "pool"]
    thing: str
    published: Table


def experiment(s: Images, photos: Photos) -> Experiment:
    """The experiment that these settings describe on a data set.

    Raises:
      ValueError: for settings that do not go together.
    """
    name = photos.name
    choice = CLASSIFIERS[choose(name, "learner", s.learner, CLASSIFIERS)]
    _check(s, name, choice)
    by_support = s.normalisation in BY_SUPPORT
    network: dict[str, Any] = {
        "filters": s.filters,
        "readout": s.readout,
        "downsample": photos.downsample,
    }
    normal: dict[str, Any] = {
        "normalisation": s.normalisation,
        "support": s.way * s.shot if by_support else None,
    }
    model, body = (conv4(way, **network, **normal) for way in (s.way, None))
    normalise = normalisation_of(name, **normal)
    if s.precision == "bfloat16":
        model, body = mixed_precision(model, jnp.bfloat16), mixed_precision(body, jnp.bfloat16)
    learner, num_steps = build_learner(
        name,
        CLASSIFIERS,
        s.learner,
        adjoint=s.adjoint,
        num_steps=s.num_steps,
        rate=s.inner_rate,
        model=model,
        body=body,
        conditioned=from_collection(Conv4(s.way, **network, normalise=normalise, film=True)),
        outputs=s.way,
    )
    if by_support:
        learner = beside_support(learner)

    way, query_shot = s.train_way or s.way, s.query_shot or photos.query_shot
    objective = query_loss(learner, cross_entropy, inductive=s.inductive)
    shots, labels = (s.shot, query_shot), "episode"
    if choice.trained_by == "reptile":
        # It reads no queries: they are support examples as well, of which every step takes others.
        steps = num_steps or 0
        shots = (_shots_of_reptile(s, name, steps), 1)
        objective = reptile(learner, num_steps=1, num_batches=steps)
    elif choice.trained_by == "pretraining":
        if photos.classes is None:
            raise ValueError(
                f"{name}: learner={s.learner!r} is pretrained to tell all training classes apart, and "
                "this source invents new ones in every task; choose another of either."
            )
        head, labels = linear(photos.classes), "class"
        learner = pretrained(learner, body, head)
        objective = pretraining(body, head, cross_entropy)

    def judged(subset, query_shot=s.test_query_shot or photos.test_query_shot):
        return photos.source(subset, s.way, s.shot, query_shot, "episode")

    test_steps = None
    if num_steps is not None:
        more = num_steps + 2 if s.test_num_steps is None else s.test_num_steps
        test_steps = (num_steps, more)
    return Experiment(
        learner=learner,
        loss=cross_entropy,
        objective=objective,
        optimizer=optax.adam(optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)),
        estimator=parallel(s.meta_batch, s.tasks_per_pass),
        train=photos.source("train", way, *shots, labels),
        val=judged("val"),
        test=judged("test"),
        metric=accuracy,
        metric_name="accuracy %",
        scale=100.0,
        columns=tuple(f"step {n}" for n in test_steps) if test_steps else ("accuracy",),
        test_steps=test_steps,
        validation_steps=num_steps,
        test_tasks=photos.test_tasks,
        digits=2,
        inductive=True,
        learned=f"to tell {s.way} {photos.thing} it has never seen apart, from {s.shot} of each.",
        next_flags="--num-tasks 10000",
        picture=lambda meta_params: _picture(learner, meta_params, judged("test", 4)),
        published=published(s, photos.published),
    )


def _check(s: Images, name: str, choice: Choice) -> None:
    """See that no setting is out of its range, or would be ignored."""
    choose(name, "precision", s.precision, ("float32", "bfloat16"))
    # Reptile's training images of a class are shot and query_shot together.
    query_shot = 0 if choice.trained_by == "reptile" else 1
    least = {"query_shot": query_shot, "test_query_shot": 1, "test_num_steps": 0, "filters": 1}
    for setting, bound in least.items():
        value = getattr(s, setting)
        if value is not None and value < bound:
            raise ValueError(f"{name}: {setting}={value}; give {bound} or more.")
    if s.learner not in EPISODIC and s.train_way not in (None, s.way):
        raise ValueError(
            f"{name}: train_way={s.train_way} and way={s.way}; the network of {s.learner!r} has one "
            "output for each class, so leave train_way out."
        )
    if s.normalisation in BY_SUPPORT and s.train_way not in (None, s.way):
        raise ValueError(
            f"{name}: normalisation={s.normalisation!r} counts the support set, so that train_way is "
            f"way={s.way}; leave train_way={s.train_way} out."
        )
    # Reptile and pretraining judge no queries; the test is inductive too, whatever the training.
    has = {
        "test_num_steps": choice.num_steps is not None,
        "inductive": choice.trained_by == "query_loss",
    }
    refuse_ignored(name, s, "learner", has)


def _shots_of_reptile(s: Images, name: str, num_steps: int) -> int:
    """Training images of a class: two for each mini-batch as in the paper, unless told otherwise."""
    if num_steps < 1:
        raise ValueError(f"{name}: num_steps={num_steps}; reptile takes 1 step or more.")
    shots = max(2 * num_steps, s.shot) if s.query_shot is None else s.shot + s.query_shot
    if s.way * shots % num_steps:
        raise ValueError(
            f"{name}: reptile's num_steps={num_steps} steps each take a mini-batch of their own, and "
            f"{shots} training images of each of way={s.way} classes are not divided evenly; change "
            "num_steps, or query_shot, which is added to shot."
        )
    return shots


def published(s: Images, rows: Table) -> tuple[Published, ...]:
    """Rows of the literature for this learner, way and shot; the last column is the paper's."""
    columns = 1 if CLASSIFIERS[s.learner].num_steps is None else 2
    return tuple(
        Published(name, (None,) * (columns - 1) + (values[s.way, s.shot],), protocol)
        for name, values, protocol in rows.get(s.learner, ())
        if (s.way, s.shot) in values
    )


def _picture(learner, meta_params, sample):
    from metajax.recipes import plots  # matplotlib is loaded by those who draw

    support, query = sample(jax.random.key(0))
    adapted = learner.adapt(meta_params, support, jax.random.key(0))
    predictions = jnp.argmax(learner.predict(adapted, query.x), axis=-1)
    title = "Queries of one new task, and the class each was given"
    return plots.episode(np.asarray(query.x), np.asarray(query.y), np.asarray(predictions), title)
