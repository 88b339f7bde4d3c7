"""Learn an optimiser on many small training problems, and judge it on new ones."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import optax

from metajax import optimizers
from metajax.estimators import parallel
from metajax.evaluation import evaluate
from metajax.learners.from_scratch import FromScratchParams, from_scratch
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
from metajax.recipes.experiment import Experiment, Rival, refuse_ignored
from metajax.recipes.learners import ADJOINTS, AdjointName
from metajax.tasks.mnist import mnist
from metajax.tasks.synthetic.clusters import clusters
from metajax.tasks.synthetic.glyphs import glyphs
from metajax.types import LearnedOptimizer, Sample

WAY = 10
"""Classes of every problem that has some."""
_TUNING_KEY = 2_000_003
_LAYERS = ("mlps", "convs", "mixture")
_PROBLEMS_WITH = {
    "source": ("mlps", "logistic", "mixture"),
    "width": _LAYERS,
    "depth": _LAYERS,
    "activation": _LAYERS,
}
"""Data and layers of the other problems are their own."""


@dataclass(frozen=True)
class Optimizer:
    """Learn an optimiser on many small problems, and compare it with tuned ones; needs no data.

    The trained optimiser is kept as optimizer.npz in the folder of the run; mj.load reads it.
    """

    learner: Literal["mlp", "lstm", "meta_lstm", "adam", "schedule"] = "mlp"
    """What is meta-learned: a network that writes updates, Adam's hyperparameters, or SGD's schedule."""
    problem: Literal["mlps", "convs", "logistic", "quadratics", "mixture"] = "mlps"
    """What it is trained to train; a mixture is of quadratics, logistic regression and perceptrons."""
    source: Literal["clusters", "mnist"] = "clusters"
    """Data of perceptrons and logistic regression: invented clusters, or 14x14 digits."""
    start: Literal["fresh", "learned"] = "fresh"
    """Where training starts: at random in every task, or from weights that are learned too."""
    num_steps: int = 40
    """Steps of each problem in training."""
    judged_from: int | None = None
    """Train on the mean query loss of this step and all after it; by default, of the second half."""
    width: int = 16
    """Of hidden layers; or channels."""
    depth: int = 1
    """Hidden layers; or convolutions."""
    activation: ActivationName = "sigmoid"
    """Between layers."""
    adjoint: AdjointName = "remat"
    """How the inner loop is differentiated; first_order holds gradients constant and is cheaper."""
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
    """The optimiser these settings learn."""
    if settings.learner == "adam":
        return optimizers.hyperparameters(
            "adam",
            positive={"learning_rate": 0.01},
            fraction={"b1": 0.9, "b2": 0.99},
            eps_root=1e-10,
        )
    if settings.learner == "schedule":
        return optimizers.schedule("sgd", settings.num_steps, 0.1)
    named = {"mlp": optimizers.mlp, "lstm": optimizers.lstm, "meta_lstm": optimizers.meta_lstm}
    return named[choose("optimizer", "learner", settings.learner, (*named, "adam", "schedule"))]()


def problem_of(settings: Optimizer, subset: Literal["train", "val", "test"]) -> Problem:
    """The family of problems; only real data have subsets, invented ones are always new."""
    s = settings
    shape = {"depth": s.depth, "activation": s.activation}

    def source() -> Sample:
        choose("optimizer", "source", s.source, ("clusters", "mnist"))
        if s.source == "mnist":
            return mnist(subset, way=WAY, shot=20, query_shot=20, size=14, data=s.data)
        return clusters(way=WAY, shot=20, query_shot=20, spread=0.7)

    families = {
        "mlps": lambda: mlps(source(), WAY, width=s.width, **shape),
        "convs": lambda: convs(
            glyphs(way=WAY, shot=5, query_shot=5, size=14), WAY, filters=s.width, **shape
        ),
        "logistic": lambda: logistic(source(), WAY),
        "quadratics": quadratics,
        "mixture": lambda: together(
            [families[name]() for name in ("quadratics", "logistic", "mlps")]
        ),
    }
    return families[choose("optimizer", "problem", s.problem, families)]()


def build(settings: Optimizer) -> Experiment:
    """The experiment these settings describe."""
    s = settings
    choose("optimizer", "start", s.start, ("fresh", "learned"))
    choose("optimizer", "adjoint", s.adjoint, ADJOINTS)
    judged_from = max(1, s.num_steps // 2) if s.judged_from is None else s.judged_from
    if not 1 <= judged_from <= s.num_steps:
        raise ValueError(
            f"optimizer: judged_from={judged_from} and num_steps={s.num_steps}; give 1 <= "
            "judged_from <= num_steps."
        )
    has = {setting: s.problem in problems for setting, problems in _PROBLEMS_WITH.items()}
    refuse_ignored("optimizer", s, "problem", has)
    problems = {subset: problem_of(s, subset) for subset in ("train", "val", "test")}
    _, model, loss = problems["train"]
    optimizer = optimizer_of(s)
    start = from_scratch if s.start == "fresh" else maml
    learner = learned(
        lambda inner: start(model, loss, inner, s.num_steps, adjoint=ADJOINTS[s.adjoint]), optimizer
    )
    test_steps = (0, max(1, s.num_steps // 4), s.num_steps, 5 * s.num_steps)

    @functools.cache
    def rates() -> dict[str, float]:
        key = jax.random.key(s.seed + _TUNING_KEY)
        return {
            name: tuned(make, problems["val"], s.num_steps, key=key).rate
            for name, make in BASELINES.items()
        }

    def rivals(key, num_tasks, num_steps) -> tuple[Rival, ...]:
        def scores(name, rate):
            return evaluate(
                from_scratch(model, loss, BASELINES[name](rate), s.num_steps),
                FromScratchParams(),
                problems["test"].sample,
                loss,
                key=key,
                num_tasks=num_tasks,
                num_steps=num_steps,
                inductive=False,
            )

        return tuple(
            Rival(
                f"{name}, rate {rate:.2g}",
                scores(name, rate),
                f"from a fresh start, the best of {len(RATES)} rates after {s.num_steps} steps of "
                "other problems",
            )
            for name, rate in rates().items()
        )

    def picture(meta_params):
        from metajax.recipes import plots  # matplotlib is loaded by those who draw

        steps = tuple(range(0, 2 * s.num_steps + 1, max(1, s.num_steps // 20)))
        key = jax.random.key(4)
        curves = {
            s.learner: evaluate(
                learner,
                meta_params,
                problems["test"].sample,
                loss,
                key=key,
                num_tasks=64,
                num_steps=steps,
                inductive=False,
            ),
            **{rival.name: rival.scores for rival in rivals(key, 64, steps)},
        }
        return plots.loss_curves(
            steps, {name: (c.mean, c.interval) for name, c in curves.items()}, s.num_steps
        )

    def keep(meta_params, folder: Path) -> str:
        path = folder / "optimizer.npz"
        export(path, optimizer, meta_params.optimizer)
        return f'In any optax loop: mj.load("{path}").'

    return Experiment(
        learner=learner,
        loss=loss,
        objective=query_loss(learner, loss, num_steps=range(judged_from, s.num_steps + 1)),
        optimizer=optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.cosine_decay_schedule(s.outer_rate, s.outer_steps)),
        ),
        estimator=parallel(s.meta_batch, tasks_per_pass=s.meta_batch),
        train=problems["train"].sample,
        val=problems["val"].sample,
        test=problems["test"].sample,
        metric=loss,
        metric_name="query loss",
        scale=1.0,
        columns=tuple(f"step {n}" for n in test_steps),
        test_steps=test_steps,
        validation_steps=s.num_steps,
        test_tasks=256,
        digits=4,
        inductive=False,
        learned=f"an optimiser ({s.learner}) for {s.problem}, trained on {s.num_steps} steps of each.",
        next_flags=f"--num-steps 0 {s.num_steps} {10 * s.num_steps}",
        picture=picture,
        rivals=rivals,
        keep=keep,
    )
