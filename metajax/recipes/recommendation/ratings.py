"""Ratings of a user from a few others: cold start of users and items, and across domains."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import optax

from metajax.metrics.losses import mae, mse
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment
from metajax.recipes.recommendation import inputs, picture, report
from metajax.recipes.recommendation.check import check
from metajax.recipes.recommendation.learners import LEARNERS, RatingsLearner, Sizes
from metajax.recipes.recommendation.prepared import Prepared, prepared
from metajax.types import Loss


def _both(predictions, targets):
    return mae(predictions, targets) + mse(predictions, targets) / 2


LOSSES: dict[str, Loss] = {"squared": mse, "absolute": mae, "both": _both}


def _numbers(supports: tuple[int, ...]) -> str:
    *some, last = map(str, supports)
    return f"{', '.join(some)} or {last}" if some else last


@dataclass(frozen=True)
class Ratings:
    """Learn to predict the ratings of a user from a few others; needs no data.

    Tests on frozen tasks of new users, beside the averages, biases, factors and neighbours that a learner
    must beat. Other data sets than the invented one need metajax[recommendation].
    """

    learner: RatingsLearner = "ridge"
    """The learner: zero_step knows items alone, and bias adds a number for each user."""
    data_set: str = "synthetic"
    """Invented ratings (synthetic), a data set of `metajax list datasets` with ratings, or a file or folder
    of MovieLens, goodbooks, RecBole, or any table with a header that names user, item and rating."""
    scenario: Literal["new_users", "new_items", "both", "cross"] = "new_users"
    """Test tasks: new users asked for items of training, users of training asked for new items, new users
    asked for new items, or new users asked for the items of --target, no rating of which is for training."""
    target: tuple[str, ...] = ()
    """The tags, such as genres, whose items are the target domain of --scenario cross."""
    support_from: Literal["source", "target"] = "source"
    """Where test users of --scenario cross give ratings: in the source or the target domain."""
    supports: tuple[int, ...] = (1, 3, 5, 10)
    """Numbers of support ratings of test tasks; users need the most of them, and three more."""
    split: Literal["random", "time"] = "random"
    """The support ratings of test users: random ones, or their earliest."""
    split_seed: int | None = None
    """Seed of users, items and draws, so that runs of several seeds can share it; by default --seed."""
    shrinkage: tuple[float, ...] | None = None
    """Strengths of the item, user and content shrinkage, the ridge of the content prior and the power by
    which items weigh in it, for rare and for new items; by default tuned on validation users."""
    loss: Literal["squared", "absolute", "both"] = "squared"
    """What outer steps minimise, in units of the deviation of ratings."""
    width: int = 16
    """The width of item features."""
    ids: bool = False
    """Give every item of training a vector of its own, beside what its statistics and tags say."""
    id_dropout: float = 0.15
    """The probability that a training row is shown as a new item, without statistics and vector."""
    min_ratings: int = 4
    """Users of training with fewer ratings give no task; their ratings are in the item statistics."""
    meta_batch: int = 64
    """Users in an outer step."""
    outer_rate: float = 3e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    outer_steps: int = 400
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds the data set's folder; by default METAJAX_DATA, then the user cache."""


def build(settings: Ratings) -> Experiment:
    """Returns the experiment of these settings; reads the ratings and tunes their shrinkage.

    Raises:
      ValueError: For settings that do not go together.
    """
    check(settings, LOSSES, LEARNERS)
    return experiment(prepared(settings))


def experiment(p: Prepared) -> Experiment:
    """Returns the experiment of prepared ratings."""
    s, known = p.settings, p.known
    sizes = Sizes(len(p.ratings.items), s.width, known.shrinkage.user, s.ids)
    learner = LEARNERS[s.learner](sizes)
    items = inputs.table(p.ratings, known)
    low, high = ((bound - known.mean) / known.deviation for bound in p.ratings.scale)
    val, test = (
        inputs.drawn_from(inputs.every_support(items, known, p.split, tasks))
        for tasks in (p.split.val, p.split.test)
    )

    def metric(predictions, targets):
        return known.deviation * mae(jnp.clip(predictions, low, high), targets)

    rate = optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)
    return Experiment(
        settings=s,
        learner=learner,
        loss=LOSSES[s.loss],
        objective=query_loss(learner, LOSSES[s.loss]),
        optimizer=optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate)),
        tasks_per_pass=s.meta_batch,
        train=inputs.training_tasks(
            p.ratings, p.split, known, id_dropout=s.id_dropout, least=s.min_ratings
        ),
        val=val,
        test=test,
        metric=metric,
        metric_name="mean absolute error",
        scale=1.0,
        columns=("error",),
        eval_steps=None,
        validation_steps=None,
        test_tasks=len(p.split.test.user),
        digits=3,
        inductive=False,
        learned=f"to predict ratings from {_numbers(s.supports)} of a user's own.",
        next_flags="--on FILE, or metajax recommend with ratings of your own",
        picture=lambda meta_params: picture.lists(p, learner, meta_params),
        test_name=p.ratings.name,
        judge=lambda meta_params, seed: report.judged(p, learner, meta_params, seed),
        on=lambda name, data, shots: report.elsewhere(p, experiment(p), name, data),
        prepared=p,
    )
