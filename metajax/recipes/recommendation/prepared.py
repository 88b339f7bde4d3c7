"""Ratings that are read, split and summarised, as settings ask for."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metajax.data import DATASETS
from metajax.data.invented_ratings import invented_ratings
from metajax.data.rating_files import read_ratings
from metajax.data.ratings import Ratings
from metajax.names import choose, neither
from metajax.recipes.recommendation.fair import tuned
from metajax.recipes.recommendation.judge import absolute_error
from metajax.recipes.recommendation.split import Split, split
from metajax.recipes.recommendation.statistics import Shrinkage, Statistics, statistics

SYNTHETIC = "synthetic"


class Prepared(NamedTuple):
    """Resolved settings, ratings, their split, and the statistics of training ratings."""

    settings: Any
    ratings: Ratings
    split: Split
    known: Statistics


def ratings_of(
    data_set: str, data: str | Path | None = None, argument: str = "ratings: data_set"
) -> Ratings:
    """Returns ratings by the name of a data set, or from a file or folder.

    Args:
      data_set: "synthetic", a data set with ratings, or a path.
      data: The folder of the data sets; by default METAJAX_DATA, then the user cache.
      argument: Where the caller wrote `data_set`.

    Raises:
      FileNotFoundError, ModuleNotFoundError: For data or polars that are missing.
      ValueError: For an unknown name, and for lines that cannot be read.

    Example:
      >>> ratings_of("synthetic").name
      'synthetic'
    """
    named = {name: row.ratings for name, row in DATASETS.items() if row.ratings is not None}
    if data_set == SYNTHETIC:
        return invented_ratings()
    if data_set in named:
        return named[data_set](data)
    if Path(data_set).expanduser().exists():
        return read_ratings(data_set)
    known = sorted((SYNTHETIC, *named))
    kinds = "a data set with ratings nor a file"
    raise neither(f"{argument}={data_set!r}", kinds, data_set, known, "a file")


def prepared(s: Any, ratings: Ratings | None = None, draw: int = 0) -> Prepared:
    """Reads and splits the ratings of settings, and tunes the shrinkage where it is open.

    Args:
      s: The settings of the recipe.
      ratings: Other ratings than theirs.
      draw: Of test tasks.

    Raises:
      ValueError: For ratings that are all alike, tags that do not exist, times that are missing, and too few
        users.
    """
    ratings = ratings_of(s.data_set, s.data) if ratings is None else ratings
    if np.ptp(ratings.rating) == 0:
        raise ValueError(
            f"ratings: every rating of {ratings.name} is {ratings.rating[0]:g}, so there is nothing to predict."
        )
    path = Path(s.data_set).expanduser()
    if s.data_set not in (SYNTHETIC, *DATASETS) and path.exists():
        s = replace(s, data_set=str(path.resolve()))
    target = None
    if s.scenario == "cross":
        if not ratings.tags:
            raise ValueError(
                f"ratings: scenario='cross' needs items with tags, but {ratings.name} has none. Put them into "
                "items.csv beside it, with columns item and genres."
            )
        names = [choose("ratings", "target", name, ratings.tags) for name in s.target]
        columns = [ratings.tags.index(name) for name in names]
        target = np.asarray(ratings.features[:, columns].max(axis=1) > 0)
        # No item of training has these tags, so nothing could be learned of them.
        features = ratings.features.copy()
        features[:, columns] = 0
        ratings = ratings._replace(features=features)
    if s.split == "time" and ratings.time is None:
        raise ValueError(
            f"ratings: split='time' needs times, but {ratings.name} has none. Leave split out."
        )
    seed = s.seed if s.split_seed is None else s.split_seed
    parts = split(
        ratings,
        s.scenario,
        seed=seed,
        supports=s.supports,
        target=target,
        support_from=s.support_from,
        by_time=s.split == "time",
        draw=draw,
    )
    if s.shrinkage is None:
        known = tuned(ratings, parts, partial(absolute_error, ratings.scale))
    else:
        known = statistics(ratings, parts.train, Shrinkage(*s.shrinkage))
    resolved = replace(s, split_seed=seed, shrinkage=tuple(map(float, known.shrinkage)))
    return Prepared(resolved, ratings, parts, known)
