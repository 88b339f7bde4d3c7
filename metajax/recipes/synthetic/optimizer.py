"""Learn an optimiser on many small training problems, and test it on new ones."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import optax

from metajax import checks
from metajax.learners.from_scratch import from_scratch
from metajax.learners.learned import learned
from metajax.learners.maml import maml
from metajax.names import choose
from metajax.objectives import query_loss
from metajax.optimizers.export import export
from metajax.optimizers.problems import ActivationName, Problem
from metajax.recipes.adjoints import ADJOINTS, ExplicitName
from metajax.recipes.experiment import Experiment, refuse_ignored
from metajax.recipes.synthetic.problems import NETWORK, OPTIMIZERS, PROBLEMS, SOURCES
from metajax.recipes.synthetic.tuned import Parts, baselines_of, picture
from metajax.types import LearnedOptimizer

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


def build(settings: Optimizer) -> Experiment:
    """Returns the experiment of these settings.

    Raises:
      ValueError: For settings that do not go together.
    """
    s = _resolved(settings)
    parts = _parts(s)
    loss, learner = parts.train.loss, parts.learner
    baselines = baselines_of(parts)
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
        picture=lambda meta_params: picture(parts, baselines, meta_params),
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
    refuse_ignored("optimizer", s, "problem", {n: n in reads for n in ("source", *NETWORK)})
    return replace(s, loss_from=loss_from)


def _parts(s: Optimizer) -> Parts:
    train, val, test = (problem_of(s, subset) for subset in ("train", "val", "test"))
    _, model, loss = train
    optimizer = optimizer_of(s)
    start = from_scratch if s.start == "fresh" else maml
    learner = learned(
        lambda inner: start(model, loss, inner, s.num_steps, adjoint=ADJOINTS[s.adjoint]), optimizer
    )
    return Parts(s, train, val, test, optimizer, learner)
