"""Ratings of items by users, whichever file they come from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

MOST_TAGS = 64
"""As many tags become features, those of the most items; others are rare."""


class Item(NamedTuple):
    """What is known of an item besides its ratings: a title, tags such as genres, and a year."""

    title: str
    tags: tuple[str, ...] = ()
    year: int | None = None


class Ratings(NamedTuple):
    """A table of ratings.

    name: Of the data set or file.
    user, item: Places in `users` and `items`, `(n,)` integers.
    rating: `(n,)` float32.
    time: `(n,)`, or None where it is not known.
    users, items: Identifiers, in order.
    titles: The title of each item; its identifier where there is none.
    features: `(items, d)` float32: a column of 0 and 1 for each tag, then the year, if it is known.
    tags: The names of the first columns of `features`.
    scale: The lowest and the highest possible rating.
    """

    name: str
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    time: np.ndarray | None
    users: Sequence[str]
    items: Sequence[str]
    titles: Sequence[str]
    features: np.ndarray
    tags: tuple[str, ...]
    scale: tuple[float, float]

    def described(self) -> str:
        """The number of ratings, users and items in one line."""
        low, high = self.scale
        return (
            f"{len(self.rating):,} ratings from {low:g} to {high:g} of {len(self.items):,} items by "
            f"{len(self.users):,} users"
        )


def features_of(items: Sequence[Item]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features of items from their tags and years, and the names of the tags.

    The last columns are the year, in units of 20 years from 2000, and whether the item is among the
    newest half, fifth and twentieth of those with a year; items without a year have the mean of the
    others. There are none where no item has a year.

    Example:
      >>> features, tags = features_of([Item("a", ("Drama",), 2010), Item("b", ("Comedy", "Drama"), 1990)])
      >>> tags, features.tolist()
      (('Comedy', 'Drama'), [[0.0, 1.0, 0.5, 1.0, 1.0, 1.0], [1.0, 1.0, -0.5, 0.0, 0.0, 0.0]])
    """
    counts: dict[str, int] = {}
    for item in items:
        for tag in set(item.tags):
            counts[tag] = counts.get(tag, 0) + 1
    kept = sorted(sorted(counts), key=lambda tag: -counts[tag])[:MOST_TAGS]
    place = {tag: i for i, tag in enumerate(sorted(kept))}
    features = np.zeros((len(items), len(place)), np.float32)
    for row, item in enumerate(items):
        for tag in item.tags:
            if tag in place:
                features[row, place[tag]] = 1
    years = np.array([np.nan if item.year is None else item.year for item in items], float)
    known = ~np.isnan(years)
    if known.any():
        years = np.where(known, years, np.mean(years[known]))
        newest = [years > np.quantile(years[known], share) for share in (0.5, 0.8, 0.95)]
        when = np.stack([(years - 2000) / 20, *newest], axis=1)
        features = np.concatenate([features, when.astype(np.float32)], axis=1)
    return features, tuple(place)


def assembled(
    name: str,
    columns: Mapping[str, np.ndarray],
    users: Sequence[str],
    items: Sequence[str],
    known: Mapping[str, Item],
    scale: tuple[float, float] | None,
) -> Ratings:
    """Returns ratings from columns and what is known of the items.

    Args:
      name: Of the data set.
      columns: "user" and "item" as places, "rating", and perhaps "time".
      users, items: Identifiers.
      known: Items by identifier; others have their identifier as title, and no tags.
      scale: The lowest and the highest rating; None for those that occur.
    """
    rows = [known.get(one, Item(one)) for one in items]
    features, tags = features_of(rows)
    rating = columns["rating"].astype(np.float32)
    return Ratings(
        name,
        columns["user"].astype(np.int32),
        columns["item"].astype(np.int32),
        rating,
        columns.get("time"),
        users,
        items,
        [row.title for row in rows],
        features,
        tags,
        (float(rating.min()), float(rating.max())) if scale is None else scale,
    )
