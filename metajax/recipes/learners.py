"""The table of learners: one row for each, with how it is built and used on every kind of task."""

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import optax

from metajax import checks
from metajax.adjoints import first_order
from metajax.inner import clip_by_global_norm
from metajax.learners.alfa import alfa
from metajax.learners.anil import anil
from metajax.learners.attentive_process import attentive_process
from metajax.learners.boil import boil
from metajax.learners.cavia import cavia
from metajax.learners.ensemble import ensemble
from metajax.learners.finetune import finetune
from metajax.learners.from_scratch import from_scratch
from metajax.learners.imaml import imaml
from metajax.learners.linear_probe import linear_probe
from metajax.learners.maml import maml
from metajax.learners.mamlpp import mamlpp
from metajax.learners.matching import matching
from metajax.learners.memory_augmented import memory_augmented
from metajax.learners.meta_curvature import meta_curvature
from metajax.learners.meta_sgd import meta_sgd
from metajax.learners.nearest_neighbour import nearest_neighbour
from metajax.learners.neural_process import neural_process
from metajax.learners.prior_fitted import prior_fitted
from metajax.learners.proto_maml import proto_maml
from metajax.learners.protonet import protonet
from metajax.learners.r2d2 import lrd2, r2d2
from metajax.learners.recurrent import recurrent
from metajax.learners.relation import relation
from metajax.learners.ridge import ridge
from metajax.learners.simpleshot import simpleshot
from metajax.learners.snail import snail
from metajax.learners.transformer import transformer
from metajax.learners.warp import warp
from metajax.names import choose
from metajax.nn.models import linear, mlp, pixels
from metajax.nn.unit import unit_features
from metajax.recipes.adjoints import adjoint_of
from metajax.recipes.densities import Density, binned, gaussian, point
from metajax.recipes.experiment import refuse
from metajax.recipes.training import Plan, Training, by_pretraining, by_query_loss, by_reptile
from metajax.types import Learner, Loss, Model, Optimizer, Sample


class Ingredients(NamedTuple):
    """What a learner is built from; a recipe gives those that its kind of learners read.

    body: Inputs to features.
    outputs: The number of classes, or the width of a prediction.
    loss: Of the inner loop.
    model: Inputs to predictions, in one piece.
    conditioned: The model that also reads a context.
    net: The width of an output to a network.
    reach: The number of examples that the convolutions of `snail` reach back.
    inner: The inner optimiser.
    num_steps, rate: Inner steps, and their size.
    sizes: The width and the number of layers of learners in context, as keywords.
    options: Further keywords of the learner, its adjoint among them.
    """

    body: Model
    outputs: int
    loss: Loss
    model: Any = None
    conditioned: Any = None
    net: Any = None
    reach: int = 32
    inner: Any = None
    num_steps: int = 0
    rate: float = 0.0
    sizes: Mapping[str, int] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})

    def width(self) -> dict[str, int]:
        """The width alone, where there is one, for learners without layers to count."""
        return {name: size for name, size in self.sizes.items() if name == "width"}


def clipped_sgd(rate: float, clip: float) -> Optimizer:
    """SGD on gradients whose norm is cut to `clip`."""
    return optax.chain(clip_by_global_norm(clip), optax.sgd(rate))


class Use(NamedTuple):
    """How a learner is used on one kind of task, unless the settings say otherwise.

    num_steps, rate: Of the inner loop; None for a learner without one.
    clip: The greatest norm of an inner gradient; None for a learner that clips none.
    damping: Of conjugate gradients; None for an inner loop that does not end in a minimum.
    at_the_end: Whether the hypergradient is right only for the last inner step.
    inner: Inner rate and clip to the inner optimiser.
    layers: The number of blocks; None for a learner that does not count them.
    density: What the learner predicts in regression.
    options: Further keywords.
    """

    num_steps: int | None = None
    rate: float | None = None
    clip: float | None = None
    damping: float | None = None
    at_the_end: bool = False
    inner: Callable[[float, float], Optimizer] = clipped_sgd
    layers: int | None = None
    density: Callable[[Sample], Density] = point
    options: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """A learner of the recipes.

    classify, regress, in_context: Its use for classifying images, for regression by an inner loop,
      and for regression in context; None where it has none.
    takes_adjoint: Whether it has an inner loop that is differentiated.
    by_steps: Whether its default adjoint is chosen by the number of inner steps.
    fixed_head: Whether its network has an output for each class, so that the way is fixed.
    objective: How it is trained.
    about: One line on it, where it is no public function of the same name.
    """

    build: Callable[[Ingredients], Learner]
    classify: Use | None = None
    regress: Use | None = None
    in_context: Use | None = None
    takes_adjoint: bool = False
    by_steps: bool = False
    fixed_head: bool = True
    objective: Callable[[Plan], Training] = by_query_loss
    about: str = ""

    def fixes_train_way(self) -> bool:
        """Whether training tasks have as many classes as its head has outputs; pretraining has its own."""
        return self.fixed_head and self.objective is not by_pretraining


LEARNERS: dict[str, Row] = {
    "maml": Row(
        lambda i: maml(i.model, i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(1, 0.4),
        regress=Use(5, 0.01, clip=50.0),
        takes_adjoint=True,
        by_steps=True,
    ),
    "fomaml": Row(
        lambda i: maml(i.model, i.loss, i.inner, i.num_steps, adjoint=first_order),
        classify=Use(1, 0.4),
        about="mj.maml with adjoint=mj.first_order, which leaves out second derivatives",
    ),
    "reptile": Row(
        lambda i: maml(i.model, i.loss, i.inner, i.num_steps, adjoint=first_order),
        classify=Use(5, 0.1),
        objective=by_reptile,
        about="mj.maml trained by mj.reptile, which moves towards the weights that tasks end in",
    ),
    "anil": Row(
        lambda i: anil(i.body, linear(i.outputs), i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(5, 0.1),
        regress=Use(5, 0.01, clip=inf),
        takes_adjoint=True,
    ),
    "boil": Row(
        lambda i: boil(
            i.body, linear(i.outputs, start="lecun"), i.loss, i.inner, i.num_steps, **i.options
        ),
        classify=Use(1, 0.4),
        takes_adjoint=True,
    ),
    "meta_sgd": Row(
        lambda i: meta_sgd(i.model, i.loss, i.num_steps, rate=i.rate, **i.options),
        classify=Use(1, 0.4),
        regress=Use(5, 0.01),
        takes_adjoint=True,
        by_steps=True,
    ),
    "mamlpp": Row(
        lambda i: mamlpp(i.model, i.loss, i.num_steps, rate=i.rate, **i.options),
        classify=Use(3, 0.2, options={"per_step": "shifts"}),
        regress=Use(5, 0.01),
        takes_adjoint=True,
    ),
    "meta_curvature": Row(
        lambda i: meta_curvature(i.model, i.loss, i.num_steps, rate=i.rate, **i.options),
        classify=Use(1, 0.4),
        regress=Use(5, 0.01),
        takes_adjoint=True,
        by_steps=True,
    ),
    "alfa": Row(
        lambda i: alfa(i.model, i.loss, i.num_steps, rate=i.rate, **i.options),
        classify=Use(2, 0.2),
        regress=Use(5, 0.01),
        takes_adjoint=True,
        by_steps=True,
    ),
    "warp": Row(
        lambda i: warp(i.model, i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(1, 0.4, options={"frozen": "warp"}),
        takes_adjoint=True,
    ),
    "cavia": Row(
        lambda i: cavia(i.conditioned, i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(2, 1.0),
        regress=Use(5, 1.0, clip=inf),
        takes_adjoint=True,
    ),
    "imaml": Row(
        lambda i: imaml(i.model, i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(16, 0.1, damping=10.0, options={"strength": 2.0}),
        regress=Use(
            32,
            0.03,
            damping=0.0,
            at_the_end=True,
            inner=lambda rate, clip: optax.adam(rate),
            options={"strength": 5.0},
        ),
        takes_adjoint=True,
    ),
    "ensemble": Row(
        lambda i: ensemble(maml(i.model, i.loss, i.inner, i.num_steps, **i.options), 3),
        classify=Use(1, 0.4),
        takes_adjoint=True,
        by_steps=True,
    ),
    "proto_maml": Row(
        lambda i: proto_maml(i.body, i.loss, i.inner, i.num_steps, **i.options),
        classify=Use(1, 0.01),
        takes_adjoint=True,
        by_steps=True,
        fixed_head=False,
    ),
    "protonet": Row(lambda i: protonet(i.body), classify=Use(), fixed_head=False),
    "matching": Row(lambda i: matching(i.body, sharpness=10.0), classify=Use(), fixed_head=False),
    "relation": Row(
        lambda i: relation(i.body, mlp((64,), 1, start="lecun")), classify=Use(), fixed_head=False
    ),
    "r2d2": Row(lambda i: r2d2(i.body), classify=Use(), fixed_head=False),
    "lrd2": Row(lambda i: lrd2(i.body, 5), classify=Use(), fixed_head=False),
    "from_scratch": Row(
        lambda i: from_scratch(i.model, i.loss, i.inner, i.num_steps),
        classify=Use(20, 0.1),
        regress=Use(10, 0.01, clip=inf),
    ),
    "nearest_neighbour": Row(lambda i: nearest_neighbour(pixels), classify=Use(), fixed_head=False),
    "linear_probe": Row(
        lambda i: linear_probe(i.body, i.loss, i.inner, i.num_steps, columns=i.outputs),
        classify=Use(20, 0.1),
        objective=by_pretraining,
    ),
    "unit_probe": Row(
        lambda i: linear_probe(
            unit_features(i.body), i.loss, i.inner, i.num_steps, columns=i.outputs
        ),
        classify=Use(20, 1.0),
        objective=by_pretraining,
        about="mj.linear_probe on features of length 1, by mj.unit_features",
    ),
    "finetune": Row(
        lambda i: finetune(i.body, i.loss, i.inner, i.num_steps, columns=i.outputs),
        classify=Use(20, 0.1),
        objective=by_pretraining,
    ),
    "unit_finetune": Row(
        lambda i: finetune(unit_features(i.body), i.loss, i.inner, i.num_steps, columns=i.outputs),
        classify=Use(20, 0.1),
        objective=by_pretraining,
        about="mj.finetune from features of length 1, by mj.unit_features",
    ),
    "simpleshot": Row(
        lambda i: simpleshot(i.body),
        classify=Use(),
        fixed_head=False,
        objective=by_pretraining,
    ),
    "transformer": Row(
        lambda i: transformer(i.body, i.outputs, **i.sizes),
        classify=Use(),
        in_context=Use(layers=3),
    ),
    "causal_transformer": Row(
        lambda i: transformer(i.body, i.outputs, causal=True, **i.sizes),
        in_context=Use(layers=3),
        about="mj.transformer with causal=True, which reads examples one after the other",
    ),
    "prior_fitted": Row(
        lambda i: prior_fitted(i.body, i.outputs, **i.sizes),
        in_context=Use(layers=3, density=binned),
    ),
    "snail": Row(
        lambda i: snail(i.body, i.outputs, i.reach, **i.width()), classify=Use(), in_context=Use()
    ),
    "recurrent": Row(
        lambda i: recurrent(i.body, i.outputs, **i.width()), classify=Use(), in_context=Use()
    ),
    "memory_augmented": Row(
        lambda i: memory_augmented(i.body, i.outputs, **i.width()), classify=Use(), in_context=Use()
    ),
    "ridge": Row(lambda i: ridge(i.body, outputs=i.outputs), in_context=Use()),
    "neural_process": Row(
        lambda i: neural_process(i.net(i.sizes["width"]), i.net(i.outputs)),
        in_context=Use(density=gaussian),
    ),
    "attentive_process": Row(
        lambda i: attentive_process(
            i.net(i.sizes["width"]), i.net(i.sizes["width"]), i.net(i.outputs)
        ),
        in_context=Use(density=gaussian),
    ),
}

Kind = Literal["classify", "regress", "in_context"]


def names(kind: Kind) -> tuple[str, ...]:
    """The names of the learners of a kind of task."""
    return tuple(name for name, row in LEARNERS.items() if getattr(row, kind) is not None)


if TYPE_CHECKING:  # the command line reads the names, which type checkers cannot
    ClassifierName: TypeAlias = str
    RegressorName: TypeAlias = str
    InContextName: TypeAlias = str
else:
    ClassifierName = Literal[names("classify")]
    RegressorName = Literal[names("regress")]
    InContextName = Literal[names("in_context")]


class Inner(NamedTuple):
    """The settings of an inner loop, resolved; None for what the learner does not have."""

    num_steps: int | None
    inner_rate: float | None
    inner_clip: float | None
    adjoint: str | None


def use_of(recipe: str, kind: Kind, name: str) -> tuple[Row, Use]:
    """The row of a learner, and its use for a kind of task.

    Raises:
      ValueError: For an unknown name.
    """
    row = LEARNERS[choose(recipe, "learner", name, names(kind))]
    return row, getattr(row, kind)


def resolved(
    recipe: str,
    kind: Kind,
    name: str,
    *,
    num_steps: int | None = None,
    inner_rate: float | None = None,
    inner_clip: float | None = None,
    adjoint: str | None = None,
) -> Inner:
    """The inner loop's settings with the learner's defaults in place of None.

    Raises:
      ValueError: For an unknown learner, and for a setting that it does not have.
    """
    row, use = use_of(recipe, kind, name)
    steps = use.num_steps if num_steps is None else num_steps
    usual_adjoint = "mixed_mode" if row.by_steps and (steps or 0) > 1 else "unrolled"
    usual_adjoint = usual_adjoint if use.damping is None else "conjugate_gradient"
    usual = Inner(use.num_steps, use.rate, use.clip, usual_adjoint if row.takes_adjoint else None)
    given = Inner(num_steps, inner_rate, inner_clip, adjoint)
    for setting, value, default in zip(Inner._fields, given, usual, strict=True):
        if value is not None and default is None:
            refuse(recipe, setting, value, f"learner={name!r}")
    if num_steps is not None:
        checks.count(recipe, "num_steps", num_steps, least=0)
    return Inner(
        usual.num_steps if num_steps is None else num_steps,
        usual.inner_rate if inner_rate is None else inner_rate,
        usual.inner_clip if inner_clip is None else inner_clip,
        usual.adjoint if adjoint is None else adjoint,
    )


def build_learner(
    recipe: str, kind: Kind, name: str, inner: Inner, ingredients: Ingredients
) -> Learner:
    """Returns the learner of this name with resolved settings.

    Raises:
      ValueError: For an unknown name, and for an adjoint that does not suit the learner.
    """
    row, use = use_of(recipe, kind, name)
    options, rate = dict(use.options), 0.0 if inner.inner_rate is None else inner.inner_rate
    if inner.adjoint is not None:
        options["adjoint"] = adjoint_of(recipe, name, inner.adjoint, rate=rate, damping=use.damping)
    clip = inf if inner.inner_clip is None else inner.inner_clip
    return row.build(
        ingredients._replace(
            inner=None if inner.inner_rate is None else use.inner(rate, clip),
            num_steps=inner.num_steps or 0,
            rate=rate,
            options=options,
        )
    )


def takes_adjoint(name: str) -> bool:
    """Whether the learner of this name has an inner loop that is differentiated."""
    return name in LEARNERS and LEARNERS[name].takes_adjoint


def is_pretrained(name: str) -> bool:
    """Whether the learner of this name is trained as a classifier of all training classes."""
    return name in LEARNERS and LEARNERS[name].objective is by_pretraining
