"""Learn an optimiser on many small training problems, and test it on new ones."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import jax
import optax

from metajax import checks, optimizers
from metajax.evaluation import evaluate
from metajax.learners.from_scratch import from_scratch
from metajax.learners.learned import learned
from metajax.learners.maml import maml
from metajax.names import choose
from metajax.objectives import query_loss
from metajax.optimizers.export import export
from metajax.optimizers.problems import (
    ActivationName,
    Problem,
    convs,
    logistic,
    mlps,
    quadratics,
    together,
)
from metajax.optimizers.tuning import BASELINES, RATES, tuned
from metajax.recipes.adjoints import ADJOINTS, ExplicitName
from metajax.recipes.experiment import Baseline, Experiment, refuse_ignored
from metajax.tasks.mnist import mnist
from metajax.tasks.synthetic.clusters import clusters
from metajax.tasks.synthetic.glyphs import glyphs
from metajax.types import LearnedOptimizer, Learner, Sample

WAY = 10
"""Classes of every classification problem."""
_TUNING_KEY = 2_000_003

OPTIMIZERS: dict[str, Callable[[int], LearnedOptimizer]] = {
    "mlp": lambda num_steps: optimizers.mlp(),
    "lstm": lambda num_steps: optimizers.lstm(),
    "meta_lstm": lambda num_steps: optimizers.meta_lstm(),
    "adam": lambda num_steps: optimizers.hyperparameters(
        "adam", positive={"learning_rate": 0.01}, fraction={"b1": 0.9, "b2": 0.99}, eps_root=1e-10
    ),
    "schedule": lambda num_steps: optimizers.schedule("sgd", num_steps, 0.1),
}
"""Learned optimisers by name, from the inner steps of training."""

SOURCES: dict[str, Callable[..., Sample]] = {
    "clusters": lambda subset, data: clusters(way=WAY, shot=20, query_shot=20, spread=0.7),
    "mnist": lambda subset, data: mnist(
        subset, way=WAY, shot=20, query_shot=20, size=14, data=data
    ),
}
"""Data by name, from a subset and the folder of the data sets."""


class ProblemRow(NamedTuple):
    """A family of problems, and which of the settings have an effect on it."""

    make: Callable[["Optimizer", str], Problem]
    reads: tuple[str, ...] = ()


_NETWORK = ("width", "depth", "activation")
PROBLEMS: dict[str, ProblemRow] = {
    "mlps": ProblemRow(
        lambda s, subset: mlps(
            SOURCES[s.source](subset, s.data),
            WAY,
            width=s.width,
            depth=s.depth,
            activation=s.activation,
        ),
        ("source", *_NETWORK),
    ),
    "convs": ProblemRow(
        lambda s, subset: convs(
            glyphs(way=WAY, shot=5, query_shot=5, size=14),
            WAY,
            filters=s.width,
            depth=s.depth,
            activation=s.activation,
        ),
        _NETWORK,
    ),
    "logistic": ProblemRow(
        lambda s, subset: logistic(SOURCES[s.source](subset, s.data), WAY), ("source",)
    ),
    "quadratics": ProblemRow(lambda s, subset: quadratics()),
    "mixture": ProblemRow(
        lambda s, subset: together(
            [PROBLEMS[name].make(s, subset) for name in ("quadratics", "logistic", "mlps")]
        ),
        ("source", *_NETWORK),
    ),
}
"""Problems by name."""

if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
    ProblemName: TypeAlias = str
    SourceName: TypeAlias = str
else:
    OptimizerName, ProblemName = Literal[tuple(OPTIMIZERS)], Literal[tuple(PROBLEMS)]
    SourceName = Literal[tuple(SOURCES)]


@dataclass(frozen=True)
class Optimizer:
    """Learn an optimiser on many small problems, and compare it with tuned ones; needs no data.

    The run folder keeps the trained optimiser as optimizer.npz; mj.optimizers.load reads it.
    """

    learner: OptimizerName = "mlp"
    """The optimiser: a network that writes updates, Adam's hyperparameters, or SGD's schedule."""
    problem: ProblemName = "mlps"
    """The problems to train on; a mixture is of quadratics, logistic regression and perceptrons."""
    source: SourceName = "clusters"
    """Data of perceptrons and logistic regression: invented clusters, or 14x14 digits."""
    start: Literal["fresh", "learned"] = "fresh"
    """Whether training starts from new random weights in every task, or from learned weights."""
    num_steps: int = 40
    """Inner steps on each problem in training."""
    loss_from: int | None = None
    """Train on the mean query loss of this inner step and all later ones; by default, of the second
    half."""
    width: int = 16
    """The width of hidden layers, or the channels of convolutions."""
    depth: int = 1
    """The number of hidden layers or convolutions."""
    activation: ActivationName = "sigmoid"
    """The activation between layers."""
    adjoint: ExplicitName = "remat"
    """How the inner loop is differentiated; first_order treats gradients as constants and is cheaper."""
    meta_batch: int = 8
    """Problems in an outer step."""
    outer_rate: float = 3e-3
    """Adam's step size at the start; it falls to 0 along a cosine."""
    outer_steps: int = 1_200
    """Outer steps in all."""
    seed: int = 0
    """Seed of the run."""
    data: str | None = None
    """The folder that holds mnist/; by default METAJAX_DATA, then the user cache."""


def optimizer_of(settings: Optimizer) -> LearnedOptimizer:
    """Returns the optimiser that these settings learn."""
    name = choose("optimizer", "learner", settings.learner, OPTIMIZERS)
    return OPTIMIZERS[name](settings.num_steps)


def problem_of(settings: Optimizer, subset: Literal["train", "val", "test"]) -> Problem:
    """Returns the family of problems; only real data have subsets, invented ones are always new."""
    choose("optimizer", "source", settings.source, SOURCES)
    return PROBLEMS[choose("optimizer", "problem", settings.problem, PROBLEMS)].make(
        settings, subset
    )


class _Parts(NamedTuple):
    """What the pieces of the experiment share: resolved settings, problems, and the learner."""

    settings: Optimizer
    train: Problem
    val: Problem
    test: Problem
    optimizer: LearnedOptimizer
    learner: Learner


def build(settings: Optimizer) -> Experiment:
    """Returns the experiment of these settings.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = _resolved(settings)
    parts = _parts(s)
    loss, learner = parts.train.loss, parts.learner
    baselines = _baselines(parts)
    eval_steps = (0, max(1, s.num_steps // 4), s.num_steps, 5 * s.num_steps)

    def keep(meta_params, folder: Path) -> str:
        path = folder / "optimizer.npz"
        export(path, parts.optimizer, meta_params.optimizer)
        return f'In any optax loop: mj.optimizers.load("{path}").'

    return Experiment(
        settings=s,
        learner=learner,
        loss=loss,
        objective=query_loss(learner, loss, num_steps=range(s.loss_from or 1, s.num_steps + 1)),
        optimizer=optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)),
        ),
        tasks_per_pass=s.meta_batch,
        train=parts.train.sample,
        val=parts.val.sample,
        test=parts.test.sample,
        metric=loss,
        metric_name="query loss",
        scale=1.0,
        columns=tuple(f"step {n}" for n in eval_steps),
        eval_steps=eval_steps,
        validation_steps=s.num_steps,
        test_tasks=256,
        digits=4,
        inductive=False,
        learned=f"an optimiser ({s.learner}) for {s.problem}, trained on {s.num_steps} steps of each.",
        next_flags=f"--num-steps 0 {s.num_steps} {10 * s.num_steps}",
        picture=lambda meta_params: _picture(parts, baselines, meta_params),
        test_name=s.problem,
        baselines=baselines,
        keep=keep,
    )


def _resolved(s: Optimizer) -> Optimizer:
    """The settings with defaults in place of None."""
    for setting, known in {
        "learner": OPTIMIZERS,
        "problem": PROBLEMS,
        "source": SOURCES,
        "start": ("fresh", "learned"),
        "adjoint": ADJOINTS,
    }.items():
        choose("optimizer", setting, getattr(s, setting), known)
    for setting in ("num_steps", "width", "depth"):
        checks.count("optimizer", setting, getattr(s, setting))
    loss_from = max(1, s.num_steps // 2) if s.loss_from is None else s.loss_from
    if not 1 <= loss_from <= s.num_steps:
        raise ValueError(
            f"optimizer: loss_from={loss_from} must be at least 1 and at most num_steps={s.num_steps}."
        )
    reads = PROBLEMS[s.problem].reads
    refuse_ignored("optimizer", s, "problem", {n: n in reads for n in ("source", *_NETWORK)})
    return replace(s, loss_from=loss_from)


def _parts(s: Optimizer) -> _Parts:
    train, val, test = (problem_of(s, subset) for subset in ("train", "val", "test"))
    _, model, loss = train
    optimizer = optimizer_of(s)
    start = from_scratch if s.start == "fresh" else maml
    learner = learned(
        lambda inner: start(model, loss, inner, s.num_steps, adjoint=ADJOINTS[s.adjoint]), optimizer
    )
    return _Parts(s, train, val, test, optimizer, learner)


def _baselines(parts: _Parts):
    """Hand-made optimisers from a fresh start, each at the best rate on validation problems."""
    s, model, loss = parts.settings, parts.train.model, parts.train.loss

    @functools.cache
    def rates() -> dict[str, float]:
        key = jax.random.key(s.seed + _TUNING_KEY)
        return {
            name: tuned(make, parts.val, s.num_steps, key=key).rate
            for name, make in BASELINES.items()
        }

    def baseline(name, rate, key, num_tasks, num_steps, mesh) -> Baseline:
        learner = from_scratch(model, loss, BASELINES[name](rate), s.num_steps)
        scores = evaluate(
            learner,
            learner.init(key, None),
            parts.test.sample,
            loss,
            key=key,
            num_tasks=num_tasks,
            num_steps=num_steps,
            inductive=False,
            mesh=mesh,
        )
        note = (
            f"from a fresh start, with the best of {len(RATES)} rates after {s.num_steps} steps of "
            "other problems"
        )
        return Baseline(f"{name}, rate {rate:.2g}", scores, note)

    return lambda *asked: tuple(baseline(name, rate, *asked) for name, rate in rates().items())


def _picture(parts: _Parts, baselines, meta_params):
    from metajax.recipes import plots  # loads matplotlib

    s = parts.settings
    steps = tuple(range(0, 2 * s.num_steps + 1, max(1, s.num_steps // 20)))
    key = jax.random.key(4)
    ours = evaluate(
        parts.learner,
        meta_params,
        parts.test.sample,
        parts.train.loss,
        key=key,
        num_tasks=64,
        num_steps=steps,
        inductive=False,
    )
    others = {found.name: found.scores for found in baselines(key, 64, steps, None)}
    curves = {name: (c.mean, c.interval) for name, c in ({s.learner: ours} | others).items()}
    return plots.loss_curves(steps, curves, s.num_steps)
