"""Files of ratings as their publishers write them: MovieLens, goodbooks, RecBole, and plain tables."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from metajax import files
from metajax.data.delimited import (
    ADVICE,
    Format,
    Scale,
    named_once,
    read,
    rows,
    separator_of,
    text_of,
)
from metajax.data.ratings import Item, Ratings, assembled

GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance"),
    *("Sci-Fi", "Thriller", "War", "Western"),
)
"""The genres of MovieLens 100k, in the order of the last columns of `u.item`."""

NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "consumer"),
    "item": (
        *("item", "itemid", "iid", "movie", "movieid", "film", "filmid", "book", "bookid", "isbn"),
        *("asin", "product", "productid", "place", "placeid"),
    ),
    "rating": ("rating", "score", "stars", "overall", "bookrating"),
    "time": ("time", "timestamp", "unixreviewtime"),
}
"""How the header of a table may name its columns, in lower case, letters and digits alone."""

TITLES = ("title", "movietitle", "booktitle", "name")


class Layout(NamedTuple):
    """How a publisher writes ratings and items.

    name: Of the publisher.
    fits: Whether a file of ratings has this layout, from its name and its header.
    form: How the ratings are written; None for a table with a header that names them.
    items: The file of ratings to items by identifier.
    scale: The lowest and the highest rating; None for those that occur.
    """

    name: str
    fits: Callable[[Path, tuple[str, ...]], bool]
    form: Format | None
    items: Callable[[Path], Mapping[str, Item]]
    scale: tuple[float, float] | None


def year_of(title: str) -> int | None:
    """The year in parentheses at the end of a title.

    Example:
      >>> year_of("The Bank (1915)")
      1915
    """
    found = re.search(r"\((\d{4})\)\s*$", title)
    return int(found[1]) if found else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def beside(path: Path, *names: str) -> Path | None:
    """The first of these files in the folder of another, packed or not."""
    places = [path.with_name(name + end) for name in names for end in ("", ".gz")]
    return next((place for place in places if place.exists()), None)


def _tags(text: str) -> tuple[str, ...]:
    """Tags between bars, or between spaces where there is no bar, as in RecBole's files."""
    if text == "(no genres listed)":
        return ()
    return tuple(tag for tag in text.split("|" if "|" in text else None) if tag)


def dat_items(path: Path) -> dict[str, Item]:
    """Items of `movies.dat`: `id::title (year)::genre|genre`."""
    file = beside(path, "movies.dat")
    found = {}
    for number, fields in rows(text_of(file), "::", quoted=False) if file else ():
        if len(fields) != 3:
            raise ValueError(f"{file}: line {number} has {len(fields)} fields, but 3 are needed.")
        found[fields[0]] = Item(fields[1].strip(), _tags(fields[2]), year_of(fields[1]))
    return found


def _movielens_100k(path: Path) -> dict[str, Item]:
    file = beside(path, "u.item")
    found = {}
    for number, fields in rows(text_of(file), "|", quoted=False) if file else ():
        if len(fields) != 5 + len(GENRES):
            needed = 5 + len(GENRES)
            raise ValueError(
                f"{file}: line {number} has {len(fields)} fields, but {needed} are needed."
            )
        tags = tuple(genre for genre, mark in zip(GENRES, fields[5:], strict=True) if mark == "1")
        found[fields[0]] = Item(fields[1].strip(), tags, year_of(fields[1]))
    return found


def table_items(file: Path | None, separator: str | None = None) -> dict[str, Item]:
    """Items of a table with a header that names the item, and perhaps title, genres and year."""
    if file is None:
        return {}
    content = text_of(file)
    separator = separator or separator_of(first_line(content))
    lines = rows(content, separator, quoted=True)
    header = next(lines)[1]
    named_once(file, header)
    names = [_plain(name) for name in header]
    place = {
        "item": _first(names, NAMES["item"]),
        "title": _first(names, TITLES),
        "tags": _first(names, ("genres", "genre", "class", "tags", "categories")),
        "year": _first(names, ("year", "releaseyear", "originalpublicationyear")),
    }
    if place["item"] is None:
        raise ValueError(f"{file}: no column names the item; there are {', '.join(names)}.")
    found = {}
    for number, fields in lines:
        if len(fields) != len(names):
            raise ValueError(
                f"{file}: line {number} has {len(fields)} fields, but {len(names)} are needed."
            )
        value = {name: "" if i is None else fields[i] for name, i in place.items()}
        title = (value["title"] or value["item"]).strip()
        year = year_of(title)
        if re.fullmatch(r"\d{4}(\.0+)?", value["year"]):
            year = int(float(value["year"]))
        found[value["item"]] = Item(title, _tags(value["tags"]), year)
    return found


def _first(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def first_line(content: bytes) -> str:
    """The first line of a file, which may name its columns."""
    return content.split(b"\n", 1)[0].decode()


def columns_of(header: str) -> tuple[dict[str, int | None], int]:
    """The places of the columns that a header names, None where it does not, and the number of columns.

    Example:
      >>> columns_of("userId,title,score")
      ({'user': 0, 'item': None, 'rating': 2, 'time': None, 'title': 1}, 3)
    """
    names = [_plain(name) for name in header.split(separator_of(header))]
    return {column: _first(names, of) for column, of in {**NAMES, "title": TITLES}.items()}, len(
        names
    )


def form_of(path: Path, header: str) -> Format:
    """How a table is written whose header names its columns.

    Raises:
      ValueError: If no column is named user, item or rating, or several are alike.
    """
    if not header.strip():
        raise ValueError(
            f"{path}: line 1 is empty, but must name the columns user, item and rating."
        )
    separator = separator_of(header)
    shown = [name.strip().strip('"') for name in header.split(separator)]
    named_once(path, shown)
    places, number = columns_of(header)
    missing = [column for column in ("user", "item", "rating") if places[column] is None]
    if missing:
        raise ValueError(
            f"{path}: no column of the header names the {' or the '.join(missing)}; there are "
            f"{', '.join(shown)}. Name them user, item, rating and perhaps time."
        )
    columns = {c: place for c in NAMES if (place := places[c]) is not None}
    return Format(columns, separator, True, number)


_FOUR = {"user": 0, "item": 1, "rating": 2, "time": 3}
LAYOUTS = (
    Layout(
        "MovieLens 100k",
        lambda path, _: path.name == "u.data",
        Format(_FOUR, "\t", False, 4),
        _movielens_100k,
        (1.0, 5.0),
    ),
    Layout(
        "MovieLens 1m and 10m, MovieTweetings",
        lambda path, _: path.suffix == ".dat",
        Format(_FOUR, "::", False, 4),
        dat_items,
        None,
    ),
    Layout(
        "MovieLens 25m",
        lambda path, names: {"userid", "movieid"} <= set(names),
        None,
        lambda path: table_items(beside(path, "movies.csv"), ","),
        (0.5, 5.0),
    ),
    Layout(
        "goodbooks",
        lambda path, names: {"userid", "bookid"} <= set(names),
        None,
        lambda path: table_items(beside(path, "books.csv"), ","),
        (1.0, 5.0),
    ),
    Layout(
        "RecBole",
        lambda path, _: path.suffix == ".inter",
        None,
        lambda path: table_items(beside(path, path.with_suffix(".item").name), "\t"),
        None,
    ),
    Layout(
        "a table",
        lambda path, _: True,
        None,
        lambda path: table_items(beside(path, "items.csv", "items.tsv")),
        None,
    ),
)
"""The first that fits is taken."""

FILES = ("u.data", "ratings.dat", "ratings.csv", "ratings.tsv")
"""What a folder may hold."""


def read_ratings(path: str | Path, scale: Scale = None) -> Ratings:
    """Reads ratings from a file, whose layout is found from its name and its first line.

    Known are MovieLens 100k (`u.data`), 1m (`ratings.dat`) and 25m (`ratings.csv`), goodbooks
    (`ratings.csv`), RecBole (`NAME.inter`), and any table with a header that names user, item, rating and
    perhaps time. Titles and genres are read from the file beside it: `u.item`, `movies.dat`,
    `movies.csv`, `books.csv`, `NAME.item` or `items.csv`. A name that ends in `.gz` is unpacked.

    Args:
      path: The file, or a folder that holds one of these names.
      scale: The lowest and the highest possible rating; None for those of the publisher, or those that occur
        in a table of other ratings.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: Without polars.
      ValueError: For lines that cannot be read, ratings outside of the scale, and a header that does not name
        what is needed.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = Path(folder) / "mine.csv"
      ...     _ = file.write_text("user,item,rating\\nann,tea,4\\nann,rye,2\\nbob,tea,5\\n")
      ...     read_ratings(file).described()
      '3 ratings from 2 to 5 of 2 items by 2 users'
    """
    path = _file(Path(path).expanduser())
    with files.naming(path):
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        header = first_line(text_of(path))
        names = tuple(_plain(name) for name in header.split(separator_of(header)))
        layout = next(layout for layout in LAYOUTS if layout.fits(plain, names))
        advice = ADVICE
        if scale is None and layout.form is None and layout.scale is not None:
            advice = f"{ADVICE[:-1]}, or name the columns user, item and rating if it is not {layout.name}."
        scale = scale or layout.scale
        found = read(path, layout.form or form_of(path, header), scale, advice)
        known = layout.items(plain)
        return assembled(plain.stem, found.values, found.users, found.items, known, scale)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    named = [path / name for name in FILES] + sorted(path.glob("*.inter"))
    found = next((file for file in map(_packed, named) if file is not None), None)
    if found is None:
        raise FileNotFoundError(
            f"{path} is a folder without ratings; it must hold one of {', '.join(FILES)} or *.inter."
        )
    return found


def _packed(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.exists()), None)
