"""Learners of translation: joint training, FOMAML and Reptile, and what they cost in tokens."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import optax

from metajax.adjoints import first_order
from metajax.learners.in_batches import in_batches
from metajax.learners.maml import maml
from metajax.nn.seq2seq import Seq2seq, seq2seq
from metajax.objectives import query_loss, reptile
from metajax.recipes.language.low_resource import TokenLoss
from metajax.recipes.language.translation_data import Prepared
from metajax.types import Learner, Objective, Optimizer

HEADS = 4


class Row(NamedTuple):
    """How a learner is trained.

    objective: Of a learner and the loss of tokens.
    optimizer: Of a rate and the number of outer steps.
    rate: By default.
    inner: Whether there is an inner loop.
    queries: Whether the queries of a task are read.
    """

    objective: Callable[[Learner, TokenLoss], Objective]
    optimizer: Callable[[float, int], Optimizer]
    rate: float
    inner: bool
    queries: bool


def _adam(rate: float, outer_steps: int, warmup: int = 0) -> Optimizer:
    warmup = min(warmup, outer_steps // 5)
    falling = optax.warmup_cosine_decay_schedule(
        rate if warmup == 0 else 0.0, rate, warmup, max(outer_steps, warmup + 1), 0.05 * rate
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling, b2=0.98))


def _interpolation(rate: float, outer_steps: int) -> Optimizer:
    return optax.sgd(optax.cosine_decay_schedule(rate, outer_steps, 0.05))


LEARNERS: dict[str, Row] = {
    "joint": Row(query_loss, lambda rate, steps: _adam(rate, steps, 100), 1e-3, False, True),
    "fomaml": Row(query_loss, _adam, 3e-4, True, True),
    "reptile": Row(lambda learner, loss: reptile(learner), _interpolation, 0.5, True, False),
}
"""Those of `metajax train translation`."""

if TYPE_CHECKING:
    TranslationLearner: TypeAlias = str
else:
    TranslationLearner = Literal[tuple(LEARNERS)]


def network(p: Prepared) -> Seq2seq:
    """The Transformer of prepared sentences."""
    s = p.settings
    return seq2seq(p.pieces.size, s.width, heads=HEADS, layers=s.layers, dropout=s.dropout)


def learner_of(p: Prepared) -> Learner:
    """The learner of the settings; it begins where their `start` ended."""
    s, model = p.settings, network(p).model()
    num_steps = s.num_steps if LEARNERS[s.learner].inner else 0
    loss, inner = TokenLoss(s.smoothing), optax.adam(s.inner_rate, b2=0.98)
    learner = maml(model, loss, inner, num_steps, adjoint=first_order)
    if num_steps:
        learner = in_batches(learner, s.batches)
    if p.begin is None:
        return learner
    begin: Any = p.begin[0]
    return learner._replace(init=lambda key, x: begin)


def tokens_per_step(p: Prepared) -> float:
    """The tokens of translations that an outer step reads, on average."""
    s, row = p.settings, LEARNERS[p.settings.learner]
    inner = s.num_steps * s.support / s.batches if row.inner else 0
    return s.meta_batch * p.train.tokens * (inner + (s.query if row.queries else 0))


def tokens_read(p: Prepared) -> int:
    """The tokens that all outer steps read, and training before them."""
    before = 0 if p.begin is None else p.begin[1]
    return before + round(p.settings.outer_steps * tokens_per_step(p))
