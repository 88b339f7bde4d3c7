"""How learners are trained: the objectives of the recipes, and the tasks that each of them reads."""

from typing import NamedTuple

import jax

from metajax import checks
from metajax.learners.pretrained import pretrained, pretraining
from metajax.nn.models import linear
from metajax.objectives import query_loss, reptile
from metajax.recipes.experiment import refuse
from metajax.tasks.episodes import Labels
from metajax.types import Learner, Loss, Model, Objective


class Plan(NamedTuple):
    """What an objective is made from.

    recipe, name: The names of the recipe and of the learner, for messages.
    embed: Inputs to features.
    way: The number of classes in a training task; 1 for regression.
    query_shot: As the settings have it; None for the default.
    usual_query_shot: The recipe's default.
    num_steps: The learner's inner steps, or None.
    classes: The number of training classes; None where there are none, or endlessly many.
    reference: Training inputs whose statistics normalise pretrained features, or None.
    loss_steps, weights: The inner steps after which query losses are taken, and their weights.
    """

    recipe: str
    name: str
    learner: Learner
    loss: Loss
    embed: Model
    way: int
    shot: int
    query_shot: int | None
    usual_query_shot: int
    num_steps: int | None
    inductive: bool = False
    classes: int | None = None
    reference: jax.Array | None = None
    loss_steps: tuple[int, ...] | None = None
    weights: jax.Array | None = None


class Training(NamedTuple):
    """How a learner is trained.

    learner: The learner whose meta-parameters the objective reads.
    query_shot: The setting, resolved.
    shots: Support and query examples per class of a training task.
    labels: Those of the queries, as in `mj.tasks.episodes`.
    """

    learner: Learner
    objective: Objective
    query_shot: int
    shots: tuple[int, int]
    labels: Labels = "episode"


def by_query_loss(plan: Plan) -> Training:
    """Trains on the loss of the queries after adapting: every learner that has no other way."""
    query_shot = _query_shot(plan)
    objective = query_loss(
        plan.learner,
        plan.loss,
        num_steps=plan.loss_steps,
        weights=plan.weights,
        inductive=plan.inductive,
    )
    return Training(plan.learner, objective, query_shot, (plan.shot, query_shot))


def by_reptile(plan: Plan) -> Training:
    """Trains by Reptile, whose support set holds what others have as queries.

    Every inner step takes a mini-batch of its own. By default there are two examples per class for
    each of them, as in the paper.
    """
    _refuse_inductive(plan)
    steps = plan.num_steps or 0
    if steps < 1:
        raise ValueError(
            f"{plan.recipe}: num_steps={plan.num_steps} must be at least 1 with learner={plan.name!r}."
        )
    if plan.query_shot is None:
        query_shot = max(2 * steps - plan.shot, 0)
    else:
        query_shot = checks.count(plan.recipe, "query_shot", plan.query_shot, least=0)
    shot = plan.shot + query_shot
    if plan.way * shot % steps:
        raise ValueError(
            f"{plan.recipe}: reptile splits {shot} training images of each of way={plan.way} classes "
            f"into num_steps={steps} mini-batches, but {plan.way * shot} does not divide by {steps}. "
            "Change num_steps, or query_shot, which is added to shot."
        )
    objective = reptile(plan.learner, num_steps=1, num_batches=steps)
    return Training(plan.learner, objective, query_shot, (shot, 1))


def by_pretraining(plan: Plan) -> Training:
    """Trains one classifier of all training classes; its features are what the learner adapts on."""
    _refuse_inductive(plan)
    if plan.classes is None:
        raise ValueError(
            f"{plan.recipe}: learner={plan.name!r} is pretrained to classify all training classes, but "
            "this source invents new classes in every task, or is several. Use another learner or source."
        )
    head, query_shot = linear(plan.classes), _query_shot(plan)
    return Training(
        pretrained(plan.learner, plan.embed, head, reference=plan.reference),
        pretraining(plan.embed, head, plan.loss),
        query_shot,
        (plan.shot, query_shot),
        "class",
    )


def _query_shot(plan: Plan) -> int:
    if plan.query_shot is None:
        return plan.usual_query_shot
    return checks.count(plan.recipe, "query_shot", plan.query_shot)


def _refuse_inductive(plan: Plan) -> None:
    if plan.inductive:
        refuse(plan.recipe, "inductive", True, f"learner={plan.name!r}")
