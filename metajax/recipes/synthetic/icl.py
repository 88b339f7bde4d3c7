"""Learners that adapt by a forward pass, on regression tasks whose best possible error is known."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import jax
import optax

from metajax import checks
from metajax.evaluation import evaluate
from metajax.metrics.losses import mse
from metajax.names import choose
from metajax.nn.models import mlp, pixels
from metajax.recipes.densities import Density
from metajax.recipes.experiment import Baseline, Experiment, Shots, refuse_ignored
from metajax.recipes.learners import InContextName, Ingredients, use_of
from metajax.recipes.synthetic.functions import PRIORS, Prior, by_name, of_shots
from metajax.recipes.training import Plan, Training
from metajax.types import Learner, Sample

if TYPE_CHECKING:
    PriorName: TypeAlias = str
else:
    PriorName = Literal[tuple(PRIORS)]


@dataclass(frozen=True)
class Icl:
    """Learn to learn in context: fit a function by reading its points, without a single step.

    Needs no data. The best possible error is known on all sources but the sine waves.
    """

    learner: InContextName = "transformer"
    """The learner; `metajax list learners` describes each."""
    source: PriorName = "linear_gaussian"
    """Linear functions with Gaussian weights, draws from a Gaussian process, or sine waves."""
    shot: int = 10
    """Support points of a task."""
    query_shot: int = 30
    """Query points of a training task."""
    dimension: int | None = None
    """The dimension of the inputs of linear functions; by default 4."""
    noise: float | None = None
    """The standard deviation of the noise on support targets; by default 0.5 on linear functions and
    0.1 on draws from a Gaussian process."""
    width: int = 64
    """The width of tokens, states and hidden layers."""
    layers: int | None = None
    """Blocks of a Transformer; by default 3."""
    meta_batch: int = 64
    """Tasks in an outer step."""
    outer_rate: float = 2e-3
    """Adam's greatest step size: reached after a twentieth of training, then falling to 0."""
    outer_steps: int = 2_000
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""


def build(settings: Icl) -> Experiment:
    """Returns the experiment of these settings.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = _resolved(settings)
    prior, shots = prior_of(s), Shots(s.shot, 100)
    test = prior.source(shots.shot, shots.query_shot)
    density = use_of("icl", "in_context", s.learner)[1].density(prior.source(s.shot, s.query_shot))
    training = _training(s, density)
    learner = training.learner
    rate = optax.warmup_cosine_decay_schedule(
        0.0, s.outer_rate, s.outer_steps // 20 + 1, s.outer_steps + 1
    )
    return Experiment(
        settings=s,
        learner=learner,
        loss=density.loss,
        objective=training.objective,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        train=prior.source(*training.shots),
        val=test,
        test=test,
        metric=lambda predictions, targets: mse(density.mean(predictions), targets),
        metric_name="mean squared error",
        scale=1.0,
        columns=("error",),
        eval_steps=None,
        validation_steps=None,
        test_tasks=2_000,
        digits=4,
        inductive=False,
        learned=f"to fit a new function by reading {s.shot} of its points, without a step.",
        next_flags="--num-tasks 20000",
        picture=None
        if s.dimension is not None
        else lambda meta_params: _picture(learner, density, meta_params, prior, s.shot),
        test_name=s.source,
        shots=shots,
        draw=of_shots(prior.source),
        sources={**by_name(), s.source: of_shots(prior.source)},
        baselines=lambda *asked: _best_possible(prior, test, *asked),
    )


def _resolved(s: Icl) -> Icl:
    """The settings with defaults in place of None."""
    row = PRIORS[choose("icl", "source", s.source, PRIORS)]
    _, use = use_of("icl", "in_context", s.learner)
    of_source = {"dimension": row.dimension is not None, "noise": row.noise is not None}
    refuse_ignored("icl", s, "source", of_source)
    refuse_ignored("icl", s, "learner", {"layers": use.layers is not None})
    found = replace(
        s,
        dimension=row.dimension if s.dimension is None else s.dimension,
        noise=row.noise if s.noise is None else s.noise,
        layers=use.layers if s.layers is None else s.layers,
    )
    for setting in ("shot", "query_shot", "dimension", "width", "layers"):
        if getattr(found, setting) is not None:
            checks.count("icl", setting, getattr(found, setting))
    return found


def prior_of(settings: Icl) -> Prior:
    """Returns the source of the tasks, with the best learner of them where it is known."""
    s = _resolved(settings)
    return PRIORS[s.source].make(s.dimension or 1, s.noise or 0.0)


def _training(s: Icl, density: Density) -> Training:
    # Linear functions are linear in the inputs themselves; others in features of them.
    linear = s.dimension is not None
    embed = pixels if linear else mlp((s.width,), s.width, start="lecun")
    row, _ = use_of("icl", "in_context", s.learner)
    learner = row.build(
        Ingredients(
            embed,
            density.outputs,
            density.loss,
            net=lambda outputs: mlp((s.width, s.width), outputs, start="lecun"),
            reach=s.shot + 1,
            sizes={"width": s.width}
            if s.layers is None
            else {"width": s.width, "layers": s.layers},
        )
    )
    return row.objective(
        Plan(
            recipe="icl",
            name=s.learner,
            learner=learner,
            loss=density.loss,
            embed=embed,
            way=1,
            shot=s.shot,
            query_shot=s.query_shot,
            usual_query_shot=s.query_shot,
            num_steps=None,
        )
    )


def _best_possible(prior: Prior, test: Sample, key, num_tasks, num_steps, mesh):
    del num_steps  # No learner of this recipe has an inner loop.
    if prior.optimum is None:
        return ()
    scores = evaluate(
        prior.optimum,
        (),
        test,
        prior.error,
        key=key,
        num_tasks=num_tasks,
        inductive=False,
        mesh=mesh,
    )
    return (Baseline("best possible", scores, "knows the distribution of the tasks"),)


def _picture(learner: Learner, density: Density, meta_params: Any, prior: Prior, shot: int) -> Any:
    from metajax.recipes import plots  # loads matplotlib

    def mean(adapted, x):
        return density.mean(learner.predict(adapted, x))

    tasks = jax.vmap(prior.source(shot, 200))(jax.random.split(jax.random.key(4), 3))
    low, high = float(tasks.query.x.min()), float(tasks.query.x.max())
    of_mean = learner._replace(predict=mean)
    return plots.adaptation(of_mean, meta_params, tasks, num_steps=None, x_range=(low, high))
