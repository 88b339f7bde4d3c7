"""The ratings of one user, as a person gives them: titles, identifiers, and a small file."""

import difflib
from pathlib import Path
from typing import Any

from metajax import files
from metajax.data.delimited import rows, separator_of, text_of
from metajax.data.rating_files import columns_of, first_line
from metajax.data.ratings import Ratings


def place_of(ratings: Ratings, name: str) -> int:
    """The place of an item by identifier or title, with or without its year, in any case of letters.

    Raises:
      ValueError: For an unknown item, naming the nearest, and for a title that several items have.
    """
    if name in ratings.items:
        return list(ratings.items).index(name)
    wanted = name.strip().casefold()
    titles = [title.casefold() for title in ratings.titles]
    found = [i for i, title in enumerate(titles) if title == wanted]
    found = found or [i for i, title in enumerate(titles) if title.rpartition(" (")[0] == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{ratings.titles[i]} = {ratings.items[i]}" for i in found[:5])
        raise ValueError(
            f"recommend: {name!r} is the title of several items: {several}. Give one of these."
        )
    bare = [title.rpartition(" (")[0] or title for title in titles]
    near = difflib.get_close_matches(wanted, bare, n=3, cutoff=0.5)
    shown = " or ".join(repr(ratings.titles[bare.index(title)]) for title in near)
    hint = f" Did you mean {shown}?" if shown else f" It holds items such as {ratings.titles[0]!r}."
    raise ValueError(f"recommend: {name!r} is unknown in {ratings.name}.{hint}")


def rating_of(ratings: Ratings, name: str, value: Any) -> float:
    """A rating of an item as a number.

    Raises:
      ValueError: For what is no number of the scale.
    """
    low, high = ratings.scale
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not low <= found <= high:
        raise ValueError(
            f"recommend: {name!r} is rated {value!r}; a rating must be a number from {low:g} to {high:g}."
        )
    return found


def read_own(path: Path) -> dict[str, float | str]:
    """Reads the ratings of one user: lines `item,rating`, with or without a header that names these columns.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: For a line without two fields, or of another user, or an item that is rated twice.
    """
    with files.naming(path):
        if not path.is_file():
            raise FileNotFoundError(f"recommend: {path} is no file; give one of lines item,rating.")
        content = text_of(path)
        header = first_line(content)
        separator = separator_of(header)
        named, number = columns_of(header)
        item = named["title"] if named["item"] is None else named["item"]
        rating, begin = named["rating"], 2
        if item is None or rating is None:  # no header
            item, rating, number, begin = 0, 1, 2, 1
        user, first = named["user"] if begin == 2 else None, None
        found: dict[str, float | str] = {}
        for line, fields in rows(content, separator, quoted=True):
            if line < begin or not any(fields):
                continue
            if len(fields) != number:
                needed = "item,rating are 2" if number == 2 else f"the header has {number}"
                raise ValueError(
                    f"recommend: {path}: line {line} has {len(fields)} fields, but {needed}. Quote a "
                    "title that holds a comma."
                )
            if user is not None:
                first = fields[user] if first is None else first
                if fields[user] != first:
                    raise ValueError(
                        f"recommend: {path}: line {line} is of user {fields[user]!r}, and those before of "
                        f"{first!r}. Keep the lines of one."
                    )
            if fields[item] in found:
                raise ValueError(
                    f"recommend: {path}: line {line} rates {fields[item]!r} again. Keep one."
                )
            found[fields[item]] = fields[rating]
        return found
