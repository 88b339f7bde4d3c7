"""Learners and adjoints by name, as the recipes and `metajax list` know them."""

from collections.abc import Callable
from math import inf
from typing import Any, Literal, NamedTuple, get_args

import optax

from metajax.adjoints import (
    Adjoint,
    conjugate_gradient,
    first_order,
    implicit,
    mixed_mode,
    neumann,
    remat,
    truncated,
    unrolled,
)
from metajax.inner import clip_by_global_norm
from metajax.learners.alfa import alfa
from metajax.learners.anil import anil
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
from metajax.learners.proto_maml import proto_maml
from metajax.learners.protonet import protonet
from metajax.learners.r2d2 import lrd2, r2d2
from metajax.learners.recurrent import recurrent
from metajax.learners.relation import relation
from metajax.learners.snail import snail
from metajax.learners.transformer import transformer
from metajax.learners.warp import warp
from metajax.metrics.losses import cross_entropy, mse
from metajax.names import choose
from metajax.nn.contexts import Conditioned
from metajax.nn.models import linear, mlp, pixels
from metajax.types import Learner, Model

AdjointName = Literal["unrolled", "first_order", "truncated", "remat", "mixed_mode"]
ImplicitName = Literal["conjugate_gradient", "neumann", "t1_t2"]
ADJOINTS: dict[str, Adjoint] = {
    "unrolled": unrolled,
    "first_order": first_order,
    "truncated": truncated(1),
    "remat": remat,
    "mixed_mode": mixed_mode,
}

ClassifierName = Literal[
    "maml",
    "fomaml",
    "reptile",
    "anil",
    "boil",
    "meta_sgd",
    "mamlpp",
    "meta_curvature",
    "alfa",
    "warp",
    "cavia",
    "imaml",
    "ensemble",
    "proto_maml",
    "protonet",
    "matching",
    "relation",
    "r2d2",
    "lrd2",
    "from_scratch",
    "nearest_neighbour",
    "linear_probe",
    "finetune",
    "transformer",
    "snail",
    "recurrent",
    "memory_augmented",
]
RegressorName = Literal[
    "maml", "anil", "meta_sgd", "mamlpp", "meta_curvature", "alfa", "imaml", "cavia", "from_scratch"
]


REACH = 32
"""Examples the convolutions of `snail` reach back; its attention sees all there are."""


class Ingredients(NamedTuple):
    """What a learner is built from.

    model: inputs to predictions, in one piece.
    body: inputs to features.
    conditioned: the model that also reads a context.
    outputs: classes, or the width of a prediction.
    clip: the greatest norm of an inner gradient.
    options: `adjoint=`, or nothing for the learner's own.
    """

    model: Model
    body: Model
    conditioned: Conditioned
    outputs: int
    num_steps: int
    rate: float
    clip: float
    options: dict[str, Any]


class Choice(NamedTuple):
    """A learner by name: how it is built, and the inner loop it is used with unless told otherwise.

    num_steps, rate: None for a learner without an inner loop.
    right_at_the_end: whether its hypergradient is that of where the inner loop ends, not of steps before.
    trained_by: the objective: the loss on queries, Reptile's distance, or a classifier's of all classes.
    clip: the greatest norm of an inner gradient; None for a learner that clips none.
    damping: of conjugate gradients; None for a learner whose inner loop has no minimum to end in.
    """

    build: Callable[[Ingredients], Learner]
    num_steps: int | None = None
    rate: float | None = None
    takes_adjoint: bool = False
    right_at_the_end: bool = False
    trained_by: Literal["query_loss", "reptile", "pretraining"] = "query_loss"
    clip: float | None = None
    damping: float | None = None


def _sgd(i: Ingredients) -> optax.GradientTransformation:
    return optax.chain(clip_by_global_norm(i.clip), optax.sgd(i.rate))


CLASSIFIERS: dict[str, Choice] = {
    "maml": Choice(
        lambda i: maml(i.model, cross_entropy, _sgd(i), i.num_steps, **i.options), 1, 0.4, True
    ),
    "fomaml": Choice(
        lambda i: maml(i.model, cross_entropy, _sgd(i), i.num_steps, adjoint=first_order), 1, 0.4
    ),
    "reptile": Choice(
        lambda i: maml(i.model, cross_entropy, _sgd(i), i.num_steps, adjoint=first_order),
        5,
        0.1,
        trained_by="reptile",
    ),
    "anil": Choice(
        lambda i: anil(
            i.body, linear(i.outputs), cross_entropy, _sgd(i), i.num_steps, **i.options
        ),
        5,
        0.1,
        True,
    ),
    "boil": Choice(
        lambda i: boil(
            i.body,
            linear(i.outputs, start="lecun"),
            cross_entropy,
            _sgd(i),
            i.num_steps,
            **i.options,
        ),
        1,
        0.4,
        True,
    ),
    "meta_sgd": Choice(
        lambda i: meta_sgd(i.model, cross_entropy, i.num_steps, rate=i.rate, **i.options),
        1,
        0.4,
        True,
    ),
    "mamlpp": Choice(
        lambda i: mamlpp(
            i.model,
            cross_entropy,
            i.num_steps,
            rate=i.rate,
            per_step=lambda path: "BatchStatistics" in path,
            **i.options,
        ),
        3,
        0.2,
        True,
    ),
    "meta_curvature": Choice(
        lambda i: meta_curvature(i.model, cross_entropy, i.num_steps, rate=i.rate, **i.options),
        1,
        0.4,
        True,
    ),
    "alfa": Choice(
        lambda i: alfa(i.model, cross_entropy, i.num_steps, rate=i.rate, **i.options), 2, 0.2, True
    ),
    "warp": Choice(
        lambda i: warp(
            i.model,
            cross_entropy,
            _sgd(i),
            i.num_steps,
            is_warp=lambda path: "Conv_1" in path or "Conv_3" in path,
            **i.options,
        ),
        1,
        0.4,
        True,
    ),
    "cavia": Choice(
        lambda i: cavia(i.conditioned, cross_entropy, _sgd(i), i.num_steps, **i.options), 2, 1.0, True
    ),
    "imaml": Choice(
        lambda i: imaml(i.model, cross_entropy, _sgd(i), i.num_steps, strength=2.0, **i.options),
        16,
        0.1,
        True,
        damping=10.0,
    ),
    "ensemble": Choice(
        lambda i: ensemble(maml(i.model, cross_entropy, _sgd(i), i.num_steps, **i.options), 3),
        1,
        0.4,
        True,
    ),
    "proto_maml": Choice(
        lambda i: proto_maml(i.body, cross_entropy, _sgd(i), i.num_steps, **i.options), 1, 0.01, True
    ),
    "protonet": Choice(lambda i: protonet(i.body)),
    "matching": Choice(lambda i: matching(i.body, sharpness=10.0)),
    "relation": Choice(lambda i: relation(i.body, mlp((64,), 1, start="lecun"))),
    "r2d2": Choice(lambda i: r2d2(i.body)),
    "lrd2": Choice(lambda i: lrd2(i.body, 5)),
    "from_scratch": Choice(
        lambda i: from_scratch(i.model, cross_entropy, _sgd(i), i.num_steps), 20, 0.1
    ),
    "nearest_neighbour": Choice(lambda i: nearest_neighbour(pixels)),
    "linear_probe": Choice(
        lambda i: linear_probe(
            i.body, cross_entropy, _sgd(i), i.num_steps, columns=i.outputs
        ),
        20,
        0.1,
        trained_by="pretraining",
    ),
    "finetune": Choice(
        lambda i: finetune(i.body, cross_entropy, _sgd(i), i.num_steps, columns=i.outputs),
        20,
        0.1,
        trained_by="pretraining",
    ),
    "transformer": Choice(lambda i: transformer(i.body, i.outputs)),
    "snail": Choice(lambda i: snail(i.body, i.outputs, REACH)),
    "recurrent": Choice(lambda i: recurrent(i.body, i.outputs)),
    "memory_augmented": Choice(lambda i: memory_augmented(i.body, i.outputs)),
}  # fmt: skip

REGRESSORS: dict[str, Choice] = {
    "maml": Choice(
        lambda i: maml(i.model, mse, _sgd(i), i.num_steps, **i.options), 5, 0.01, True, clip=50.0
    ),
    "anil": Choice(
        lambda i: anil(i.body, linear(i.outputs), mse, _sgd(i), i.num_steps, **i.options),
        5,
        0.01,
        True,
        clip=inf,
    ),
    "meta_sgd": Choice(
        lambda i: meta_sgd(i.model, mse, i.num_steps, rate=i.rate, **i.options), 5, 0.01, True
    ),
    "mamlpp": Choice(
        lambda i: mamlpp(i.model, mse, i.num_steps, rate=i.rate, **i.options), 5, 0.01, True
    ),
    "meta_curvature": Choice(
        lambda i: meta_curvature(i.model, mse, i.num_steps, rate=i.rate, **i.options), 5, 0.01, True
    ),
    "alfa": Choice(
        lambda i: alfa(i.model, mse, i.num_steps, rate=i.rate, **i.options), 5, 0.01, True
    ),
    "imaml": Choice(
        lambda i: imaml(i.model, mse, optax.adam(i.rate), i.num_steps, strength=5.0, **i.options),
        32,
        0.03,
        True,
        right_at_the_end=True,
        damping=0.0,
    ),
    "cavia": Choice(
        lambda i: cavia(i.conditioned, mse, _sgd(i), i.num_steps, **i.options), 5, 1.0, True, clip=inf
    ),
    "from_scratch": Choice(
        lambda i: from_scratch(i.model, mse, _sgd(i), i.num_steps), 10, 0.01, clip=inf
    ),
}  # fmt: skip


def build_learner(
    recipe: str,
    choices: dict[str, Choice],
    name: str,
    *,
    adjoint: str | None,
    num_steps: int | None,
    rate: float | None,
    clip: float | None = None,
    **ingredients: Any,
) -> tuple[Learner, int | None]:
    """The learner of this name, and its inner steps, or None where it has no inner loop.

    Raises:
      ValueError: for an unknown name, or an inner loop's setting for a learner that does not take it.
    """
    choice = choices[choose(recipe, "learner", name, choices)]
    given = {"num_steps": num_steps, "inner_rate": rate} if choice.num_steps is None else {}
    if not choice.takes_adjoint:
        given["adjoint"] = adjoint
    if choice.clip is None:
        given["inner_clip"] = clip
    for setting, value in given.items():
        if value is not None:
            raise ValueError(
                f"{recipe}: {setting}={value!r} and learner={name!r} has none; leave {setting} out."
            )
    rate = (choice.rate if rate is None else rate) or 0.0
    steps = choice.num_steps if num_steps is None else num_steps
    learner = choice.build(
        Ingredients(
            num_steps=steps or 0,
            rate=rate,
            clip=next(c for c in (clip, choice.clip, inf) if c is not None),
            options=_adjoint(recipe, name, choice, adjoint, rate),
            **ingredients,
        )
    )
    return learner, steps


def _adjoint(
    recipe: str, name: str, choice: Choice, adjoint: str | None, rate: float
) -> dict[str, Adjoint]:
    """The adjoint of this name as an option, or nothing for the learner's own."""
    if adjoint is None and choice.damping is not None:
        adjoint = "conjugate_gradient"
    if adjoint is None:
        return {}
    choose(recipe, "adjoint", adjoint, (*ADJOINTS, *get_args(ImplicitName)))
    if adjoint in ADJOINTS:
        return {"adjoint": ADJOINTS[adjoint]}
    if choice.damping is None:
        raise ValueError(
            f"{recipe}: adjoint={adjoint!r} and learner={name!r}; it differentiates the end of an inner "
            "loop as a minimum, wherever it began, and only 'imaml' is held to have one; choose that "
            "learner, or another adjoint."
        )
    solvers = {
        "conjugate_gradient": conjugate_gradient(5, damping=choice.damping),
        "neumann": neumann(10, rate),
        "t1_t2": neumann(1, rate),
    }
    return {"adjoint": implicit(solvers[adjoint])}


def takes_adjoint(name: str) -> bool:
    """Whether the learner of this name has an inner loop that is differentiated."""
    return any(
        choices[name].takes_adjoint for choices in (CLASSIFIERS, REGRESSORS) if name in choices
    )
