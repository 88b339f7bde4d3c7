"""Few-shot regression of sine waves: MAML's first experiment, and better settings for it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax

from metajax import checks
from metajax.metrics.losses import mse
from metajax.names import choose
from metajax.nn.contexts import concatenated
from metajax.nn.models import mlp
from metajax.recipes.adjoints import AdjointName
from metajax.recipes.experiment import Experiment, Shots
from metajax.recipes.learners import (
    Ingredients,
    Inner,
    RegressorName,
    build_learner,
    resolved,
    use_of,
)
from metajax.recipes.synthetic.functions import CURVES, by_name, of_shots
from metajax.recipes.synthetic.paper import outer_rate, published
from metajax.recipes.training import Plan, Training

if TYPE_CHECKING:
    CurveName: TypeAlias = str
else:
    CurveName = Literal[tuple(CURVES)]


@dataclass(frozen=True)
class Sinusoid:
    """Learn to fit a sine wave from a few of its points; needs no data.

    The defaults train on the loss after each of three inner steps. The paper's own settings are
    --loss-steps 1 --inner-clip inf --meta-batch 25 --no-cosine --warm-up 0 --outer-rate 0.001 --clip None.
    """

    learner: RegressorName = "maml"
    """The learner; `metajax list learners` describes each."""
    source: CurveName = "sinusoid"
    """The functions to fit; a mixture is of lines, polynomials and harmonics."""
    shot: int = 10
    """Support points of a training task."""
    query_shot: int = 10
    """Query points of a training task."""
    test_shot: int = 5
    """Support points of a test task."""
    loss_steps: tuple[int, ...] | None = None
    """Train on the mean of the query losses after these inner steps; a number given twice counts twice.
    By default 1 1 2 3; for iMAML, whose hypergradient is right at the end alone, 32."""
    inner_rate: float | None = None
    """Step size of inner SGD; by default the learner's own, 0.01 for MAML."""
    inner_clip: float | None = None
    """The greatest norm of an inner gradient, so that no rare task overflows; by default the learner's
    own, 50 for MAML; inf for none."""
    adjoint: AdjointName | None = None
    """How the inner loop is differentiated; by default exactly, and by conjugate gradients for iMAML,
    which alone takes the implicit adjoints."""
    meta_batch: int = 24
    """Tasks in an outer step; an even number splits over two cores, which is faster."""
    outer_rate: float = 5e-3
    """Adam's greatest step size."""
    warm_up: float = 0.05
    """The share of the outer steps in which the outer rate climbs from 0."""
    cosine: bool = True
    """Let the outer rate fall to 0 along a cosine after the climb."""
    clip: float | None = 1.0
    """The greatest norm of a hypergradient: where an inner loop nearly diverges, it is cut to this.
    None for no limit."""
    outer_steps: int = 40_000
    """Outer steps in all; the paper takes 70,000."""
    seed: int = 0
    """Seed of the run."""


def build(settings: Sinusoid) -> Experiment:
    """Returns the experiment of these settings.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = _resolved(settings)
    training = _training(s)
    source = CURVES[s.source]
    shots, learner = Shots(s.test_shot, 100), training.learner
    eval_steps = (0, *sorted({1, 5, 10, max(10, *(s.loss_steps or ()))}))
    clip = optax.identity() if s.clip is None else optax.clip_by_global_norm(s.clip)
    return Experiment(
        settings=s,
        learner=learner,
        loss=mse,
        objective=training.objective,
        optimizer=optax.chain(clip, optax.adam(outer_rate(s))),
        train=source(*training.shots),
        val=source(shots.shot, shots.query_shot),
        test=source(shots.shot, shots.query_shot),
        metric=mse,
        metric_name="mean squared error",
        scale=1.0,
        columns=tuple(f"step {step}" for step in eval_steps),
        eval_steps=eval_steps,
        validation_steps=eval_steps[-1],
        test_tasks=10_000,
        digits=3,
        inductive=False,
        learned="to fit a new function from a few of its points.",
        next_flags="--num-steps 0 1 2 5 10 20",
        picture=lambda meta_params: _picture(learner, meta_params, source(5, 200)),
        test_name=s.source,
        shots=shots,
        draw=of_shots(source),
        sources=by_name(),
        published=published(s, eval_steps),
    )


def _resolved(s: Sinusoid) -> Sinusoid:
    """The settings with defaults in place of None."""
    choose("sinusoid", "source", s.source, CURVES)
    for setting in ("shot", "query_shot", "test_shot"):
        checks.count("sinusoid", setting, getattr(s, setting))
    _, use = use_of("sinusoid", "regress", s.learner)
    loss_steps = s.loss_steps
    if loss_steps is None:
        loss_steps = (use.num_steps or 1,) if use.at_the_end else (1, 1, 2, 3)
    if not loss_steps:
        raise ValueError("sinusoid: loss_steps=() must hold at least one number. Or leave it out.")
    for step in loss_steps:
        checks.count("sinusoid", "loss_steps", step, least=0)
    if not 0 <= s.warm_up < 1:
        raise ValueError(
            f"sinusoid: warm_up={s.warm_up:g} must be at least 0 and below 1; it is a share of the outer "
            "steps."
        )
    inner = _inner(replace(s, loss_steps=tuple(loss_steps)))
    return replace(
        s,
        loss_steps=tuple(loss_steps),
        inner_rate=inner.inner_rate,
        inner_clip=inner.inner_clip,
        adjoint=inner.adjoint,
    )


def _inner(s: Sinusoid) -> Inner:
    return resolved(
        "sinusoid",
        "regress",
        s.learner,
        num_steps=max(s.loss_steps or ()),
        inner_rate=s.inner_rate,
        inner_clip=s.inner_clip,
        adjoint=s.adjoint,
    )


def _training(s: Sinusoid) -> Training:
    """The learner, and how it is trained; the settings are resolved."""
    steps = s.loss_steps or ()
    inner = _inner(s)
    body = mlp((40,), 40)
    ingredients = Ingredients(body, 1, mse, model=mlp(), conditioned=concatenated(mlp(), 5))
    different = tuple(sorted(set(steps)))
    counts = [steps.count(step) for step in different]
    row, _ = use_of("sinusoid", "regress", s.learner)
    return row.objective(
        Plan(
            recipe="sinusoid",
            name=s.learner,
            learner=build_learner("sinusoid", "regress", s.learner, inner, ingredients),
            loss=mse,
            embed=body,
            way=1,
            shot=s.shot,
            query_shot=s.query_shot,
            usual_query_shot=s.query_shot,
            num_steps=inner.num_steps,
            loss_steps=different,
            weights=jnp.array(counts) / len(steps),
        )
    )


def _picture(learner, meta_params, sample):
    from metajax.recipes import plots  # loads matplotlib

    tasks = jax.vmap(sample)(jax.random.split(jax.random.key(4), 3))
    return plots.adaptation(learner, meta_params, tasks, num_steps=(0, 1, 10), x_range=(-5.0, 5.0))
