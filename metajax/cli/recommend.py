"""`metajax recommend RUN --ratings FILE`: a list for a new user."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from metajax.cli.output import console, escape, show, titled


@dataclass(frozen=True)
class Recommend:
    """Recommend items to a new user from a few ratings, with a run of `metajax train ratings`."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    ratings: Path
    """A file of lines item,rating, with titles or identifiers of items; a header may name the columns."""
    top: int = 10
    """The number of items."""
    least: int = 0
    """Leave out items with fewer training ratings, whose predictions are uncertain."""
    data: str | None = None
    """The folder of the data sets, if it has moved."""


def run(command: Recommend) -> bool:
    """Adapts to the user and prints the list."""
    from metajax.recipes.recommendation.own import read_own
    from metajax.recipes.recommendation.recommend import recommend
    from metajax.recipes.run import restore

    own = read_own(command.ratings)
    found = recommend(
        restore(command.run, data=command.data), own, top=command.top, least=command.least
    )
    columns = ("", "item", "predicted rating", "training ratings")
    table = titled(f"After {len(own)} rating{'s' * (len(own) != 1)}", columns, words=2)
    rows = zip(found.titles, found.ratings, found.numbers, strict=True)
    for place, (title, rating, number) in enumerate(rows, 1):
        table.add_row(str(place), escape(title), f"{rating:.1f}", f"{number:,.0f}")
    show(table)
    console.print(
        f"Rated, and left out: {escape(', '.join(found.rated)) or 'nothing'}.\n"
        f"Adapting to the user and ranking all items took {1e3 * found.seconds:.1f} ms."
    )
    return True
