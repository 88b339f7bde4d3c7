"""Many members of one training program: seeds, and settings with several values."""

import numbers as number_types
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from metajax import checks
from metajax.intervals import standard_errors
from metajax.mesh import AXIS, size


class Sweep(NamedTuple):
    """What the members of a sweep return.

    cells: The settings of each cell of the grid; one without any where there is no grid.
    seeds: The seeds of each cell.
    found: The tree that `train` returns, with axes `(cells, seeds)` in front of every leaf.
    """

    cells: tuple[dict[str, float], ...]
    seeds: tuple[int, ...]
    found: Any


class OverSeeds(NamedTuple):
    """A number over seeds. Further axes of the values are kept.

    mean: The mean over the seeds that are finite.
    interval: Half the width of its 95% interval: Student's t of one degree of freedom less than there are
      such seeds, times their standard deviation over the square root of their number. It covers the draw
      of the seeds; nan for fewer than two.
    number: The number of finite seeds.
    """

    mean: np.ndarray
    interval: np.ndarray
    number: np.ndarray


def sweep(
    train: Callable[..., Any],
    *,
    seeds: Sequence[int],
    grid: Mapping[str, Sequence[float]] | None = None,
    members_per_pass: int | None = None,
    mesh: Mesh | None = None,
) -> Sweep:
    """Maps training over seeds and settings in one compiled program.

    Args:
      train: `train(key, **settings)` to any tree of arrays, such as a validation error. It is traced:
        inside it, `mj.fit` reports and saves nothing, and a member whose numbers stop being finite
        stays at that step without touching the others.
      seeds: Those of the members; the key of a member is `jax.random.key(seed)`.
      grid: The values of each setting; every combination is a cell, the last setting varying fastest.
      members_per_pass: How many members a device computes at once; by default all of its share.
      mesh: Devices to spread the members over, such as `task_mesh()`; by default one device.

    Returns:
      A `Sweep`. Choose a cell by validation tasks, with `best_cell`, and test that cell alone.

    Raises:
      ValueError: For no seeds or values, for one that is given twice, and for one that is no number.

    Example:
      >>> import jax, metajax as mj
      >>> def train(key, rate):
      ...     return rate * jax.random.normal(key)
      >>> swept = mj.sweep(train, seeds=range(4), grid={"rate": (1.0, 0.0)})
      >>> swept.cells, swept.found.shape
      (({'rate': 1.0}, {'rate': 0.0}), (2, 4))
      >>> mj.over_seeds(swept.found[1]).mean.tolist()
      0.0
    """
    if not callable(train):
        raise ValueError(
            f"sweep: train={train!r:.60} must be a function (key, **settings) -> tree."
        )
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise ValueError(
            f"sweep: seeds={seeds!r} must be a sequence of integers, such as range(16)."
        )
    if grid is not None and not isinstance(grid, Mapping):
        raise ValueError(
            f"sweep: grid={grid!r:.60} must map settings to their values, such as {{'rate': (0.1, 0.3)}}."
        )
    found_seeds = tuple(checks.count("sweep", "seeds", seed, least=0) for seed in seeds)
    distinct("sweep", "seeds", found_seeds)
    values = {
        name: tuple(map(float, numbers("sweep", name, of))) for name, of in (grid or {}).items()
    }
    cells = tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))
    members = {
        name: jnp.repeat(jnp.array([cell[name] for cell in cells], float), len(found_seeds))
        for name in values
    }
    if members_per_pass is not None:
        checks.count("sweep", "members_per_pass", members_per_pass)
    if mesh is not None:
        size(mesh, "sweep")
    of_seeds = jnp.stack([jax.random.key(seed) for seed in found_seeds])
    keys = of_seeds[jnp.tile(jnp.arange(len(found_seeds)), len(cells))]

    def member(one, shared):
        del shared
        key, settings = one
        return train(key, **settings)

    found = jax.jit(over_members(member, members_per_pass, mesh))((keys, members), ())
    shape = len(cells), len(found_seeds)
    return Sweep(
        cells,
        found_seeds,
        jax.tree.map(lambda leaf: leaf.reshape(shape + leaf.shape[1:]), found),
    )


def over_members(
    function: Callable[[Any, Any], Any], members_per_pass: int | None, mesh: Mesh | None
) -> Callable[[Any, Any], Any]:
    """Maps `function(member, shared)` over the first axis of `members`, spread over devices.

    Every device takes a share; what fills the last one is computed twice and cut off.

    Example:
      >>> twice = over_members(lambda member, shared: shared * member, None, None)
      >>> twice(jnp.arange(3), 2).tolist()
      [0, 2, 4]
    """

    def in_passes(members, shared):
        share = len(jax.tree.leaves(members)[0])
        size = share if members_per_pass is None else min(members_per_pass, share)
        return jax.lax.map(lambda member: function(member, shared), members, batch_size=size)

    if mesh is None or mesh.size == 1:
        return in_passes

    def spread(members, shared):
        number = len(jax.tree.leaves(members)[0])
        mapped = jax.shard_map(
            in_passes, mesh=mesh, in_specs=(P(AXIS), P()), out_specs=P(AXIS), check_vma=False
        )
        if number % mesh.size == 0:
            return mapped(members, shared)
        rows = np.arange(-(-number // mesh.size) * mesh.size) % number
        found = mapped(jax.tree.map(lambda leaf: leaf[rows], members), shared)
        return jax.tree.map(lambda leaf: leaf[:number], found)

    return spread


def over_seeds(values: Any) -> OverSeeds:
    """The mean over seeds, `(seeds, ...)`, with a 95% interval by Student's t; see `OverSeeds`.

    Raises:
      ValueError: For no values.

    Example:
      >>> found = over_seeds([1.0, 3.0, float("nan")])  # t of 1 degree of freedom is 12.71
      >>> found.mean.tolist(), found.interval.round(2).tolist(), found.number.tolist()
      (2.0, 12.71, 2)
    """
    values = _floats("over_seeds", values)
    if values.ndim == 0 or not len(values):
        raise ValueError("over_seeds: values must hold a number for each seed.")
    finite = np.isfinite(values)
    number = finite.sum(axis=0)
    known = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = known.sum(axis=0) / number
        apart = np.where(finite, known - mean, 0.0)
        deviation = np.sqrt((apart**2).sum(axis=0) / (number - 1))
        interval = standard_errors(number) * deviation / np.sqrt(number)
    return OverSeeds(mean, interval, number)


def best_cell(validation: Any, *, higher_is_better: bool = False) -> int | None:
    """The index of the cell with the best mean over seeds on validation tasks.

    A cell with more diverged seeds loses against one with fewer, because its mean leaves them out.

    Args:
      validation: Numbers `(cells, seeds)`; one that is not finite has diverged.
      higher_is_better: Whether the metric is an accuracy or the like, in place of an error.

    Returns:
      The index; None if every seed of every cell has diverged.

    Raises:
      ValueError: For numbers of another shape.

    Example:
      >>> best_cell([[0.5, 0.7], [0.1, float("nan")], [0.9, 0.2]])
      2
    """
    known = _floats("best_cell", validation)
    if known.ndim != 2 or not known.size:
        raise ValueError(
            f"best_cell: validation has shape {known.shape}; give numbers (cells, seeds), as mj.sweep does."
        )
    cells = [over_seeds(values) for values in known]
    most = max(int(cell.number) for cell in cells)
    if most == 0:
        return None
    sign = -1.0 if higher_is_better else 1.0
    whole = [i for i, cell in enumerate(cells) if cell.number == most]
    return min(whole, key=lambda i: sign * float(cells[i].mean))


def _floats(where: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: values={values!r:.60} must be an array of numbers.") from error


def numbers(where: str, name: str, values: Any) -> tuple[Any, ...]:
    """Returns the values of a setting.

    Raises:
      ValueError: For none at all, for one that is no number, and for one that is given twice.

    Example:
      >>> numbers("sweep", "rate", (0.1, "much"))
      Traceback (most recent call last):
      ValueError: sweep: grid: rate='much' must be a number.
    """
    several = isinstance(values, Iterable) and not isinstance(values, str)
    found = tuple(values) if several else (values,)
    for value in found:
        known = _floats(where, value) if isinstance(value, number_types.Real) else np.array(np.nan)
        if isinstance(value, bool) or np.isnan(known):
            raise ValueError(f"{where}: grid: {name}={value!r} must be a number.")
    distinct(where, f"grid: {name}", found)
    return found


def distinct(where: str, name: str, values: tuple[Any, ...]) -> None:
    """Checks that there are values, each once.

    Raises:
      ValueError: Otherwise.

    Example:
      >>> distinct("sweep", "seeds", (0, 1, 0))
      Traceback (most recent call last):
      ValueError: sweep: seeds: 0 is given twice; leave one out.
    """
    if not values:
        raise ValueError(f"{where}: {name}: there are no values; give at least one.")
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"{where}: {name}: {twice[0]!r} is given twice; leave one out.")
