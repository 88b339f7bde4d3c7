"""Sweeps of a recipe: seeds and settings with several values, which are checked before anything is computed."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import quote

import jax

from metajax import checks, recipes
from metajax.names import choose
from metajax.objectives import TaskMean
from metajax.ops.programs import numbers as numbers_in
from metajax.recipes.experiment import Experiment
from metajax.train.sweep import distinct

SMALL = 8_000_000
"""The numbers that an outer step of a small member computes, up to where members share one program.
`python benchmarks/sweeps.py --only rule` measures it."""

_FIXED = {"seed": "Give --seeds", "data": "Leave it out"}
_WORDS: dict[str, Any] = {"None": None, "True": True, "False": False}


class Cell(NamedTuple):
    """The members that differ in their seed alone.

    name: Such as "inner_rate=0.01,clip=1"; empty where there is no grid. It is the name of a folder.
    values: Those of the grid's settings.
    settings: The recipe's dataclass with these values and the first seed.
    """

    name: str
    values: dict[str, Any]
    settings: Any


class Plan(NamedTuple):
    """A sweep of a recipe.

    settings: Those that all members share.
    grid: The values of each setting that has several.
    seeds: Of the members of each cell.
    """

    settings: Any
    grid: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]

    @property
    def cells(self) -> list[Cell]:
        """Every combination of values, that of the last setting varying fastest."""
        found = []
        for chosen in itertools.product(*self.grid.values()):
            values = dict(zip(self.grid, chosen, strict=True))
            name = ",".join(f"{key}={quote(str(value), safe='+')}" for key, value in values.items())
            found.append(Cell(name, values, replace(self.settings, seed=self.seeds[0], **values)))
        return found

    def settings_of(self, folder: str) -> Any:
        """The settings of the member in a folder."""
        return next(
            replace(cell.settings, seed=seed)
            for cell in self.cells
            for name, seed in zip(self.folders(cell), self.seeds, strict=True)
            if name == folder
        )

    def folders(self, cell: Cell) -> list[str]:
        """The folders of the members of a cell, inside that of the sweep."""
        above = f"{cell.name}/" if cell.name else ""
        return [f"{above}seed-{seed}" for seed in self.seeds]


def plan(settings: Any, seeds: int | None, grid: Sequence[str] = ()) -> Plan:
    """Returns the sweep of a recipe's settings, whose first seed is theirs.

    Args:
      settings: The recipe's dataclass.
      seeds: The number of seeds; None for one.
      grid: Settings with their values, such as "inner_rate=0.01,0.03".

    Raises:
      ValueError: For what is no setting, no value of it, or given twice, and for a cell whose settings do
        not go together.

    Example:
      >>> from metajax.recipes.synthetic.sinusoid import Sinusoid
      >>> found = plan(Sinusoid(seed=3), 2, ["inner_rate=0.01,0.03"])
      >>> found.grid, found.seeds
      ({'inner_rate': (0.01, 0.03)}, (3, 4))
      >>> found.folders(found.cells[1])
      ['inner_rate=0.03/seed-3', 'inner_rate=0.03/seed-4']
    """
    number = 1 if seeds is None else checks.count("train", "seeds", seeds)
    first = checks.count("train", "seed", settings.seed, least=0)
    values = dict(_parsed(settings, entry) for entry in grid)
    distinct_names = tuple(entry.partition("=")[0].replace("-", "_") for entry in grid)
    if grid:
        distinct("train", "--grid", distinct_names)
    return Plan(settings, values, tuple(range(first, first + number)))


def check(found: Plan) -> None:
    """Builds every cell, so that settings which do not go together are named before anything is trained.

    Raises:
      ValueError: As `recipes.build`, naming the cell.
    """
    for cell in found.cells:
        try:
            recipes.build(cell.settings)
        except ValueError as error:
            raise ValueError(f"--grid {cell.name}: {error}" if cell.name else str(error)) from error


def _parsed(settings: Any, entry: str) -> tuple[str, tuple[Any, ...]]:
    """The name and the values of one setting of a grid."""
    name, equals, text = entry.partition("=")
    if not equals:
        raise ValueError(
            f"train: --grid {entry!r} must be a setting and its values, such as inner_rate=0.01,0.03."
        )
    kind, name = type(settings), name.strip().removeprefix("--").replace("-", "_")
    choose("train", "grid", name, kind.__dataclass_fields__)
    if name in _FIXED:
        raise ValueError(f"train: --grid {entry}: {name} is not swept. {_FIXED[name]}.")
    default = kind.__dataclass_fields__[name].default
    if getattr(settings, name) != default:
        raise ValueError(
            f"train: {name}={getattr(settings, name)!r} is given beside --grid {entry}. Leave one out."
        )
    words = [word.strip() for word in text.split(",")]
    hint = get_type_hints(kind)[name]
    values = tuple(_value(entry, name, word, hint) for word in words if word)
    distinct("train", f"--grid {name}", values)
    return name, values


def _value(entry: str, name: str, word: str, hint: Any) -> Any:
    """One value of a setting, as its type has it.

    Raises:
      ValueError: For what is no value of this type.
    """
    kinds = get_args(hint) if type(None) in get_args(hint) else (hint,)
    if word in _WORDS and type(_WORDS[word]) in kinds:
        return _WORDS[word]
    for kind in kinds:
        if get_origin(kind) is Literal:
            if word not in get_args(kind):
                choose("train", f"--grid {name}", word, map(str, get_args(kind)))
            return word
        if get_origin(kind) is tuple:
            raise ValueError(
                f"train: --grid {entry}: {name} is a list of values itself, which is not swept. Start a sweep "
                "for each of them."
            )
        if kind in (int, float):
            return _number(entry, name, word, kind)
        if kind is str:
            return word
    allowed = "True or False" if bool in kinds else "of another kind"
    raise ValueError(f"train: --grid {entry}: {name}={word!r} must be {allowed}.")


def _number(entry: str, name: str, word: str, kind: type) -> float:
    try:
        value = kind(word)
    except ValueError:
        value = float("nan")
    if value != value:
        thing = "an integer" if kind is int else "a number"
        raise ValueError(f"train: --grid {entry}: {name}={word!r} must be {thing}.")
    return value


def size(experiment: Experiment) -> int | None:
    """The numbers that an outer step computes, from its traced program; None where they are not known.

    They are known of a mean over tasks; `docs/results/speed.md` uses the same measure.
    """
    e = experiment
    if not isinstance(e.objective, TaskMean):
        return None
    key = jax.random.key(0)
    task = jax.eval_shape(e.train, key)
    meta_params = jax.eval_shape(lambda key: e.learner.init(key, e.train(key).support.x), key)
    of_task = jax.make_jaxpr(e.objective.of_task)(meta_params, task, key)
    return numbers_in(of_task)[0] * e.settings.meta_batch


def shares_a_program(experiment: Experiment) -> bool:
    """Whether the members of a sweep of this experiment are trained in one program by default.

    They are if an outer step computes at most `SMALL` numbers, so that a device is not busy with one member,
    and if the recipe's report needs nothing but the meta-parameters' scores on test tasks.
    """
    found = size(experiment) if experiment.judge is None else None
    return found is not None and found <= SMALL


class Group(NamedTuple):
    """Members whose settings differ in numbers that can be traced, so that they are one program.

    settings: Those that all members share.
    members: Of each its folder inside that of the sweep, and its settings.
    values: The traced settings, seeds among them, each with a value for each member.
    """

    settings: Any
    members: tuple[tuple[str, Any], ...]
    values: Mapping[str, tuple[Any, ...]]


def groups(found: Plan, can_trace: Callable[[Any, str], bool]) -> list[Group]:
    """The programs of a sweep: cells that share all settings but those that can be traced.

    Args:
      found: The sweep.
      can_trace: `(settings, name) -> bool`, whether a number may be traced.
    """
    traced = {
        name
        for name, values in found.grid.items()
        if all(isinstance(value, float) for value in values)
        and can_trace(found.cells[0].settings, name)
    }
    apart: dict[Any, list[Cell]] = {}
    for cell in found.cells:
        own = tuple((key, value) for key, value in cell.values.items() if key not in traced)
        apart.setdefault(own, []).append(cell)
    return [_group(found, cells, sorted(traced)) for cells in apart.values()]


def _group(found: Plan, cells: list[Cell], traced: list[str]) -> Group:
    pairs = [(cell, seed) for cell in cells for seed in found.seeds]
    folders = [folder for cell in cells for folder in found.folders(cell)]
    members = [replace(cell.settings, seed=seed) for cell, seed in pairs]
    values = {
        name: tuple(getattr(member, name) for member in members) for name in [*traced, "seed"]
    }
    return Group(cells[0].settings, tuple(zip(folders, members, strict=True)), values)


def left(group: Group, is_left: Callable[[str, Any], bool]) -> Group:
    """The members of a group that are left to train, as `is_left(folder, settings)` has it."""
    kept = [i for i, member in enumerate(group.members) if is_left(*member)]
    return Group(
        group.settings,
        tuple(group.members[i] for i in kept),
        {name: tuple(values[i] for i in kept) for name, values in group.values.items()},
    )
