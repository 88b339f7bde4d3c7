"""Invented ratings of invented films, for trying things out without data."""

import numpy as np

from metajax.data.ratings import Item, Ratings, assembled

GENRES = ("Comedy", "Crime", "Drama", "Fantasy", "Horror", "Mystery", "Romance", "Space")
_FIRST = ("Silent", "Last", "Golden", "Hidden", "Paper", "Winter", "Crooked", "Distant", "Velvet")
_SECOND = ("Harbour", "Garden", "Signal", "Orchard", "Letter", "Mirror", "Station", "Tide", "Clock")
_THIRD = ("", " of Salt", " at Noon", " in Blue", " Returns")


def invented_ratings(
    num_users: int = 1_500, num_items: int = 300, *, factors: int = 3, seed: int = 0
) -> Ratings:
    """Returns ratings from 0 to 10 whose structure is known.

    A rating is `6.5 + b_item + b_user + p_user . q_item + noise` with a deviation of 1 for users, items,
    and noise, rounded and cut to the scale. Items of a genre are alike: half of the variance of biases
    and factors `q` is that of their genres. Most users rate little, and some items are popular.

    Args:
      num_users, num_items: Their numbers.
      factors: The width of `p` and `q`.
      seed: Of all random numbers.

    Example:
      >>> ratings = invented_ratings()
      >>> ratings.described()
      '25,360 ratings from 0 to 10 of 300 items by 1,500 users'
      >>> ratings.titles[0], len(ratings.tags)
      ('The Silent Harbour', 8)
    """
    rng = np.random.default_rng(seed)
    genre = rng.integers(len(GENRES), size=(num_items, 2))
    of_genre = rng.normal(size=(len(GENRES), 1 + factors))
    own = rng.normal(size=(num_items, 1 + factors))
    item = (of_genre[genre].sum(axis=1) / 2**0.5 + own) / 2**0.5
    user = rng.normal(size=(num_users, 1 + factors)) / np.sqrt([1, *factors * [2 * factors]])
    counts = np.minimum(2 + rng.geometric(1 / 15, size=num_users), num_items // 2)
    popularity = rng.gamma(1.0, size=num_items) + 0.05
    rated = [
        rng.choice(num_items, size=count, replace=False, p=popularity / popularity.sum())
        for count in counts
    ]
    who, what = np.repeat(np.arange(num_users), counts), np.concatenate(rated)
    taste = np.sum(user[who, 1:] * item[what, 1:], axis=1)
    mean = 6.5 + item[what, 0] + user[who, 0] + taste + rng.normal(size=len(who))
    columns = {
        "user": who,
        "item": what,
        "rating": np.clip(np.rint(mean), 0, 10),
        "time": rng.permutation(len(who)).astype(float),
    }
    names = [f"film{i:03d}" for i in range(num_items)]
    known = {
        name: Item(_title(i), tuple(sorted({GENRES[g] for g in genre[i]})), 1960 + (37 * i) % 60)
        for i, name in enumerate(names)
    }
    users = [f"user{i:04d}" for i in range(num_users)]
    return assembled("synthetic", columns, users, names, known, (0.0, 10.0))


def _title(i: int) -> str:
    first, rest = i % len(_FIRST), i // len(_FIRST)
    second, third = rest % len(_SECOND), rest // len(_SECOND)
    ending = _THIRD[third % len(_THIRD)]
    number = f" {third // len(_THIRD) + 1}" if third >= len(_THIRD) else ""
    return f"The {_FIRST[first]} {_SECOND[(second + first) % len(_SECOND)]}{ending}{number}"
