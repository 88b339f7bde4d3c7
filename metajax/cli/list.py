"""`metajax list [KIND]`: shows what there is, one kind at a time."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import tyro
from rich.table import Table

from metajax.cli.output import console, escape


@dataclass(frozen=True)
class List:
    """Show the kinds of things there are; with a kind, such as learners, one line on each of them."""

    kind: tyro.conf.Positional[str | None] = None
    """The kind, such as recipes, learners, adjoints, sources or datasets."""


class Kind(NamedTuple):
    """A kind of things, what they are for, and each of them by name with its line."""

    what: str
    entries: Callable[[], dict[str, str]]


def _functions(*packages: str) -> Callable[[], dict[str, str]]:
    """The public functions of these modules or packages."""
    return lambda: {
        name: line for name, (module, line) in public().items() if _of(module, packages)
    }


def _others() -> dict[str, str]:
    return {name: line for name, (module, line) in public().items() if not _of(module, _HOMES)}


def _recipes() -> dict[str, str]:
    from metajax.recipes import RECIPES

    return {name: first_sentence(recipe.settings) for name, recipe in RECIPES.items()}


def _datasets() -> dict[str, str]:
    from metajax.data import DATASETS

    return {
        name: f"{row.summary.rstrip('.')} ({row.citation}; {row.licence})"
        for name, row in DATASETS.items()
    }


def _learners() -> dict[str, str]:
    from metajax.recipes.learners import LEARNERS

    composed = {name: row.about for name, row in LEARNERS.items() if row.about}
    return _functions("metajax.learners")() | {
        f"--learner {n}": line for n, line in composed.items()
    }


def _normalisations() -> dict[str, str]:
    from metajax.nn.normalisation import NORMALISATIONS

    return {name: line_of(getattr(layer, "func", layer)) for name, layer in NORMALISATIONS.items()}


_PACKAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "learners": ("Learning algorithms: init, adapt, predict", ("metajax.learners",)),
    "inner": ("Inner loops", ("metajax.inner",)),
    "adjoints": ("How an inner loop is differentiated", ("metajax.adjoints",)),
    "objectives": (
        "What outer steps minimise",
        ("metajax.objectives", "metajax.optimizers.unroll"),
    ),
    "estimators": ("How the gradient of an objective is estimated", ("metajax.estimators",)),
    "training": ("Outer steps, runs and their files", ("metajax.outer", "metajax.train", "metajax.recipes")),
    "evaluation": (
        "Scores of a learner on tasks, and of its hypergradient",
        ("metajax.evaluation", "metajax.inspection"),
    ),
    "losses": ("Losses and metrics", ("metajax.metrics",)),
    "boxes": ("Boxes in pictures", ("metajax.boxes",)),
    "sources": ("Sources of tasks", ("metajax.tasks",)),
    "optimizers": (
        "Learned optimisers",
        tuple(f"metajax.optimizers.{name}" for name in (
            "hyperparameters", "lstm", "meta_lstm", "mlp", "tuning", "export"
        )),
    ),
    "problems": ("Problems to learn an optimiser on", ("metajax.optimizers.problems",)),
    "models": ("Networks as (init, apply)", ("metajax.nn",)),
    "operations": ("Operations of a network that are fast under vmap", ("metajax.ops",)),
}  # fmt: skip
_HOMES = tuple(package for _, packages in _PACKAGES.values() for package in packages)

KINDS: dict[str, Kind] = {
    "recipes": Kind("Whole experiments: metajax train NAME", _recipes),
    "datasets": Kind("Published data: metajax data NAME", _datasets),
    **{name: Kind(what, _functions(*packages)) for name, (what, packages) in _PACKAGES.items()},
    "learners": Kind(_PACKAGES["learners"][0], _learners),
    "normalisation": Kind("mj.conv4(normalisation=NAME)", _normalisations),
    "others": Kind("Masks, meshes and other tools", _others),
}


def run(command: List) -> bool:
    """Shows all kinds, or the things of one."""
    from metajax.names import choose

    if command.kind is None:
        rows = [(name, str(len(kind.entries())), kind.what) for name, kind in KINDS.items()]
        table = Table(show_header=False, box=None)
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        table.add_column()
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        console.print("One line on each of them: metajax list KIND")
        return True
    kind = KINDS[choose("list", "kind", command.kind, KINDS)]
    table = Table(
        title=kind.what, title_justify="left", title_style="bold", show_header=False, box=None
    )
    table.add_column(no_wrap=True)
    table.add_column()
    for name, line in kind.entries().items():
        table.add_row(f"  {name}", escape(line))
    console.print(table)
    return True


def public() -> dict[str, tuple[str, str]]:
    """The public functions by name, such as `mj.tasks.glyphs`: each its module and its line."""
    import metajax

    found, parts = (
        {},
        {
            f"mj.{part}.": getattr(metajax, part)
            for part in ("tasks", "optimizers", "problems", "losses", "boxes", "text")
        },
    )
    listed = set()
    for prefix, home in {"mj.": metajax, **parts}.items():
        for name, thing in sorted(vars(home).items()):
            module = getattr(thing, "__module__", "")
            # A function that a part merely imports is listed where it is at home.
            if (
                inspect.isfunction(thing)
                and thing not in listed  # under its shortest name
                and not name.startswith("_")
                and _of(module, (home.__name__,))
            ):
                listed.add(thing)
                found[f"{prefix}{name}"] = module, line_of(thing)
    return found


def _of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def first_sentence(thing: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]


def line_of(thing: Any) -> str:
    """The first line of a docstring, with the reference in parentheses.

    Example:
      >>> import metajax as mj
      >>> line_of(mj.maml).split(" (")[1]
      'Finn, Abbeel and Levine, ICML 2017)'
    """
    reference = re.search(
        r"^Reference:\s+(.*?)(?:,\s+(?:sections?|algorithm|appendix)\s.*?)?\.(?:\s|$)",
        inspect.getdoc(thing) or "",
        re.MULTILINE | re.DOTALL,
    )
    source = f" ({' '.join(reference[1].split())})" if reference else ""
    return first_sentence(thing).rstrip(".") + source
