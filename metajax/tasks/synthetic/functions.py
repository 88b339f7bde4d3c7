"""Regression on functions drawn from a family: lines, polynomials, waves, or a mixture of them."""

import jax

from metajax.tasks.synthetic.families import Family
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
    """Tasks of fitting a function of a family from a few of its points.

    Two kinds of tasks are out of distribution: a family's `subset="far"`, whose parameters lie
    outside of those trained on, and queries on another interval, `query_x`.

    Args:
      family: such as `lines()`, or several of them in `mixture`.
      shot: support examples.
      query_shot: query examples.
      noise: deviation of what is added to the support targets; queries have none.
      x: inputs are uniform on it.
      query_x: those of the queries, if not the same.

    Returns:
      `sample(key) -> Task` with `x` and `y` of shape `(shot, 1)` and `(query_shot, 1)`.

    Raises:
      ValueError: for fewer than one example, a negative noise, or an empty interval.

    Example:
      >>> import jax, metajax as mj
      >>> families = mj.tasks.families.lines(), mj.tasks.families.polynomials(3), mj.tasks.families.harmonics(2)
      >>> sample = mj.tasks.functions(mj.tasks.families.mixture(families), shot=5)
      >>> sample(jax.random.key(0)).support.y.shape
      (5, 1)

    Reference: Vuorio, Sun, Hu and Lim, NeurIPS 2019, section 5.1, for mixtures of families.
    https://arxiv.org/abs/1910.13616
    """
    if shot < 1 or query_shot < 1:
        raise ValueError(f"functions: shot={shot} and query_shot={query_shot}; each is 1 or more.")
    if noise < 0:
        raise ValueError(f"functions: noise={noise}; a deviation is 0 or more.")
    elsewhere = x if query_x is None else query_x
    for name, (low, high) in {"x": x, "query_x": elsewhere}.items():
        if low > high:
            raise ValueError(f"functions: {name}=({low}, {high}); give the smaller number first.")

    def sample(key: jax.Array) -> Task:
        function_key, support_key, query_key, noise_key = jax.random.split(key, 4)
        f = family(function_key)
        support = jax.random.uniform(support_key, (shot, 1), minval=x[0], maxval=x[1])
        low, high = elsewhere
        query = jax.random.uniform(query_key, (query_shot, 1), minval=low, maxval=high)
        error = noise * jax.random.normal(noise_key, support.shape)
        return Task(Examples(support, f(support) + error), Examples(query, f(query)))

    return sample
