"""Few-shot regression of sine waves: MAML's first experiment, and better settings for it."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from metajax.estimators import parallel
from metajax.metrics.losses import mse
from metajax.names import choose
from metajax.nn.contexts import concatenated
from metajax.nn.models import mlp
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment, Published
from metajax.recipes.learners import (
    REGRESSORS,
    AdjointName,
    ImplicitName,
    RegressorName,
    build_learner,
)
from metajax.tasks.synthetic.families import harmonics, lines, mixture, polynomials
from metajax.tasks.synthetic.functions import functions
from metajax.tasks.synthetic.sinusoid import sinusoid


@dataclass(frozen=True)
class Sinusoid:
    """Learn to fit a sine wave from a few of its points; needs no data.

    The defaults train on the loss after each of three inner steps. The paper's own settings are
    --judged-steps 1 --inner-clip inf --meta-batch 25 --no-cosine --warm-up 0 --outer-rate 0.001 --clip None.
    """

    learner: RegressorName = "maml"
    """What is meta-learned; `metajax list` has a line on each."""
    source: Literal["sinusoid", "lines", "polynomials", "harmonics", "mixture"] = "sinusoid"
    """The functions to fit; a mixture is of the three before it."""
    shot: int = 10
    """Support points of a training task."""
    query_shot: int = 10
    """Query points of a training task."""
    test_shot: int = 5
    """Support points of a test task."""
    judged_steps: tuple[int, ...] | None = None
    """Train on the mean of the query losses after these inner steps; one given twice counts twice. By
    default 1 1 2 3, and for iMAML, which is right where its inner loop ends, its 32nd alone."""
    inner_rate: float | None = None
    """Step size of inner SGD; by default the learner's own, 0.01 for MAML."""
    inner_clip: float | None = None
    """Greatest norm of an inner gradient, beyond which a rare task would overflow; by default the learner's
    own, 50 for MAML; inf for none."""
    adjoint: AdjointName | ImplicitName | None = None
    """How the inner loop is differentiated; by default exactly, and for iMAML, which alone takes the
    implicit ones, by conjugate gradients."""
    meta_batch: int = 24
    """Tasks in an outer step; an even number splits over two cores, which is faster."""
    outer_rate: float = 5e-3
    """Adam's step size, at its greatest."""
    warm_up: float = 0.05
    """Share of the outer steps in which the outer rate climbs to that from 0."""
    cosine: bool = True
    """Let the outer rate fall to 0 along a cosine after that."""
    clip: float | None = 1.0
    """Greatest norm of a hypergradient; a longer one, of a task whose inner loop nearly diverges, is
    shortened."""
    outer_steps: int = 40_000
    """Outer steps in all; the paper takes 70,000."""
    seed: int = 0
    """Seed of the run."""


_FAMILIES = {"lines": lines(), "polynomials": polynomials(3), "harmonics": harmonics(2)}
_FAMILIES["mixture"] = mixture(list(_FAMILIES.values()))


def build(settings: Sinusoid) -> Experiment:
    """The experiment these settings describe."""
    s = settings
    choose("sinusoid", "source", s.source, ("sinusoid", *_FAMILIES))

    def source(shot, query_shot):
        if s.source == "sinusoid":
            return sinusoid(shot, query_shot)
        return functions(_FAMILIES[s.source], shot, query_shot)

    choice = REGRESSORS[choose("sinusoid", "learner", s.learner, REGRESSORS)]
    usual = (choice.num_steps or 1,) if choice.right_at_the_end else (1, 1, 2, 3)
    asked = usual if s.judged_steps is None else s.judged_steps
    if not asked:
        raise ValueError("sinusoid: judged_steps=(); give one number or more, or leave it out.")
    test_steps = (0, *sorted({1, 5, 10, max(10, *asked)}))
    learner, _ = build_learner(
        "sinusoid",
        REGRESSORS,
        s.learner,
        adjoint=s.adjoint,
        num_steps=max(asked),
        rate=s.inner_rate,
        clip=s.inner_clip,
        model=mlp(),
        body=mlp((40,), 40),
        conditioned=concatenated(mlp(), 5),
        outputs=1,
    )
    judged = tuple(sorted(set(asked)))
    counts = [asked.count(step) for step in judged]
    if not 0 <= s.warm_up < 1:
        raise ValueError(
            f"sinusoid: warm_up={s.warm_up:g}; it is a share of the outer steps, 0 or more and below 1."
        )
    clip = optax.identity() if s.clip is None else optax.clip_by_global_norm(s.clip)
    test = source(s.test_shot, 100)
    return Experiment(
        learner=learner,
        loss=mse,
        objective=query_loss(
            learner, mse, num_steps=judged, weights=jnp.array(counts) / len(asked)
        ),
        optimizer=optax.chain(clip, optax.adam(outer_rate(s))),
        estimator=parallel(s.meta_batch, tasks_per_pass=s.meta_batch),
        train=source(s.shot, s.query_shot),
        val=test,
        test=test,
        metric=mse,
        metric_name="mean squared error",
        scale=1.0,
        columns=tuple(f"step {step}" for step in test_steps),
        test_steps=test_steps,
        validation_steps=test_steps[-1],
        test_tasks=10_000,
        digits=3,
        inductive=False,
        learned="to fit a new function from a few of its points.",
        next_flags="--num-steps 0 1 2 5 10 20",
        picture=lambda meta_params: _picture(learner, meta_params, source(5, 200)),
        published=()
        if (s.learner, s.source) != ("maml", "sinusoid")
        else (
            Published(
                "MAML, table 2",
                tuple({1: 0.67, 5: 0.38, 10: 0.35}.get(step) for step in test_steps),
                "Finn et al. 2017: trained with 10 shots and 1 step, tested with 5 shots",
            ),
            Published(
                "pretrained",
                tuple({1: 2.41, 5: 2.23, 10: 2.19}.get(step) for step in test_steps),
                "the same table: one network for all tasks, then adapted",
            ),
        ),
    )


def outer_rate(s: Sinusoid) -> optax.Schedule:
    """What Adam's step size is at each outer step.

    The first hypergradients, of weights near 0, say little about the later ones, and a high rate takes
    long steps along them: at 3e-3, clipped at 2 and without a warm-up, one of three seeds diverged and the
    others ended above 0.67 after an inner step; clipped at 1 and with it, all are below.
    """
    climb = round(s.warm_up * s.outer_steps)
    after = (
        optax.cosine_decay_schedule(s.outer_rate, s.outer_steps - climb)
        if s.cosine
        else optax.constant_schedule(s.outer_rate)
    )
    if not climb:
        return after
    return optax.join_schedules([optax.linear_schedule(0, s.outer_rate, climb), after], [climb])


def _picture(learner, meta_params, sample):
    from metajax.recipes import plots  # matplotlib is loaded by those who draw

    tasks = jax.vmap(sample)(jax.random.split(jax.random.key(4), 3))
    return plots.adaptation(learner, meta_params, tasks, num_steps=(0, 1, 10), x_range=(-5.0, 5.0))
