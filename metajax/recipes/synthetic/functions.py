"""Sources of functions to fit, by name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from metajax.learners.gaussian_process_optimum import gaussian_process_optimum
from metajax.learners.linear_gaussian_optimum import linear_gaussian_optimum
from metajax.metrics.losses import error_of_mean, mse
from metajax.recipes.experiment import Shots
from metajax.tasks.synthetic.families import harmonics, lines, mixture, polynomials
from metajax.tasks.synthetic.functions import functions
from metajax.tasks.synthetic.gaussian_process import gaussian_process
from metajax.tasks.synthetic.linear_gaussian import linear_gaussian
from metajax.tasks.synthetic.sinusoid import sinusoid
from metajax.types import Learner, Loss, Sample

Source = Callable[[int, int], Sample]
"""The numbers of support and query points to a source."""

_FAMILIES = {"lines": lines(), "polynomials": polynomials(3), "harmonics": harmonics(2)}
_FAMILIES["mixture"] = mixture(list(_FAMILIES.values()))

CURVES: dict[str, Source] = {
    "sinusoid": sinusoid,
    **{
        name: lambda shot, query_shot, family=family: functions(family, shot, query_shot)
        for name, family in _FAMILIES.items()
    },
}
"""Functions of one variable without noise; a mixture is of the three families before it."""


class Prior(NamedTuple):
    """A source, and its best possible learner with that learner's error, where they are known."""

    source: Source
    optimum: Learner | None
    error: Loss


class PriorRow(NamedTuple):
    """How a prior is made of the dimension of inputs and the noise, and their defaults.

    A default of None says that the prior does not have that setting.
    """

    make: Callable[[int, float], Prior]
    dimension: int | None = None
    noise: float | None = None


PRIORS: dict[str, PriorRow] = {
    "linear_gaussian": PriorRow(
        lambda dimension, noise: Prior(
            lambda shot, query_shot: linear_gaussian(dimension, shot, query_shot, noise=noise),
            linear_gaussian_optimum(noise),
            mse,
        ),
        dimension=4,
        noise=0.5,
    ),
    "gaussian_process": PriorRow(
        lambda dimension, noise: Prior(
            lambda shot, query_shot: gaussian_process(shot, query_shot, noise=noise),
            gaussian_process_optimum(noise=noise),
            error_of_mean,
        ),
        noise=0.1,
    ),
    "sinusoid": PriorRow(lambda dimension, noise: Prior(sinusoid, None, mse)),
}
"""The sources of in-context learning."""


def by_name() -> Mapping[str, Callable[[Shots], Sample]]:
    """Every source of functions with its defaults, for evaluating a run on another one."""
    priors = {
        name: row.make(row.dimension or 1, row.noise or 0.0).source for name, row in PRIORS.items()
    }
    return {name: of_shots(source) for name, source in (priors | CURVES).items()}


def of_shots(source: Source) -> Callable[[Shots], Sample]:
    """The same source, called with a size of tasks."""
    return lambda shots: source(shots.shot, shots.query_shot)
