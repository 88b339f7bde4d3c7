"""Learners of sentences, with the settings that suit features of one length."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import optax

from metajax.adjoints import first_order
from metajax.inner import clip_by_global_norm
from metajax.learners.anil import anil
from metajax.learners.maml import maml
from metajax.learners.parts import joined
from metajax.learners.protonet import protonet
from metajax.learners.r2d2 import lrd2, r2d2
from metajax.metrics.losses import cross_entropy
from metajax.nn.models import linear
from metajax.recipes.language.networks import LENGTH
from metajax.types import Learner, Model


class Row(NamedTuple):
    """A learner of the recipes: embedding and way to the learner, and whether it has an output per class."""

    build: Callable[[Model, int], Learner]
    fixed_head: bool = False


def _anil(embed: Model, way: int, *, rate: float = 0.1, num_steps: int = 10) -> Learner:
    return anil(embed, linear(way), cross_entropy, optax.sgd(rate), num_steps)


def _maml(embed: Model, way: int, *, rate: float = 0.1, num_steps: int = 5) -> Learner:
    # First order: second derivatives of thousands of buckets cost as much as three times the tasks.
    inner = optax.chain(clip_by_global_norm(10.0), optax.sgd(rate))
    body = joined(embed, linear(way))
    return maml(body, cross_entropy, inner, num_steps, adjoint=first_order)


LEARNERS: dict[str, Row] = {
    "r2d2": Row(lambda embed, way: r2d2(embed, ridge=0.3 * LENGTH**2)),
    "lrd2": Row(lambda embed, way: lrd2(embed, 5, ridge=1.0, bias=4 * LENGTH)),
    "protonet": Row(lambda embed, way: protonet(embed)),
    "anil": Row(partial(_anil), fixed_head=True),
    "maml": Row(partial(_maml), fixed_head=True),
}
"""Those of the recipes of sentences. The default ridge of `r2d2` is for features of another size. The bias of
`lrd2` is long enough for the ridge to hardly hold it, as logistic regression elsewhere leaves it free."""

if TYPE_CHECKING:
    SentenceLearner: TypeAlias = str
else:
    SentenceLearner = Literal[tuple(LEARNERS)]
