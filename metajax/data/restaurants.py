"""Ratings of Mexican restaurants by consumers.

Vargas-Govea, González-Serna and Ponce-Medellín, RecSys workshop CARS 2011. UCI "Restaurant & consumer
data", https://archive.ics.uci.edu/dataset/232, CC BY 4.0. Place `rating_final.csv`, `chefmozcuisine.csv` and
`geoplaces2.csv` into `restaurants/`; copies that name the last two `cuisine.csv` and `places.csv` serve too.
"""

from pathlib import Path

from metajax import files
from metajax.data import store
from metajax.data.delimited import read, rows, text_of
from metajax.data.rating_files import beside, first_line, form_of
from metajax.data.ratings import Item, Ratings, assembled

NAME = "restaurants"
ADDRESS = "https://archive.ics.uci.edu/dataset/232"
PLACED = (
    store.Download(
        "rating_final.csv",
        ADDRESS,
        "sha256:87783b34f497a45eb37d58a2912e28badfafd208d048c343d57da466af0fe50b",
    ),
)
SCALE = 0.0, 2.0
TRAITS = (
    *("alcohol", "smoking_area", "dress_code", "accessibility", "price", "Rambience", "franchise"),
    *("area", "other_services"),
)
"""The columns of `places.csv` that become tags, such as `price=low`."""


def load(data: store.Folder = None) -> Ratings:
    """Reads overall ratings from 0 to 2, and places whose tags are cuisines and traits.

    Args:
      data: The folder that holds `restaurants/`; see `store.locate`.

    Raises:
      FileNotFoundError, PermissionError: If the files are missing or may not be read.
      ModuleNotFoundError: Without polars.
      ValueError: For lines that cannot be read.
    """
    folder = store.locate(NAME, [file.file for file in PLACED], data, address=ADDRESS)
    path = folder / PLACED[0].file
    with files.naming(path):
        found = read(path, form_of(path, first_line(text_of(path))), SCALE)
        return assembled(NAME, found.values, found.users, found.items, _places(folder), SCALE)


def _places(folder: Path) -> dict[str, Item]:
    cuisines: dict[str, list[str]] = {}
    for row in _rows(folder, "chefmozcuisine.csv", "cuisine.csv"):
        cuisines.setdefault(row["placeID"], []).append(row["Rcuisine"])
    return {
        row["placeID"]: Item(
            row["name"],
            (*cuisines.get(row["placeID"], ()), *(f"{trait}={row[trait]}" for trait in TRAITS)),
        )
        for row in _rows(folder, "geoplaces2.csv", "places.csv")
    }


def _rows(folder: Path, *names: str) -> list[dict[str, str]]:
    path = beside(folder / PLACED[0].file, *names)
    if path is None:
        raise FileNotFoundError(f"{NAME}: there is no {names[0]} in {folder}; get it at {ADDRESS}.")
    lines = rows(text_of(path), ",", quoted=True)
    _, columns = next(lines)
    found = []
    for number, fields in lines:
        if len(fields) != len(columns):
            raise ValueError(
                f"{path}: line {number} has {len(fields)} fields, but {len(columns)} are needed."
            )
        found.append(dict(zip(columns, fields, strict=True)))
    return found


DATASET = store.Dataset(
    name=NAME,
    downloads=(),
    describe=lambda data: load(data).described(),
    licence="CC BY 4.0",
    citation="Vargas-Govea, González-Serna and Ponce-Medellín 2011",
    recipe="ratings --data-set restaurants",
    pictures=None,
    summary="1,161 ratings of 130 restaurants by 138 consumers",
    ratings=load,
    placed=PLACED,
)
