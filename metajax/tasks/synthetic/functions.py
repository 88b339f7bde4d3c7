"""Regression on functions drawn from a family: lines, polynomials, waves, or a mixture of them."""

from dataclasses import dataclass

import jax

from metajax import checks
from metajax.tasks.synthetic.families import Family
from metajax.trees import as_pytree
from metajax.types import Examples, Sample, Task


def functions(
    family: Family,
    shot: int = 10,
    query_shot: int = 10,
    *,
    noise: float = 0.0,
    x: tuple[float, float] = (-5.0, 5.0),
    query_x: tuple[float, float] | None = None,
) -> Sample:
    """Regression tasks: a function of a family is fitted from a few of its points.

    Two kinds of tasks are out of distribution: those of a family with `subset="far"`, whose
    parameters lie outside the training range, and those with queries on another interval, `query_x`.

    Args:
      family: The family of functions, such as `lines()`, or several of them in `families.mixture`.
      shot: The number of support examples.
      query_shot: The number of query examples.
      noise: The standard deviation of noise added to the support targets; queries have none.
      x: The interval on which inputs are uniform.
      query_x: The interval of the query inputs; None for `x`.

    Returns:
      `sample(key) -> Task` with `x` and `y` of shape `(shot, 1)` and `(query_shot, 1)`.

    Raises:
      ValueError: For fewer than one example, a negative noise, or an empty interval.

    Example:
      >>> import jax, metajax as mj
      >>> lines, waves = mj.tasks.families.lines(), mj.tasks.families.harmonics(2)
      >>> sample = mj.tasks.functions(mj.tasks.families.mixture([lines, waves]), shot=5)
      >>> sample(jax.random.key(0)).support.y.shape
      (5, 1)

    Reference:
      Vuorio, Sun, Hu and Lim, NeurIPS 2019, section 5.1, for mixtures of families.
      https://arxiv.org/abs/1910.13616
    """
    if not callable(family):
        raise ValueError(
            f"functions: family={family!r:.60} must be a function key -> (x -> y), such as "
            "mj.tasks.families.lines()."
        )
    checks.positive("functions", "noise", noise, least=0)
    inputs = checks.interval("functions", "x", x)
    settings = Functions(
        checks.count("functions", "shot", shot),
        checks.count("functions", "query_shot", query_shot),
        float(noise),
        inputs,
        inputs if query_x is None else checks.interval("functions", "query_x", query_x),
    )
    return jax.tree_util.Partial(settings, as_pytree(family))


@dataclass(frozen=True)
class Functions:
    """The settings of `functions`, called with the family and a key."""

    shot: int
    query_shot: int
    noise: float
    x: tuple[float, float]
    query_x: tuple[float, float]

    def __call__(self, family: Family, key: jax.Array) -> Task:
        """Draws a task."""
        function_key, support_key, query_key, noise_key = jax.random.split(key, 4)
        f = family(function_key)
        (low, high), (query_low, query_high) = self.x, self.query_x
        support = jax.random.uniform(support_key, (self.shot, 1), minval=low, maxval=high)
        query = jax.random.uniform(
            query_key, (self.query_shot, 1), minval=query_low, maxval=query_high
        )
        error = self.noise * jax.random.normal(noise_key, support.shape)
        return Task(Examples(support, f(support) + error), Examples(query, f(query)))
