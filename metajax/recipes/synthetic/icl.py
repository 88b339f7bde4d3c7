"""Learners that adapt by a forward pass, on regression tasks whose best possible error is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import optax

from metajax.estimators import parallel
from metajax.evaluation import evaluate
from metajax.learners.attentive_process import attentive_process
from metajax.learners.gaussian_process_optimum import gaussian_process_optimum
from metajax.learners.linear_gaussian_optimum import linear_gaussian_optimum
from metajax.learners.memory_augmented import memory_augmented
from metajax.learners.neural_process import neural_process
from metajax.learners.prior_fitted import prior_fitted
from metajax.learners.recurrent import recurrent
from metajax.learners.snail import snail
from metajax.learners.transformer import transformer
from metajax.metrics.binned import bin_edges, binned_mean, binned_nll
from metajax.metrics.losses import error_of_mean, gaussian_nll, mse
from metajax.names import choose
from metajax.nn.models import mlp, pixels
from metajax.objectives import query_loss
from metajax.recipes.experiment import Experiment, Rival, refuse_ignored
from metajax.tasks.synthetic.gaussian_process import gaussian_process
from metajax.tasks.synthetic.linear_gaussian import linear_gaussian
from metajax.tasks.synthetic.sinusoid import sinusoid
from metajax.types import Learner, Loss, Model, Sample


@dataclass(frozen=True)
class Icl:
    """Learn to learn in context: fit a function by reading its points, without a single step.

    Needs no data. On all sources but the sine waves the best possible error is known.
    """

    learner: Literal[
        "transformer",
        "causal_transformer",
        "prior_fitted",
        "snail",
        "recurrent",
        "memory_augmented",
        "neural_process",
        "attentive_process",
    ] = "transformer"
    """What is meta-learned; `metajax list` has a line on each."""
    source: Literal["linear_gaussian", "gaussian_process", "sinusoid"] = "linear_gaussian"
    """Linear functions with Gaussian weights, draws from a Gaussian process, or sine waves."""
    shot: int = 10
    """Support points of a task."""
    query_shot: int = 30
    """Query points of a training task."""
    dimension: int | None = None
    """Of the inputs of linear functions; by default 4."""
    noise: float | None = None
    """Deviation of the noise on support targets; by default 0.5 on linear functions and 0.1 on draws
    from a Gaussian process."""
    width: int = 64
    """Of tokens, states and hidden layers."""
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


TRANSFORMERS = ("transformer", "causal_transformer", "prior_fitted")
BINS = 100


class Kind(NamedTuple):
    """A learner, what it is trained on, and where its predictions have their mean `(n, 1)`."""

    learner: Learner
    loss: Loss
    mean: Callable[[Any], jax.Array]


class Prior(NamedTuple):
    """A source of `(shot, query_shot)`, and its best possible learner and that one's error, if known."""

    source: Callable[[int, int], Sample]
    optimum: Learner | None
    error: Loss


def build(settings: Icl) -> Experiment:
    """The experiment these settings describe."""
    s = settings
    of_source = {"dimension": s.source == "linear_gaussian", "noise": s.source != "sinusoid"}
    refuse_ignored("icl", s, "source", of_source)
    refuse_ignored("icl", s, "learner", {"layers": s.learner in TRANSFORMERS})
    prior = prior_of(s)
    train, test = prior.source(s.shot, s.query_shot), prior.source(s.shot, 100)
    kind = _kind(s, train)

    def rivals(key, num_tasks, num_steps):
        del num_steps  # neither takes any
        if prior.optimum is None:
            return ()
        scores = evaluate(
            prior.optimum, (), test, prior.error, key=key, num_tasks=num_tasks, inductive=False
        )
        return (Rival("best possible", scores, "knows what the tasks are drawn from"),)

    rate = optax.warmup_cosine_decay_schedule(
        0.0, s.outer_rate, s.outer_steps // 20 + 1, s.outer_steps + 1
    )
    return Experiment(
        learner=kind.learner,
        loss=kind.loss,
        objective=query_loss(kind.learner, kind.loss),
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        estimator=parallel(s.meta_batch, tasks_per_pass=s.meta_batch),
        train=train,
        val=test,
        test=test,
        metric=lambda predictions, targets: mse(kind.mean(predictions), targets),
        metric_name="mean squared error",
        scale=1.0,
        columns=("error",),
        test_steps=None,
        validation_steps=None,
        test_tasks=2_000,
        digits=4,
        inductive=False,
        learned=f"to fit a new function by reading {s.shot} of its points, without a step.",
        next_flags="--num-tasks 20000",
        picture=None
        if s.source == "linear_gaussian"
        else lambda m: _picture(kind, m, prior, s.shot),
        rivals=rivals,
    )


def prior_of(settings: Icl) -> Prior:
    """Where the tasks come from, and the best learner of them."""
    s = settings
    choose("icl", "source", s.source, ("linear_gaussian", "gaussian_process", "sinusoid"))
    if s.source == "sinusoid":
        return Prior(sinusoid, None, mse)
    if s.source == "gaussian_process":
        noise = 0.1 if s.noise is None else s.noise
        return Prior(
            lambda shot, query_shot: gaussian_process(shot, query_shot, noise=noise),
            gaussian_process_optimum(noise=noise),
            error_of_mean,
        )
    noise = 0.5 if s.noise is None else s.noise
    dimension = 4 if s.dimension is None else s.dimension
    return Prior(
        lambda shot, query_shot: linear_gaussian(dimension, shot, query_shot, noise=noise),
        linear_gaussian_optimum(noise),
        mse,
    )


def _net(s: Icl, outputs: int) -> Model:
    return mlp((s.width, s.width), outputs, start="lecun")


def _kind(s: Icl, sample: Sample) -> Kind:
    # Linear functions are linear in the inputs themselves; others in something of them.
    embed = pixels if s.source == "linear_gaussian" else mlp((s.width,), s.width, start="lecun")
    options: dict[str, Any] = {"width": s.width, "layers": 3 if s.layers is None else s.layers}
    points: dict[str, Callable[[], Learner]] = {
        "transformer": lambda: transformer(embed, 1, **options),
        "causal_transformer": lambda: transformer(embed, 1, causal=True, **options),
        "snail": lambda: snail(embed, 1, s.shot + 1, width=s.width),
        "recurrent": lambda: recurrent(embed, 1, width=s.width),
        "memory_augmented": lambda: memory_augmented(embed, 1, width=s.width),
    }
    gaussians: dict[str, Callable[[], Learner]] = {
        "neural_process": lambda: neural_process(_net(s, s.width), _net(s, 2)),
        "attentive_process": lambda: attentive_process(
            _net(s, s.width), _net(s, s.width), _net(s, 2)
        ),
    }
    choose("icl", "learner", s.learner, (*points, *gaussians, "prior_fitted"))
    if s.learner in points:
        return Kind(points[s.learner](), mse, lambda predictions: predictions)
    if s.learner in gaussians:
        return Kind(gaussians[s.learner](), gaussian_nll, lambda predictions: predictions[:, 0])
    edges = edges_of(sample, BINS)
    return Kind(prior_fitted(embed, BINS, **options), binned_nll(edges), binned_mean(edges))


def edges_of(sample: Sample, bins: int) -> jax.Array:
    """Bins for what the queries of a source have for targets."""
    drawn = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), 2_000))
    return bin_edges(drawn.query.y, bins)


def _picture(kind: Kind, meta_params: Any, prior: Prior, shot: int) -> Any:
    from metajax.recipes import plots  # matplotlib is loaded by those who draw

    learner = kind.learner
    of_mean = Learner(
        learner.init, learner.adapt, lambda adapted, x: kind.mean(learner.predict(adapted, x))
    )
    tasks = jax.vmap(prior.source(shot, 200))(jax.random.split(jax.random.key(4), 3))
    low, high = float(tasks.query.x.min()), float(tasks.query.x.max())
    return plots.adaptation(of_mean, meta_params, tasks, num_steps=None, x_range=(low, high))
