"""`metajax data [NAME]`: shows the data sets, or downloads one."""

from dataclasses import dataclass

import tyro
from rich.table import Table

from metajax.cli.output import console, escape


@dataclass(frozen=True)
class Data:
    """Download a data set into the user cache and verify its checksums; without a name, list them.

    A data set that cannot be downloaded is to be placed by hand; what was placed is counted.
    """

    name: tyro.conf.Positional[str | None] = None
    """The name of the data set."""


def run(command: Data) -> bool:
    """Downloads a data set, or lists all."""
    from metajax.data import DATASETS, store
    from metajax.names import choose

    if command.name is None:
        table = Table(show_header=False, box=None)
        for row in DATASETS.values():
            by_hand = "" if row.downloads else "; to be placed by hand"
            table.add_row(
                row.name, escape(f"{row.summary} ({row.citation}; {row.licence}{by_hand})")
            )
        console.print(table)
        console.print("Download one of them, or check what was placed by hand: metajax data NAME")
        return True
    row = DATASETS[choose("data", "name", command.name, DATASETS)]
    if not row.downloads:  # to be placed by hand, where the error says
        found = row.describe(None)
        console.print(escape(f"{row.name}: {found} ({row.citation}; {row.licence})."))
        if row.placed:
            others = store.other_than_measured(row.name, row.placed)
            said = f"Differs from the copy that docs/results were measured on: {', '.join(others)}."
            said = said if others else "This is the copy that docs/results were measured on."
            console.print(escape(f"{said} No checksum of it is published."))
        console.print(f"Next: metajax train {row.recipe}", markup=False)
        return True
    with console.status(f"downloading {row.name}"):
        folder = store.fetch(row.name, row.downloads)
        found = row.describe(folder.parent)
    console.print(escape(f"{row.name} is in {folder}: {found} ({row.citation}; {row.licence})."))
    if row.recipe:
        console.print(f"Next: metajax train {row.recipe}", markup=False)
    return True
