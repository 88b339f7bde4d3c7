"""Few-shot classification of images: what the recipes of its data sets share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metajax import checks
from metajax.learners.beside_support import beside_support
from metajax.metrics.losses import accuracy, cross_entropy
from metajax.names import choose
from metajax.nn.models import mixed_precision
from metajax.nn.normalisation import BY_SUPPORT, Normalisation
from metajax.recipes.adjoints import AdjointName
from metajax.recipes.experiment import (
    Experiment,
    Preprocessing,
    Published,
    Shots,
    refuse_ignored,
)
from metajax.recipes.learners import (
    ClassifierName,
    Ingredients,
    Inner,
    build_learner,
    resolved,
    use_of,
)
from metajax.recipes.training import Plan, Training, by_pretraining
from metajax.recipes.vision.networks import NETWORKS, NetworkName, Options, networks
from metajax.recipes.vision.outer import OUTER, OuterName
from metajax.recipes.vision.published import Table
from metajax.trees import as_pytree
from metajax.types import Sample, Task


@dataclass(frozen=True)
class Images:
    """The settings that the recipes of images share."""

    learner: ClassifierName = "maml"
    """The learner; `metajax list learners` describes each."""
    way: int = 5
    """Classes in a task."""
    train_way: int | None = None
    """Classes in a training task, if more than in a test task (ProtoNets train so, and pretrained networks
    should); by default --way. Learners with an output for each class, such as MAML, cannot take more."""
    shot: int = 1
    """Support images of each class."""
    query_shot: int | None = None
    """Query images of each class in training; by default the recipe's own number."""
    test_query_shot: int | None = None
    """Query images of each class in validation and test; by default the recipe's own number."""
    num_steps: int | None = None
    """Inner gradient steps in training; by default the learner's own, 1 for MAML."""
    eval_steps: int | None = None
    """A second number of inner steps for evaluation; by default two more than in training."""
    inner_rate: float | None = None
    """Step size of inner SGD on the mean cross-entropy; by default the learner's own. For MAML that is
    0.4, which suits 5-way tasks; with 20 ways it learns faster at 2."""
    adjoint: AdjointName | None = None
    """How the inner loop is differentiated; by default exactly, and by conjugate gradients for iMAML,
    which alone takes the implicit adjoints."""
    network: NetworkName = "conv4"
    """The network: four convolutions, or ResNet-12 (12 in residual blocks), for photographs."""
    filters: int = 64
    """Channels of the network; ResNet-12 has as many in its first block, and 2.5, 5 and 10 times as many in
    the others."""
    readout: Literal["flatten", "mean"] = "flatten"
    """Keep the last layer's positions (Reptile, iMAML) or average them (MAML)."""
    normalisation: Normalisation = "batch"
    """Normalise by the statistics of the batch (MAML; transductive), of the support set, of both the
    support set and each image (TaskNorm), of each image, or not at all: see `mj.conv4`."""
    reference: int = 0
    """Training images of each of --train-way classes whose statistics normalise pretrained features, in place
    of those of the batch at hand: predictions then depend on no other query."""
    inductive: bool = False
    """In training, predict each query alone with the support set, as in inductive evaluation."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The number format that the network computes in; weights stay float32."""
    meta_batch: int = 32
    """Tasks in an outer step."""
    tasks_per_pass: int | None = None
    """Tasks that a device computes at once, while the rest of the meta-batch waits; by default as many as
    `mj.automatic` chooses from the program of a task."""
    outer_optimizer: OuterName = "adam"
    """The outer optimiser: Adam; or SGD with momentum, weight decay, and a rate that climbs in the first fifth
    of the steps, with which pretrained networks learn better features."""
    outer_rate: float | None = None
    """The greatest step size of the outer optimiser, which falls to 0 along a cosine; by default 0.001 for
    Adam, and 0.1 for SGD."""
    outer_steps: int = 15_000
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run, and of a random split."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


class DataSpec(NamedTuple):
    """A data set, as its recipe gives it.

    name: Of the recipe.
    source: `(subset, way, shot, query_shot, labels) -> sample`; labels are those of
      `mj.tasks.episodes`.
    classes: The number of training classes; None where they are invented.
    query_shot, test_query_shot: Unless the settings say otherwise.
    test_tasks: The number of tasks in the table after training.
    thing: What a class is, such as "characters".
    published: Rows of the literature.
    test_name: The name of the source of the test tasks.
    preprocessing: How pictures become inputs.
    sources: Other sources of pictures, by name.
    trained_on, parts: As in `Experiment`.
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
    test_name: str
    preprocessing: Preprocessing
    sources: Mapping[str, Callable[[Shots], Sample]]
    trained_on: frozenset[str] = frozenset()
    parts: Mapping[str, Sequence[str]] = MappingProxyType({})


def experiment(settings: Images, data: DataSpec) -> Experiment:
    """Returns the experiment of these settings on a data set.

    Raises:
      ValueError: For settings that do not go together.
    """
    s, inner = _resolved(settings, data)
    training = _training(settings, s, data, inner)
    s, learner = replace(s, query_shot=training.query_shot), training.learner
    shots = Shots(s.shot, s.test_query_shot or 1, s.way)
    counted = s.way * s.shot if s.normalisation in BY_SUPPORT else None
    steps = None if inner.num_steps is None else (inner.num_steps, s.eval_steps or 0)
    row, _ = use_of(data.name, "classify", s.learner)

    def draw(shots: Shots, subset: str = "test") -> Sample:
        return data.source(subset, shots.way, shots.shot, shots.query_shot, "episode")

    return Experiment(
        settings=s,
        learner=learner,
        loss=cross_entropy,
        objective=training.objective,
        optimizer=OUTER[s.outer_optimizer].build(s.outer_rate, s.outer_steps),
        tasks_per_pass=s.tasks_per_pass,
        train=data.source("train", s.train_way, *training.shots, training.labels),
        val=draw(shots, "val"),
        test=draw(shots),
        metric=accuracy,
        metric_name="accuracy %",
        scale=100.0,
        higher_is_better=True,
        columns=("accuracy",) if steps is None else tuple(f"step {n}" for n in steps),
        eval_steps=steps,
        validation_steps=inner.num_steps,
        test_tasks=data.test_tasks,
        digits=2,
        inductive=not s.reference,
        learned=f"to tell {s.way} {data.thing} it has never seen apart, from {s.shot} of each.",
        next_flags="--num-tasks 10000",
        picture=lambda meta_params: _picture(
            learner, meta_params, draw(shots._replace(query_shot=4)), data.preprocessing.ink
        ),
        test_name=data.test_name,
        shots=shots,
        draw=draw,
        sources=data.sources,
        trained_on=data.trained_on,
        parts=data.parts,
        fixed_way=s.way if row.fixed_head else None,
        fixed_support=counted,
        preprocessing=data.preprocessing,
        published=published(s, data.published),
    )


def _resolved(s: Images, data: DataSpec) -> tuple[Any, Inner]:
    """The settings with defaults in place of None, `query_shot` apart, and those of the inner loop.

    Raises:
      ValueError: For a setting out of its range, or without effect.
    """
    inner = resolved(
        data.name,
        "classify",
        s.learner,
        num_steps=s.num_steps,
        inner_rate=s.inner_rate,
        adjoint=s.adjoint,
    )
    _check(s, data.name, inner)
    eval_steps = s.eval_steps
    if eval_steps is None and inner.num_steps is not None:
        eval_steps = inner.num_steps + 2
    found = replace(
        s,
        train_way=s.train_way or s.way,
        test_query_shot=s.test_query_shot or data.test_query_shot,
        num_steps=inner.num_steps,
        eval_steps=eval_steps,
        inner_rate=inner.inner_rate,
        adjoint=inner.adjoint,
        outer_rate=OUTER[s.outer_optimizer].rate if s.outer_rate is None else s.outer_rate,
    )
    return found, inner


def _check(s: Images, name: str, inner: Inner) -> None:
    choose(name, "outer_optimizer", s.outer_optimizer, OUTER)
    choose(name, "precision", s.precision, ("float32", "bfloat16"))
    choose(name, "network", s.network, NETWORKS)
    least = {
        "way": 1,
        "train_way": 1,
        "shot": 1,
        "test_query_shot": 1,
        "eval_steps": 0,
        "reference": 0,
        "filters": 1,
    }
    for setting, bound in least.items():
        value = getattr(s, setting)
        if value is not None:
            checks.count(name, setting, value, least=bound)
    row, _ = use_of(name, "classify", s.learner)
    other_way = s.train_way not in (None, s.way)
    if row.fixes_train_way() and other_way:
        raise ValueError(
            f"{name}: train_way={s.train_way} must equal way={s.way}, because the network of "
            f"learner={s.learner!r} has one output per class. Leave train_way out."
        )
    if s.normalisation in BY_SUPPORT and other_way:
        raise ValueError(
            f"{name}: train_way={s.train_way} must equal way={s.way}, because "
            f"normalisation={s.normalisation!r} counts the support set. Leave train_way out."
        )
    has = {
        "eval_steps": inner.num_steps is not None,
        "reference": row.objective is by_pretraining,
    }
    network = ("network", "filters", "readout", "normalisation", "precision")
    has |= dict.fromkeys(network, s.learner != "nearest_neighbour")  # which reads pixels
    refuse_ignored(name, s, "learner", has)
    refuse_ignored(name, s, "normalisation", {"reference": s.normalisation == "batch"})
    refuse_ignored(name, s, "precision", {"reference": s.precision == "float32"})


def _training(asked: Images, s: Images, data: DataSpec, inner: Inner) -> Training:
    """The learner and how it is trained; `s` are the settings that `asked` resolve to."""
    by_support = s.normalisation in BY_SUPPORT
    support = s.way * s.shot if by_support else None
    options = Options(s.filters, s.readout, data.downsample, s.normalisation, support)
    model, body, conditioned = networks(data.name, s.network, s.way, options)
    if s.precision == "bfloat16":
        model, body = mixed_precision(model, jnp.bfloat16), mixed_precision(body, jnp.bfloat16)
    ingredients = Ingredients(body, s.way, cross_entropy, model, conditioned)
    learner = build_learner(data.name, "classify", s.learner, inner, ingredients)
    row, _ = use_of(data.name, "classify", s.learner)
    return row.objective(
        Plan(
            recipe=data.name,
            name=s.learner,
            learner=beside_support(learner) if by_support else learner,
            loss=cross_entropy,
            embed=body,
            way=s.train_way or s.way,
            shot=s.shot,
            query_shot=asked.query_shot,
            usual_query_shot=data.query_shot,
            num_steps=inner.num_steps,
            inductive=s.inductive,
            classes=data.classes,
            reference=_reference(s, data),
        )
    )


def _reference(s: Images, data: DataSpec) -> jax.Array | None:
    """Training images of many classes, or None."""
    if not s.reference:
        return None
    sample = data.source("train", s.train_way, 1, s.reference, "class")
    return _drawn(as_pytree(sample), jax.random.key(0)).query.x


@jax.jit
def _drawn(sample: Any, key: jax.Array) -> Task:
    """A task of a source, whose pictures are an argument: as constants they are compiled, and slowly."""
    return sample(key)


def published(s: Images, rows: Table) -> tuple[Published, ...]:
    """Rows of the literature for this learner, way and shot; papers give the last column."""
    _, use = use_of("images", "classify", s.learner)
    columns = 1 if use.num_steps is None else 2
    return tuple(
        Published(name, (None,) * (columns - 1) + (values[s.way, s.shot],), protocol)
        for name, values, protocol in rows.get(s.learner, ())
        if (s.way, s.shot) in values
    )


def _picture(learner, meta_params, sample, ink):
    from metajax.recipes import plots  # loads matplotlib

    support, query = sample(jax.random.key(0))
    adapted = learner.adapt(meta_params, support, jax.random.key(0))
    predictions = jnp.argmax(learner.predict(adapted, query.x), axis=-1)
    title = "Queries of one new task, and the class each was given"
    images, labels, found = map(np.asarray, (query.x, query.y, predictions))
    return plots.episode(images, labels, found, title, inverted=ink == "bright")
